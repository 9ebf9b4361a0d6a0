/* ops.h - operations of transformer models on struct nn_tensor. Shapes in each comment; all results f32.
 *
 * Batch-invariant: a row's result does not depend on which or how many other rows are given, except where a comment
 * names OpenBLAS (nn_gemm), whose callers pass whole items only.
 */
#ifndef NN_OPS_H
#define NN_OPS_H

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/tensor.h"

/* A set of inner loops for c->kernels: "portable", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx"; NULL if this processor has not what it needs. By
 * default the best one is taken, or what the environment variable PERCEPT_CPU names. [any] */
const struct nn_kernels *nn_kernels_named(const char *name);

enum nn_activation { NN_IDENTITY, NN_RELU, NN_GELU_ERF, NN_GELU_TANH, NN_GELU_QUICK, NN_SILU, NN_TANH, NN_SIGMOID };

/* "gelu", "quick_gelu", "gelu_pytorch_tanh", "gelu_new", "silu", "swish", "relu" ...; -1 if unknown. */
int nn_activation_named(const char *name);

/* Repacks a (N, K) weight for the kernels of nn_linear or, as nn_checkpoint_compute() says, of nn_gemm, once, at load; the copy belongs
 * to the checkpoint. NULL weight: 0. An unpacked weight works too, but is packed at each use. */
int nn_weight_pack(struct nn_checkpoint *checkpoint, struct nn_weight *weight, struct nn_error *error);

/* The same for products in integers, faster and half as exact as float16 would be: weights of block formats stay codes of 2 to
 * 8 bits, rows of x become two terms of 8 bits. Formats without codes of their own here become Q8_0's. Others: nn_weight_pack_rows. */
int nn_weight_pack_codes(struct nn_checkpoint *checkpoint, struct nn_weight *weight, struct nn_error *error);
/* The name of the block format that a weight is computed in; NULL: in floats. */
const char *nn_weight_computed(const struct nn_weight *weight);

/* y (T,N) = x (T,K) w^T + b. w is (N,K); b is [N] or NULL. Row-invariant own kernels: for decoders, where rows of several
 * requests meet. */
struct nn_tensor nn_linear(struct nn *c, struct nn_tensor x, const struct nn_weight *w, const float *b);
/* y[i] = nn_linear(x, w[i], b[i]) for i in [0, n), n <= NN_LINEAR_MAX; what the products share is done once. b, or one of it,
 * may be NULL. */
enum { NN_LINEAR_MAX = 4 };
void nn_linear_all(struct nn *c, struct nn_tensor x, uint32_t n, const struct nn_weight *const *w, const float *const *b,
		   struct nn_tensor *y);
/* nn_linear's result for encoders and connectors, whose items are computed whole: as nn_weight_pack_as packed the weight; of one that is
 * not packed through OpenBLAS, where that knows the processor. */
struct nn_tensor nn_gemm(struct nn *c, struct nn_tensor x, const struct nn_weight *w, const float *b);

/* "f32", "bf16", and "fast": f32 where this processor does not gain by BF16; -1 if unknown. [any] */
int nn_compute_named(const char *name);
/* nn_weight_pack for nn_linear, whatever nn_checkpoint_compute() said. */
int nn_weight_pack_rows(struct nn_checkpoint *checkpoint, struct nn_weight *weight, struct nn_error *error);
/* nn_weight_pack, for nn_gemm and nn_product, whatever nn_checkpoint_compute() said. F32 on AMX: large weights become terms of BF16 (dense.h). */
int nn_weight_pack_as(struct nn_checkpoint *checkpoint, struct nn_weight *weight, enum nn_compute how, struct nn_error *error);

/* The left side of products: rows in f32, or in BF16 as tiles read them, rounded or exact. Lives as long as the arena's mark. */
struct nn_operand {
	struct nn_tensor x;
	uint16_t *halves; /* NULL: x */
	int exact;        /* halves are terms whose sums are the numbers */
	size_t rows, cols;
};
/* A norm of rows: nn_layer_norm's or, with `rms`, nn_rms_norm's. */
struct nn_operand_norm {
	const float *w, *b;
	float eps;
	int rms;
};
/* What a product does: f(x w^T + b) * scale; b and scale [N] may be NULL. */
struct nn_product {
	const struct nn_weight *w;
	const float *b;
	enum nn_activation activate;
	const float *scale;
};
/* x, or where norm is not NULL its norm, as products with `w` and weights that are packed alike take it. */
struct nn_operand nn_operand(struct nn *c, struct nn_tensor x, const struct nn_operand_norm *norm, const struct nn_weight *w);
/* (T,N). */
struct nn_tensor nn_product(struct nn *c, const struct nn_operand *x, const struct nn_product *p);
/* y (T,N) += the product. */
void nn_product_add(struct nn *c, struct nn_tensor y, const struct nn_operand *x, const struct nn_product *p);
/* The product as an operand for `next`. */
struct nn_operand nn_product_operand(struct nn *c, const struct nn_operand *x, const struct nn_product *p, const struct nn_weight *next);

/* (T,C) = x + y, new; and in place. */
struct nn_tensor nn_add(struct nn *c, struct nn_tensor x, struct nn_tensor y);
void nn_add_to(struct nn *c, struct nn_tensor x, struct nn_tensor y);
void nn_scale(struct nn *c, struct nn_tensor x, float s);

/* Ba 2016: (x - mean) / sqrt(var + eps) * w + b, per row; b may be NULL. */
struct nn_tensor nn_layer_norm(struct nn *c, struct nn_tensor x, const float *w, const float *b, float eps);
/* Zhang 2019: x / sqrt(mean(x^2) + eps) * w, per row. */
struct nn_tensor nn_rms_norm(struct nn *c, struct nn_tensor x, const float *w, float eps);
/* The same in place for each of the row's `heads` parts; w is [cols / heads]. */
void nn_rms_norm_heads(struct nn *c, struct nn_tensor x, uint32_t heads, const float *w, float eps);

/* In place. */
void nn_activate(struct nn *c, struct nn_tensor x, enum nn_activation how);
/* (T,N) = activate(gate) * up, into gate, which is returned. Shazeer 2020. */
struct nn_tensor nn_gate(struct nn *c, struct nn_tensor gate, struct nn_tensor up, enum nn_activation how);
/* Softmax over each row, in place. */
void nn_softmax(struct nn *c, struct nn_tensor x);

/* Rows of an embedding table: (n, cols) in f32. ids outside the table: c->error = -EINVAL. */
struct nn_tensor nn_embed(struct nn *c, const struct nn_weight *table, const int32_t *ids, size_t n);

/* Rotary positions, Su 2021: pairs (i, i + half) of each head ("rotate half"), or neighbours (interleaved). In place.
 * x is (T, heads * head_dim); inv_freq is [head_dim / 2]; position is [T]; `attention_scale` multiplies cos and sin. With
 * `axis`, position is [T][NN_ROPE_AXES], and pair i turns by component axis[i] of it (Wang 2024, M-RoPE). */
enum { NN_ROPE_AXES = 4 };
struct nn_rope {
	const float *inv_freq;
	float attention_scale;
	int interleaved;
	uint32_t dim; /* rotated part of a head, from its start */
	const unsigned char *axis; /* [dim / 2], each below NN_ROPE_AXES; NULL: there is one */
};
void nn_rope(struct nn *c, struct nn_tensor x, const int32_t *position, uint32_t heads, const struct nn_rope *rope);
/* The same by angles that the caller gives, of pictures' rows and columns: cosine, sine (T, dim / 2), 1 and 0 where a row is to stay. */
struct nn_rotary {
	const float *cosine, *sine;
	uint32_t dim; /* rotated part of a head, from its start */
	int interleaved;
};
void nn_rotate(struct nn *c, struct nn_tensor x, uint32_t heads, const struct nn_rotary *rotary);

/* out (T, heads * dv) = softmax(scale q k^T + mask) v, without a score matrix. q (T, heads * dk), k (S, kv_heads * dk),
 * v (S, kv_heads * dv), heads % kv_heads == 0; dk, dv at most NN_HEAD. Row t sees keys [first[t], visible[t]); visible NULL:
 * to the end, first NULL: from the start. softcap: scores become softcap * tanh(score / softcap) (Gemma 2); 0: not. A row
 * that sees nothing is 0. slopes [heads]: head h's score of key j becomes larger by slopes[h] * (j - visible[t] + 1) (ALiBi,
 * Press 2021); NULL: not. relative [heads][2 * reach + 1]: head h's score of key j becomes larger by relative[h][reach + d],
 * d = j - place[t] cut to -reach .. reach (Raffel 2020, section 2.1); place NULL: visible[t] - 1, the last key that the row
 * sees; relative NULL: not. Keys are taken in blocks at fixed positions: a row's result does not depend on the other rows. */
struct nn_attention {
	uint32_t heads, kv_heads;
	float scale;
	const uint32_t *visible;
	const uint32_t *first;
	float softcap;
	const float *slopes;
	const float *relative;
	const uint32_t *place;
	uint32_t reach;
	enum nn_compute compute; /* nn_attention only: BF16 rounds q, k, v and the weights of values; F32 and, in tiles, TERMS do not */
};
struct nn_tensor nn_attention(struct nn *c, struct nn_tensor q, struct nn_tensor k, struct nn_tensor v,
			      const struct nn_attention *how);
/* The attention of the products qkv of x, as an operand for `next`; where all of it is BF16 and heads are made of steps of 32
 * columns, nothing lies in f32 between. */
struct nn_operand nn_product_attention(struct nn *c, const struct nn_operand *x, const struct nn_product qkv[3],
				       const struct nn_attention *how, const struct nn_weight *next);

/* Keys and values kept in pages of NN_PAGE positions, for decoders: page i of a sequence's list holds positions
 * i * NN_PAGE ... of one layer. A page is nn_page_bytes() bytes, aligned to 64, in the kernels' own layout (keys
 * transposed, values in panels); copying its bytes copies it. */
#define NN_PAGE 32
#define NN_HEAD 512
/* How the numbers of a page are kept: whole; as IEEE binary16; as 8 bits with an f32 scale for each 32 of one position. */
enum nn_page_type { NN_PAGE_F32, NN_PAGE_F16, NN_PAGE_Q8 };
struct nn_page_shape {
	uint32_t kv_heads, dk, dv;
	enum nn_page_type type;
};
/* A multiple of 64. */
size_t nn_page_bytes(const struct nn_page_shape *shape);
/* Position `slot` (0 .. NN_PAGE - 1) of a page becomes k [kv_heads * dk] and v [kv_heads * dv]. */
void nn_page_write(struct nn *c, void *page, const struct nn_page_shape *shape, uint32_t slot, const float *k, const float *v);
/* Writes k and v of row t to slot `position[t]` % NN_PAGE of page `position[t]` / NN_PAGE of pages[t]; rows must not share a
 * place. */
void nn_page_write_rows(struct nn *c, const struct nn_page_shape *shape, void *const *const *pages, const uint32_t *position,
			struct nn_tensor k, struct nn_tensor v);
/* As nn_attention, bitwise, with row t's keys and values in pages[t], which has at least visible[t] / NN_PAGE pages, rounded
 * up; `visible` must be given, how->kv_heads be the shape's. Rows of many sequences may be given; those of one sequence that
 * follow each other with the same pages[t] are computed together, which is faster. */
struct nn_tensor nn_attention_paged(struct nn *c, struct nn_tensor q, const struct nn_page_shape *shape,
				    void *const *const *pages, const struct nn_attention *how);
/* What the rows look at: (rows, heads * keys) softmax weights, keys being the most that one of the rows sees; 0 where a row
 * sees nothing. Arguments as nn_attention_paged's. Plain loops, for who looks on; not for computing. */
struct nn_tensor nn_attention_weights(struct nn *c, struct nn_tensor q, const struct nn_page_shape *shape,
				      void *const *const *pages, const struct nn_attention *how);

/* Pictures. (patches, 3 * patch * patch) rows from planar pixels [3][height][width], patches row by row. */
struct nn_tensor nn_patches(struct nn *c, const float *pixels, uint32_t height, uint32_t width, uint32_t patch);
/* The same of n pieces [n][3][height][width]: (n * patches, 3 * patch * patch). */
struct nn_tensor nn_tile_patches(struct nn *c, const float *pixels, uint32_t n, uint32_t height, uint32_t width, uint32_t patch);
/* Frames [frames][3][height][width] whose patches reach over `depth` frames, the last one repeated if need be, and lie in windows of
 * merge x merge: both sides are whole windows. */
struct nn_windows {
	uint32_t frames, height, width;
	uint32_t patch, depth, merge;
};
/* Rows first ... first + count of (patches, 3 * depth * patch * patch): window by window, row by row; patches of a window row by row;
 * within a patch colours, then frames, then rows. */
struct nn_tensor nn_window_patches(struct nn *c, const float *pixels, const struct nn_windows *how, size_t first, size_t count);
/* Position table (rows * cols, C) resized to (new_rows * new_cols, C) as torch's interpolate(mode="bicubic",
 * align_corners=False, antialias=False) does, a = -0.75. */
struct nn_tensor nn_resize_grid(struct nn *c, struct nn_tensor table, uint32_t rows, uint32_t cols, uint32_t new_rows,
				uint32_t new_cols);
/* The same with antialias=True: where the new grid is coarser, every old place counts. a = -0.5, or linear. */
struct nn_tensor nn_resize_grid_smooth(struct nn *c, struct nn_tensor table, uint32_t rows, uint32_t cols, uint32_t new_rows,
				       uint32_t new_cols);
struct nn_tensor nn_resize_grid_linear(struct nn *c, struct nn_tensor table, uint32_t rows, uint32_t cols, uint32_t new_rows,
				       uint32_t new_cols);
/* Depthwise convolution 7 x 7 with stride 1 and zeros around: x (height * width, C) to the same shape. w (7 * 7, C), b [C] or NULL. */
struct nn_tensor nn_depthwise(struct nn *c, struct nn_tensor x, uint32_t height, uint32_t width, const float *w, const float *b);

/* A square kernel of an odd side, moved by `stride`; edges are padded with zeros by side / 2. */
struct nn_kernel {
	uint32_t side, stride;
};
/* Each channel convolved by itself: x (rows * cols, C), weights [side * side][C], bias [C] or NULL -> (ceil(rows / stride) *
 * ceil(cols / stride), C). */
struct nn_tensor nn_channel_conv(struct nn *c, struct nn_tensor x, uint32_t rows, uint32_t cols, const float *weights,
			      const float *bias, const struct nn_kernel *kernel);
/* Means over a coarser or finer grid, as torch's adaptive_avg_pool2d: (rows * cols, C) -> (out_rows * out_cols, C). */
struct nn_tensor nn_pool_grid(struct nn *c, struct nn_tensor x, uint32_t rows, uint32_t cols, uint32_t out_rows, uint32_t out_cols);

#endif

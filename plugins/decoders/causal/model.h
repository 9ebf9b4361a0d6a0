/* model.h - a causal language model: its shape, its weights, and what its family adds. */
#ifndef CAUSAL_MODEL_H
#define CAUSAL_MODEL_H

#include <stdint.h>
#include <cjson/cJSON.h>

#include "plugins/decoders/causal/ends.h"
#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

struct family;

enum { MODEL_DIM_MAX = 1 << 20, MODEL_VOCAB_MAX = 1 << 24, MODEL_ROPES = 2, MODEL_AXES = 3, MODEL_RECODED = 16 };

/* The embeddings of a vocabulary's second part. */
#define MODEL_ADDED_WORDS "embed_tokens.additional_embedding.weight"

/* The numbers of a model, read from its configuration. */
struct shape {
	uint32_t d_model, d_ff, n_layers, n_heads, n_kv_heads, head_dim, vocab, context;
	uint32_t vocab_added;   /* of the vocabulary, its last part, which has matrices of its own; 0: none */
	uint32_t vocab_read;    /* tokens behind the vocabulary that are read and never said: rows of the embeddings */
	uint32_t word_dim;      /* of embeddings and head, where projections lie between them and the blocks; else d_model */
	uint32_t v_dim;         /* of a head's values; else head_dim */
	uint32_t rope_dim;      /* rotated part of a head, from its start; 0: no rotary positions */
	int rope_interleaved;   /* neighbours rotate together, as in GGUF's LLaMA */
	uint32_t q_dim, kv_dim; /* n_heads * head_dim, n_kv_heads * head_dim */
	uint32_t window;        /* rows that a sliding layer sees, itself included; 0: there are none */
	int window_spans;       /* it bounds what rows of a span see before them, too; else they see all of their span */
	float rope_part;        /* of a head, where rope_dim is not said */
	float norm_eps;
	float norm_base;        /* what the files' norm weights are counted from: 1 in Gemma's safetensors */
	float embedding_scale, attention_scale;
	float attention_softcap, final_softcap; /* 0: none */
	float logit_scale;
	int layer_norm;         /* LayerNorm instead of RMSNorm */
	int qk_rows;            /* q and k are normed as whole rows, not head by head */
	int parallel;           /* attention and feed-forward read the same rows, and both are added to them */
	int norm_after;         /* norms are of the sums, behind attention and feed-forward */
	int norm_ones;          /* norms have no weights */
	int last_norm;          /* one more behind the last block */
	enum nn_activation activation;
	int attention_bias, mlp_bias;
};

/* The experts of a mixture, and how rows are sent to them. */
struct mixture {
	uint32_t n, used, d_ff; /* experts, of them for a row, hidden size of one */
	uint32_t shared_ff;     /* hidden size of the expert that all rows have; 0: none */
	uint32_t groups, groups_used; /* experts are chosen from the best groups; 1: there is one group */
	int normed;             /* a row's weights are made to sum to 1 */
	float scale;            /* of the weights */
};

struct norm {
	const float *w, *b; /* [n]; b NULL: none. w NULL: no norm at all */
};

/* Gated: down(activate(gate x) * (up x)). Plain, where gate is NULL: down(activate(up x)). */
struct feed_forward {
	const struct nn_weight *gate, *up, *down; /* (d_ff, d_model), (d_model, d_ff) */
	const float *gate_bias, *up_bias, *down_bias;
};

/* One block. What a model does not have is NULL or 0. */
struct layer {
	struct norm attention_norm, mlp_norm;      /* of d_model, before */
	struct norm attention_post, mlp_post;      /* of d_model, after, before the sum */
	struct norm attention_sum, mlp_sum;        /* of d_model, of the sum */
	struct norm q_norm, k_norm;                /* of head_dim, for each head; of all heads where qk_rows */
	const struct nn_weight *q, *k, *v, *o;     /* (q_dim | kv_dim, d_model), (d_model, n_heads * v_dim) */
	const float *q_bias, *k_bias, *v_bias, *o_bias;
	struct feed_forward mlp;
	const struct nn_weight *router;            /* (experts, d_model) */
	const float *shared_gate;                  /* [d_model] */
	struct feed_forward *experts, shared;
	/* DeepSeek-V2's compressed projections: (q_rank, d_model), (kv_rank + rope_dim, d_model), (heads * (nope + v), kv_rank). */
	const struct nn_weight *q_down, *kv_down, *kv_up;
	struct norm q_down_norm, kv_down_norm;
	uint32_t window;                           /* rows it sees; 0: all */
	uint32_t kv, kv_layer;                     /* which keys and values, 1 where there is a window; its number in them */
	uint32_t rope;                             /* which of the model's */
	float attention_scale;
};

struct model {
	const struct family *family;
	struct nn_checkpoint *checkpoint;
	struct nn_checkpoint *words;    /* embeddings, and perhaps the head, that take the place of the model's; NULL: none */
	int gguf, fast;                 /* fast: products with weights of block formats in integers */
	struct shape shape;
	struct mixture mixture;
	struct nn_rope rope[MODEL_ROPES];
	struct nn_rope rope_long[MODEL_ROPES]; /* beyond `rope_trained` rows; without inv_freq: there is none */
	uint32_t rope_trained;
	uint32_t *file_layers;          /* [n_layers] a layer's number in the files, where some of theirs are another part's; else NULL */
	struct nn_weight *embeddings;   /* (vocab - vocab_added + vocab_read, word_dim); rows are read from the file as they are needed */
	struct nn_weight *head;         /* (vocab - vocab_added, word_dim); the embeddings where tied */
	struct nn_weight *embeddings_added, *head_added; /* (vocab_added, word_dim); NULL: none */
	const struct nn_weight *project_in, *project_out; /* (d_model, word_dim), (word_dim, d_model); NULL: none */
	struct nn_weight *positions;    /* (context, d_model), learned; NULL: none */
	float *slopes;                  /* [n_heads] ALiBi; NULL: none */
	unsigned char *slides;          /* [n_layers] which layers have a window; NULL: none */
	struct norm norm;
	struct layer *layers;
	uint32_t kv_layers[2];          /* without and with a window */
	uint64_t weight_bytes;          /* of the tensors above, as they are kept */
	struct recoded {
		const struct nn_block_format *format;
		uint32_t n;
	} recoded[MODEL_RECODED];       /* weights of formats that are computed in another one; ends with n 0 */
	struct ends ends;
	struct nn_loader body, head_loader;
};

/* A model's numbers where its configuration leaves them out. n_kv_heads, window 0: as many as heads; none. */
struct family_defaults {
	uint32_t d_model, d_ff, n_layers, n_heads, n_kv_heads, vocab, context, window;
};

/* A family of models. Adding one is a file in families/ and a line in families.c. */
struct family {
	const char *name;                /* for people */
	const struct family_defaults *defaults; /* of transformers' configurations; NULL: LLaMA's */
	const char *const *types;        /* config.json's model_type, GGUF's architecture; NULL-terminated */
	const char *const *classes;      /* config.json's architectures, for configurations without a type */
	/* What the configuration says beyond model_configure(). Each may be NULL. */
	int (*configure)(struct model *m, const cJSON *config, struct nn_error *error);
	/* How positions enter; NULL: m->rope[0] as the configuration says. */
	int (*positions)(struct model *m, const cJSON *config, struct nn_error *error);
	/* The weights of layer `i`. */
	void (*load)(struct model *m, struct layer *layer, uint32_t i);
	/* q, k, v (T, heads * dim), rotated, of a block's normed input x (T, d_model); NULL: linear, normed, rotated. A hook cannot
	 * stand in for it. */
	void (*project)(struct nn *c, const struct model *m, const struct layer *layer, struct nn_tensor x,
			const int32_t *position, struct nn_tensor qkv[3]);
	/* y (T, d_model) = the feed-forward part of a block for its normed input x (T, d_model). */
	struct nn_tensor (*mlp)(struct nn *c, const struct model *m, const struct layer *layer, struct nn_tensor x);
};

/* The family of a configuration; NULL and *error, which lists those there are. */
const struct family *family_find(const cJSON *config, struct nn_error *error);

/* How a model is opened. */
struct model_choice {
	uint32_t context;  /* 0: as the configuration says */
	int fast;          /* products with weights of block formats in integers, else in float32 */
	const char *words; /* the files of embeddings that take the place of the model's; NULL: its own */
};

/* Opens the model at `path`: a directory, a bundle with a language model in it, or a GGUF file. -errno and *error on
 * failure, with nothing left behind. [any] */
int model_open(struct model *m, const char *path, const struct model_choice *choice, struct nn_error *error);
void model_close(struct model *m);

/* Embeddings and head, once the shape is known. 0 or error->code. */
int vocabulary_load(struct model *m, struct nn_error *error);

/* ---- for families: weights. `name` is GGUF's with its suffix ("attn_q.weight"), `layer` the block's number ---- */

/* A matrix for nn_linear(), packed, and a vector; counted into m->weight_bytes. */
const struct nn_weight *model_matrix(struct model *m, size_t rows, size_t cols, const char *name, uint32_t layer);
const float *model_vector(struct model *m, size_t n, const char *name, uint32_t layer);
/* NULL without an error where the files have none. */
const float *model_vector_maybe(struct model *m, size_t n, const char *name, uint32_t layer);
/* The same as it lies in the file, not packed; rows or cols 0: any. */
struct nn_weight *model_weight_maybe(struct model *m, size_t rows, size_t cols, const char *name, uint32_t layer);
struct nn_weight *model_weight(struct model *m, size_t rows, size_t cols, const char *name, uint32_t layer);
/* Packs and counts `w`, which may be NULL: memory was out. */
const struct nn_weight *model_pack(struct model *m, struct nn_weight *w);
/* Rows of a weight that holds several matrices, packed. NULL weight: NULL. */
const struct nn_weight *model_rows(struct model *m, const struct nn_weight *w, size_t first, size_t rows);
/* A norm named `name` ("attn_norm"), of n values, its bias if there is one. */
struct norm model_norm(struct model *m, size_t n, const char *name, uint32_t layer);

/* Parts of blocks that families share (blocks.c): norms before attention and feed-forward; q, k, v, o apart; q, k, v in one
 * matrix; feed-forward, gated and plain; the experts. */
void block_norms(struct model *m, struct layer *layer, uint32_t i);
void block_attention(struct model *m, struct layer *layer, uint32_t i);
void block_attention_fused(struct model *m, struct layer *layer, uint32_t i);
void block_mlp(struct model *m, struct layer *layer, uint32_t i);
void block_mlp_plain(struct model *m, struct layer *layer, uint32_t i);
void block_mixture(struct model *m, struct layer *layer, uint32_t i);
/* Shazeer 2020: down(activate(gate x) * (up x)); or down(activate(up x)). */
struct nn_tensor feed_forward(struct nn *c, const struct model *m, const struct feed_forward *f, struct nn_tensor x);
struct nn_tensor feed_forward_layer(struct nn *c, const struct model *m, const struct layer *layer, struct nn_tensor x);
/* Shazeer 2017: the sum of the chosen experts' results, weighted; where the layer has experts, else feed_forward_layer(). */
struct nn_tensor mixture_layer(struct nn *c, const struct model *m, const struct layer *layer, struct nn_tensor x);
/* m->mixture from the configuration. */
int model_mixture(struct model *m, const cJSON *config, struct nn_error *error);

/* Which layers slide: as "layer_types" says, else all but each `pattern`-th (1: all do not, 0: all do). */
int model_windows(struct model *m, const cJSON *config, uint32_t pattern, struct nn_error *error);

/* m->rope[i]: plain, linear, llama3, yarn, longrope. `scaling` (may be NULL: plain) holds the parameters: rope_parameters of
 * transformers 5, rope_scaling, or all of a GGUF file's configuration; `theta` is the base where it names none. */
int model_rope(struct model *m, uint32_t i, const cJSON *scaling, double theta, struct nn_error *error);
/* m->rope[i].axis: pairs turn by the components 0, 1, 2, 0 ... of a row's positions, as many by each as the lists in turn say:
 * `sections` [n], which sum to the pairs that there are. */
int model_rope_axes(struct model *m, uint32_t i, const double *sections, uint32_t n, struct nn_error *error);
/* That object of a configuration. */
const cJSON *model_rope_scaling(const struct model *m, const cJSON *config);
/* What the family does, or model_rope() for m->rope[0]. */
int model_positions(struct model *m, const cJSON *config, struct nn_error *error);
/* A whole number from 1 on; `names` as for nn_config_int(). */
uint32_t model_int(const cJSON *config, const char *names, int64_t fallback, int64_t max, struct nn_error *error);

#endif

/* dense.h - matrices of BF16 in the order in which tiles of a product read them. Only files of sdk/nn include this.
 *
 * Both sides of x w^T are steps of DENSE_STEP columns by blocks of DENSE_BLOCK rows (of x) or panels of as many rows of w: 2 KiB
 * that lie together. Of x: two halves of 16 rows, a row 32 numbers. Of w: two halves of 16 rows; of each 16 pairs of
 * columns, a pair [16 rows][2]. Steps of a block follow each other, then comes the next block; but a long row is cut into
 * chunks of steps that stay in a cache, and a chunk of all blocks comes before the next chunk. Numbers behind the last column are 0.
 *
 * A result is sums along the columns in one order that depends on the shapes only: in f32, by pairs where the processor adds
 * pairs.
 */
#ifndef NN_DENSE_H
#define NN_DENSE_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/nn/kernels.h"
#include "sdk/nn/ops.h"

enum {
	DENSE_BLOCK = 32, DENSE_STEP = 32, DENSE_HALF = 16,
	DENSE_SIZE = DENSE_BLOCK * DENSE_STEP, /* numbers of a step of a block, and of a tile's results */
	DENSE_CHUNK = 40,                      /* steps, at most */
};

/* How a row of `cols` numbers is cut. */
struct dense_cut {
	size_t steps, chunk; /* chunk: steps of one; the last may have fewer */
};

static inline size_t dense_blocks(size_t rows)
{
	return (rows + DENSE_BLOCK - 1) / DENSE_BLOCK;
}

static inline struct dense_cut dense_cut(size_t cols)
{
	const size_t steps = dense_blocks(cols), chunks = (steps + DENSE_CHUNK - 1) / DENSE_CHUNK;

	return (struct dense_cut){ steps, chunks ? (steps + chunks - 1) / chunks : 1 };
}

/* Steps of the chunk that begins at step `first`. */
static inline size_t dense_chunk(struct dense_cut cut, size_t first)
{
	return cut.steps - first < cut.chunk ? cut.steps - first : cut.chunk;
}

/* Where step `step` of block `block` begins. */
static inline size_t dense_at(struct dense_cut cut, size_t blocks, size_t block, size_t step)
{
	const size_t first = step / cut.chunk * cut.chunk;

	return (first * blocks + block * dense_chunk(cut, first) + step - first) * DENSE_SIZE;
}

/* acc, four tiles [half of x][half of w][16][16], += some steps of a block times those of a panel. `rows` 1 .. DENSE_BLOCK:
 * where at most 16, the lower half of acc may stay as it is. `first`: acc begins as 0. */
struct dense_tile {
	float *acc;
	const uint16_t *x, *w;
	size_t steps;
	uint32_t rows;
	int first;
};

/* What a result becomes: numbers of f32, added to others or not; or BF16: a step of a block of x; of w, whose rows are the result's
 * rows, or its columns. */
enum dense_order { DENSE_ROWS, DENSE_ADD, DENSE_X, DENSE_W, DENSE_W_TURNED };

/* What becomes of a tile: f(acc + b) * scale * row_scale. acc may be used up. In BF16 what is behind the last row or column becomes
 * f(0) in x, and 0 in w. */
struct dense_finish {
	float *acc;
	const float *b, *scale;    /* of the tile's first column; may be NULL */
	const float *row_scale;    /* [rows]; may be NULL */
	enum nn_activation activate;
	enum dense_order order;
	uint32_t rows, cols;       /* that there are, 1 .. DENSE_BLOCK */
	float *y;                  /* of the tile's first number */
	size_t stride;
	uint16_t *halves;
};

/* Scores of a block of rows and some keys, tiles [panels], become weights e^(scale * score - max), in BF16, steps [panels] of a block;
 * what a row does not see, and what is no key, becomes 0. state: max and sum over the keys before and these; factor: what sums of values
 * over the keys before are to be multiplied with. */
struct dense_softmax {
	const float *scores;
	uint16_t *weights;
	uint32_t rows, panels;
	const uint32_t *lo, *hi; /* [rows] keys of these that each row sees: [lo, hi) */
	float scale;
	struct kernel_softmax *state;
	float *factor;
};

struct dense_kernels {
	int fast; /* faster than products of f32 */
	/* Around a thread's tiles; NULL: nothing is to be done. */
	void (*begin)(void);
	void (*end)(void);
	void (*tile)(const struct dense_tile *t);
	/* To BF16, to the nearest: to [n]; a row of a block, its steps `apart` numbers from each other; [16][2] of x and y in turns. */
	void (*halve)(uint16_t *to, const float *x, size_t n);
	void (*halve_row)(uint16_t *to, size_t apart, const float *x, size_t n);
	void (*halve_pairs)(uint16_t *to, const float *x, const float *y);
	void (*finish)(const struct dense_finish *f);
	void (*softmax)(const struct dense_softmax *s);
};

/* Where a result of BF16 lies: as an operand of a product; of attention [heads][blocks][head] steps, or [heads][parts][head][part]. */
struct dense_place {
	uint16_t *to;
	struct dense_cut cut;     /* of the result's columns */
	size_t head, parts, part; /* head 0: an operand; part 0: there are no parts */
};

/* A product in tiles: (rows, cols) of x and of a packed weight. */
struct dense {
	const struct nn_kernels *kernels;
	const uint16_t *x, *w;
	size_t rows, cols;
	struct dense_cut cut;      /* of x's columns */
	struct dense_finish then;  /* of the result's first tile, but for acc, rows, cols and halves */
	struct dense_place place;  /* of a result in BF16 */
};

/* Numbers of a matrix in this order; SIZE_MAX: too many. */
size_t dense_size(size_t rows, size_t cols);
void dense_product(struct nn *c, const struct dense *d);
/* Rows of x to BF16 in this order; rows of norms are (x - mean) ... as nn_layer_norm has them. */
uint16_t *dense_take(struct nn *c, struct nn_tensor x, const struct nn_operand_norm *norm);

/* nn_attention in BF16, for rows that need no more than `first`, `visible` and `scale`; out (T, heads * dv). */
void dense_attention(struct nn *c, struct nn_tensor out, const struct nn_tensor qkv[3], const struct nn_attention *how);
/* The same of products of x, whose heads are whole steps, to an operand: BF16 all along. */
uint16_t *dense_attend(struct nn *c, const struct nn_operand *x, const struct nn_product qkv[3], const struct nn_attention *how);

extern const struct dense_kernels dense_avx512bf16, dense_amx;

#endif

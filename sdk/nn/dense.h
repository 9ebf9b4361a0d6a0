/* dense.h - matrices of BF16 in the order in which tiles of a product read them. Only files of sdk/nn include this.
 *
 * Numbers are rounded to BF16, or they are exact: a number of f32 is the sum of three terms of BF16, each what is left,
 * rounded. Of the terms' nine products those three are left out that are below 2^-24 of the whole: a product of exact matrices is
 * as good as one of f32.
 *
 * Both sides of x w^T are steps of DENSE_STEP columns by blocks of DENSE_BLOCK rows (of x) or panels of as many rows of w: 2 KiB
 * that lie together. Of x: two halves of 16 rows, a row 32 numbers. Of w: two halves of 16 rows; of each 16 pairs of
 * columns, a pair [16 rows][2]. Of exact numbers a step is one such piece for each term. Steps of a block follow each other, then comes the next block; but a long row is cut into
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
	DENSE_TERMS = 3,                       /* of an exact number of x; of w as many as its type needs */
};

/* How a row of `cols` numbers is cut. */
struct dense_cut {
	size_t steps, chunk; /* chunk: steps of one; the last may have fewer */
	size_t unit;         /* numbers of a step of a block */
};

static inline size_t dense_blocks(size_t rows)
{
	return (rows + DENSE_BLOCK - 1) / DENSE_BLOCK;
}

/* terms: of each number; 0: it is rounded. Both sides of a product are cut at the same places. */
static inline struct dense_cut dense_cut(size_t cols, uint32_t terms)
{
	const size_t most = terms ? DENSE_CHUNK / DENSE_TERMS : DENSE_CHUNK;
	const size_t steps = dense_blocks(cols), chunks = (steps + most - 1) / most;

	return (struct dense_cut){ steps, chunks ? (steps + chunks - 1) / chunks : 1, (terms ? terms : 1) * (size_t)DENSE_SIZE };
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

	return (first * blocks + block * dense_chunk(cut, first) + step - first) * cut.unit;
}

/* acc, four tiles [half of x][half of w][16][16], += some steps of a block times those of a panel. `rows` 1 .. DENSE_BLOCK:
 * where at most 16, the lower half of acc may stay as it is. `first`: acc begins as 0. */
struct dense_tile {
	float *acc;
	const uint16_t *x, *w;
	size_t x_step, w_step; /* numbers from one step to the next */
	size_t steps;
	uint32_t rows;
	uint32_t terms; /* of w, while x has DENSE_TERMS; 0: numbers are rounded */
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
	int exact;                 /* BF16 in terms, else rounded */
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
	int exact;               /* weights in terms, else rounded */
	struct kernel_softmax *state;
	float *factor;
};

struct dense_kernels {
	int fast; /* faster than products of f32 */
	/* Around a thread's tiles; NULL: nothing is to be done. */
	void (*begin)(void);
	void (*end)(void);
	void (*tile)(const struct dense_tile *t);        /* of rounded numbers */
	void (*exact_tile)(const struct dense_tile *t);  /* of exact ones, faster than f32; NULL: by `tile`, and not faster */
	/* To BF16, to the nearest: to [n]; a row of a block, its steps `apart` numbers from each other. */
	void (*halve)(uint16_t *to, const float *x, size_t n);
	void (*halve_row)(uint16_t *to, size_t apart, const float *x, size_t n);
	/* A row of a block in terms, its steps `apart` numbers from each other. */
	void (*split_row)(uint16_t *to, size_t apart, const float *x, size_t n);
	void (*finish)(const struct dense_finish *f);
	void (*softmax)(const struct dense_softmax *s);
};

/* Where a result of BF16 lies: as an operand of a product; of attention [heads][blocks][head] steps, or [heads][parts][head][part]. */
struct dense_place {
	uint16_t *to;
	struct dense_cut cut;     /* of the result's columns */
	size_t head, parts, part; /* head 0: an operand; part 0: there are no parts */
	size_t unit;              /* of attention: numbers of a step */
};

/* A product in tiles: (rows, cols) of x and of a packed weight. */
struct dense {
	const struct nn_kernels *kernels;
	const uint16_t *x, *w;
	size_t rows, cols;
	uint32_t terms;            /* of w; 0: both sides are rounded */
	struct dense_cut cut, w_cut; /* of x's columns, and of w's */
	struct dense_finish then;  /* of the result's first tile, but for acc, rows, cols and halves */
	struct dense_place place;  /* of a result in BF16 */
};

/* Numbers of a matrix in this order, in terms or rounded (0); SIZE_MAX: too many. */
size_t dense_size(size_t rows, size_t cols, uint32_t terms);
void dense_product(struct nn *c, const struct dense *d);
/* acc of one tile; between begin and end. */
void dense_tile(const struct dense_kernels *kernels, const struct dense_tile *t);
/* Rows of x to BF16 in this order, exact or rounded; rows of norms are (x - mean) ... as nn_layer_norm has them. */
uint16_t *dense_take(struct nn *c, struct nn_tensor x, const struct nn_operand_norm *norm, int exact);

/* nn_attention in tiles, in BF16 or exact as how->compute says, for rows that need no more than `first`, `visible` and `scale`; out (T, heads * dv). */
void dense_attention(struct nn *c, struct nn_tensor out, const struct nn_tensor qkv[3], const struct nn_attention *how);
/* The same of products of x, whose heads are whole steps, to an operand; exact where x is. */
uint16_t *dense_attend(struct nn *c, const struct nn_operand *x, const struct nn_product qkv[3], const struct nn_attention *how);

extern const struct dense_kernels dense_avx512bf16, dense_amx;

#endif

/* kernels.h - the inner loops, one set a kind of processor. Only files of sdk/nn include this.
 *
 * Every set computes each output in one fixed order that depends on its own row only: a row's result is bitwise the same
 * alone and among others, with one thread and with many. Between sets results differ by rounding.
 */
#ifndef NN_KERNELS_H
#define NN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"
#include "sdk/nn/tensor.h"

enum {
	KERNEL_PANEL = 32, /* output columns that lie together in a packed weight */
	KERNEL_ROWS = 12,  /* rows of a tile, at most */
};

/* acc (rows, KERNEL_PANEL) += x panel, each output by one multiply-add after the other along k.
 * x of row r and step i is x[i * xk + r]; panel (k, KERNEL_PANEL) of `type`, aligned to 64. `first`: acc begins as 0. */
struct kernel_tile {
	float *acc;
	const float *x;
	size_t xk;
	const void *panel;
	size_t k;
	uint32_t rows, cols; /* 1 .. KERNEL_ROWS, 1 .. KERNEL_PANEL: columns behind `cols` may stay as they are */
	enum nn_type type;   /* NN_F32, NN_F16, NN_BF16 */
	int first;
};

/* The state of one row's softmax over keys seen so far: weights are exp(score - base), their sum is in parts. `base` follows
 * the largest score, with some distance. */
enum { KERNEL_PARTS = 16 };
struct kernel_softmax {
	_Alignas(64) float sum[KERNEL_PARTS];
	float base;
};

struct nn_kernels {
	const char *name;
	int (*usable)(void);
	void (*tile)(const struct kernel_tile *t);
	/* The same, of F32 or F16, with x of row r and step i at x[r * KERNEL_PANEL + i]. */
	void (*tile_rows)(const struct kernel_tile *t);
	/* s [n][KERNEL_PANEL]: of row r scores [lo[r], hi[r]) to weights exp(s - base), 0 elsewhere; carry[r] is what earlier sums
	 * are multiplied by. */
	void (*weights)(struct kernel_softmax *state, float *s, uint32_t n, const uint32_t *lo, const uint32_t *hi, float *carry);
	void (*activate)(float *x, size_t n, enum nn_activation how);
	void (*gate)(float *g, const float *u, size_t n, enum nn_activation how);
	void (*softmax)(float *x, size_t n);
	void (*layer_norm)(float *y, const float *x, const float *w, const float *b, size_t n, float eps);
	void (*rms_norm)(float *y, const float *x, const float *w, size_t n, float eps);
	void (*scale)(float *x, size_t n, float s);
	/* f [n] from n numbers without alignment. */
	void (*convert)(float *f, const void *data, size_t n, enum nn_type type);
	/* h [n], IEEE binary16, to the nearest. */
	void (*narrow)(uint16_t *h, const float *f, size_t n);
	/* f (rows, KERNEL_PANEL) = q times its column's scale, or its row's. */
	void (*expand)(float *f, const int8_t *q, const float *scale, size_t rows, int by_row);
	const struct quant_kernels *quant; /* of weights that are codes */
};

/* The computation's kernels. */
const struct nn_kernels *kernels_of(struct nn *c);

extern const struct nn_kernels kernels_portable, kernels_avx2, kernels_avx512, kernels_avx512vnni;

#endif

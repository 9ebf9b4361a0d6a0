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
	KERNEL_KEYS = 256, /* keys of a block of attention */
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

/* The softmax of one row over some keys: weights are exp(score - max). */
struct kernel_softmax {
	float max, sum;
};

/* Keys [first, keys) of a block of pages, for up to KERNEL_ROWS lines; first is a page's. */
struct kernel_block {
	const struct nn_page_shape *shape;
	const void *const *heads; /* one head's part of each page (page.h), from the block's first page on */
	const void *const *next;  /* of the pages that will be read after them */
	const float *q;           /* [dk][rows] */
	float *s;                 /* [rows][KERNEL_KEYS] */
	float *out;               /* [rows][NN_HEAD] */
	uint32_t rows, first, keys;
};

/* A row of a depthwise convolution: out (cols, channels); rows [KERNEL_DEPTH] of inputs, NULL where there is none, each
 * (cols + KERNEL_DEPTH - 1, channels) with nothing at its ends; w (KERNEL_DEPTH, KERNEL_DEPTH, channels); b [channels] or NULL. */
enum { KERNEL_DEPTH = 7 };
struct kernel_depthwise {
	float *out;
	const float *rows[KERNEL_DEPTH];
	const float *w, *b;
	size_t cols, channels;
};

struct nn_kernels {
	const char *name;
	int (*usable)(void);
	void (*tile)(const struct kernel_tile *t);
	/* s = q times the keys, in whole pages; out = s times the values. */
	void (*block_scores)(const struct kernel_block *b);
	void (*block_sums)(const struct kernel_block *b);
	/* s [begin, end), whole pages: scores [lo, hi) to weights, others to 0. */
	struct kernel_softmax (*weights)(float *s, uint32_t begin, uint32_t lo, uint32_t hi, uint32_t end);
	/* out [n], whole panels, and its softmax become those of both. A part that saw nothing changes no bit. */
	void (*join)(struct kernel_softmax *to, float *out, const struct kernel_softmax *from, const float *part, size_t n);
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
	void (*depthwise)(const struct kernel_depthwise *d);
	const struct quant_kernels *quant; /* of weights that are codes */
	const struct dense_kernels *dense; /* of BF16 (dense.h) */
};

/* The computation's kernels. */
const struct nn_kernels *kernels_of(struct nn *c);

extern const struct nn_kernels kernels_portable, kernels_avx2, kernels_avx512, kernels_avx512vnni, kernels_avx512bf16, kernels_amx;

#endif

/* attention.h - one tile of attention: up to KERNEL_ROWS lines over blocks of keys. Only files of sdk/nn include this. */
#ifndef NN_ATTENTION_H
#define NN_ATTENTION_H

#include "sdk/nn/page.h"

struct attention {
	const struct nn_kernels *kernels;
	struct nn_tensor q, out;
	const struct nn_attention *how;
	const struct nn_page_shape *shape;
	void *const *const *pages; /* a list a row, or one for all where `shared` */
	int shared;
	size_t keys;               /* of every row, where how->visible is NULL */
	size_t group;              /* heads that share keys */
	size_t *run;               /* begins of runs of rows: n + 1 of them */
	size_t n_runs;
	/* Where blocks are tasks of their own: begins of the runs' blocks, n + 1 of them, and what each gave its lines:
	 * a struct kernel_softmax and values, (run's blocks, its lines, part) for each group. */
	size_t *block;
	float *parts;
	size_t *part_at;           /* [n + 1] where a run's lie, in parts */
	size_t part;               /* floats */
};

enum { ATTENTION_PAGES = KERNEL_KEYS / NN_PAGE };

/* Lines are (row, head of the group) pairs in order, of rows with the same pages. */
struct attention_tile {
	const struct attention *a;
	void *const *pages;
	size_t line, n;  /* of the first; how many, at most KERNEL_ROWS */
	size_t kv;
	uint32_t lo[KERNEL_ROWS], hi[KERNEL_ROWS];     /* keys that each line sees */
	uint32_t least, most;                          /* and that one of them sees */
	struct kernel_softmax state[KERNEL_ROWS], block_state[KERNEL_ROWS];
	_Alignas(64) float q[NN_HEAD * KERNEL_ROWS];   /* [dk][n], times the scale */
	_Alignas(64) float s[KERNEL_ROWS * KERNEL_KEYS];
	_Alignas(64) float block[KERNEL_ROWS * NN_HEAD], out[KERNEL_ROWS * NN_HEAD];
};

/* Columns of values, whole panels. */
static inline size_t attention_width(const struct nn_page_shape *shape)
{
	return page_value_panels(shape) * KERNEL_PANEL;
}

/* Keys that row `t` sees: [*lo, *hi). */
static inline void attention_sees(const struct attention *a, size_t t, uint32_t *lo, uint32_t *hi)
{
	*hi = a->how->visible ? a->how->visible[t] : (uint32_t)a->keys;
	*lo = a->how->first ? a->how->first[t] : 0;
}

/* Lines [line, line + n) of the group `kv`: their queries, what they see. */
void attention_tile_begin(struct attention_tile *t, const struct attention *a, size_t kv, size_t line, size_t n);
/* t->block_state, t->block: softmax and sums over the keys of the block that begins at key `base`. */
void attention_tile_block(struct attention_tile *t, size_t base);
/* The lines' results over all keys. */
void attention_tile_run(struct attention_tile *t);
/* One line's result: out [dv] from sums [width]. */
void attention_line_end(const struct attention *a, size_t kv, size_t line, const struct kernel_softmax *state, float *sums);

#endif

/* attention.c - softmax(q k^T) v in one pass over keys and values in pages.
 *
 * Keys are taken in blocks of KERNEL_KEYS at fixed positions. A block has a softmax of its own, and blocks are joined in
 * their order: for a row these are the same operations whatever other rows are computed with it, and whether a task takes
 * all blocks of a row or one. Milakov and Gimelshein 2018 give the joining.
 */
#include "sdk/nn/attention.h"
#include "sdk/nn/dense.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Fewer tasks than that are cut further, by blocks, unless what the blocks give takes more floats than that. */
enum { ATTENTION_TASKS = 64, ATTENTION_PARTS = 4 << 20 };

/* The next tile of lines [line, end): all about equally high. */
static size_t attention_height(size_t line, size_t end)
{
	const size_t left = end - line, parts = (left + KERNEL_ROWS - 1) / KERNEL_ROWS;

	return (left + parts - 1) / parts;
}

/* Task: one run of rows, one group of heads. */
static void attention_task(void *arg, uint32_t index)
{
	const struct attention *a = arg;
	const size_t run = index / a->how->kv_heads, end = a->run[run + 1] * a->group;
	struct attention_tile t;

	for (size_t line = a->run[run] * a->group; line < end; line += t.n) {
		attention_tile_begin(&t, a, index % a->how->kv_heads, line, attention_height(line, end));
		attention_tile_run(&t);
	}
}

/* ---- blocks as tasks ---- */

/* The blocks that rows of a run see: the first, and how many. */
static size_t attention_blocks(const struct attention *a, size_t run, size_t *first)
{
	uint32_t least = UINT32_MAX, most = 0, lo, hi;

	for (size_t t = a->run[run]; t < a->run[run + 1]; t++) {
		attention_sees(a, t, &lo, &hi);
		least = lo < least ? lo : least;
		most = hi > most ? hi : most;
	}
	*first = least / KERNEL_KEYS;
	return most > least ? (most - 1) / KERNEL_KEYS + 1 - *first : 0;
}

/* What a block gave one line. */
static float *attention_part(const struct attention *a, size_t run, size_t kv, size_t block, size_t line)
{
	const size_t lines = (a->run[run + 1] - a->run[run]) * a->group, blocks = a->block[run + 1] - a->block[run];

	return a->parts + (a->part_at[run] + (kv * blocks + block) * lines + line) * a->part;
}

/* Task: one run, one group, one block. */
static void attention_block_task(void *arg, uint32_t index)
{
	const struct attention *a = arg;
	const size_t kv = index % a->how->kv_heads, at = index / a->how->kv_heads;
	struct attention_tile t;
	size_t run = 0, first;

	while (a->block[run + 1] <= at)
		run++;
	const size_t begin = a->run[run] * a->group, end = a->run[run + 1] * a->group, block = at - a->block[run];

	attention_blocks(a, run, &first);
	for (size_t line = begin; line < end; line += t.n) {
		attention_tile_begin(&t, a, kv, line, attention_height(line, end));
		const size_t base = (first + block) * KERNEL_KEYS;
		const int seen = t.least < base + KERNEL_KEYS && t.most > base;

		if (seen)
			attention_tile_block(&t, base);
		for (size_t i = 0; i < t.n; i++) {
			float *part = attention_part(a, run, kv, block, line - begin + i);
			const struct kernel_softmax state = seen ? t.block_state[i] : (struct kernel_softmax){ -INFINITY, 0 };

			memcpy(part, &state, sizeof(state));
			memcpy(part + KERNEL_PANEL, t.block + i * NN_HEAD, seen ? attention_width(a->shape) * sizeof(*part) : 0);
		}
	}
}

/* Task: joins the blocks of one run and one group. */
static void attention_join_task(void *arg, uint32_t index)
{
	const struct attention *a = arg;
	const size_t run = index / a->how->kv_heads, kv = index % a->how->kv_heads, width = attention_width(a->shape);
	const size_t begin = a->run[run] * a->group, lines = a->run[run + 1] * a->group - begin;
	_Alignas(64) float out[NN_HEAD];

	for (size_t line = 0; line < lines; line++) {
		struct kernel_softmax state = { -INFINITY, 0 }, one;

		memset(out, 0, width * sizeof(*out));
		for (size_t block = 0; block < a->block[run + 1] - a->block[run]; block++) {
			const float *part = attention_part(a, run, kv, block, line);

			memcpy(&one, part, sizeof(one));
			a->kernels->join(&state, out, &one, part + KERNEL_PANEL, width);
		}
		attention_line_end(a, kv, begin + line, &state, out);
	}
}

/* Whether there are too few tasks and blocks to make more of them; then where the parts lie. */
static int attention_cut(struct nn *c, struct attention *a)
{
	size_t first, at = 0;

	if (a->n_runs * a->how->kv_heads >= ATTENTION_TASKS)
		return 0;
	a->block = nn_memory(c, a->n_runs + 1, sizeof(*a->block));
	a->part_at = nn_memory(c, a->n_runs + 1, sizeof(*a->part_at));
	a->part = KERNEL_PANEL + attention_width(a->shape);
	if (c->error)
		return 0;
	a->block[0] = 0;
	for (size_t i = 0; i < a->n_runs; i++) {
		const size_t blocks = attention_blocks(a, i, &first);

		a->part_at[i] = at;
		a->block[i + 1] = a->block[i] + blocks;
		at += blocks * (a->run[i + 1] - a->run[i]) * a->how->heads;
		if (at > ATTENTION_PARTS / a->part)
			return 0;
	}
	if (a->block[a->n_runs] <= a->n_runs)
		return 0;
	a->parts = nn_memory(c, at, a->part * sizeof(*a->parts));
	return !c->error;
}

/* ---- all rows ---- */

/* Cuts the rows into runs of one sequence, not longer than what makes good tiles. */
static size_t attention_runs(struct attention *a)
{
	size_t longest = a->group >= KERNEL_ROWS ? 1 : KERNEL_ROWS / a->group, n = 0;

	a->run[0] = 0;
	for (size_t t = 1; t < a->q.rows; t++)
		if (t - a->run[n] == longest || (!a->shared && a->pages[t] != a->pages[t - 1]))
			a->run[++n] = t;
	a->run[++n] = a->q.rows;
	return n;
}

static void attention_compute(struct nn *c, struct attention *a)
{
	a->n_runs = attention_runs(a);
	const size_t tasks = a->n_runs * a->how->kv_heads;

	if (attention_cut(c, a)) {
		nn_parallel(c, attention_block_task, a, (uint32_t)(a->block[a->n_runs] * a->how->kv_heads));
		nn_parallel(c, attention_join_task, a, (uint32_t)tasks);
	} else if (!c->error) {
		nn_parallel(c, attention_task, a, (uint32_t)tasks);
	}
}

static int attention_fits(const struct attention *a)
{
	const struct nn_page_shape *s = a->shape;

	return s->kv_heads && a->how->kv_heads == s->kv_heads && a->how->heads % s->kv_heads == 0 && a->how->heads &&
	       s->dk && s->dv && s->dk <= NN_HEAD && s->dv <= NN_HEAD && a->q.cols == (size_t)a->how->heads * s->dk;
}

static struct nn_tensor attention_run(struct nn *c, struct attention *a)
{
	if (!attention_fits(a)) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	a->kernels = kernels_of(c);
	a->group = a->how->heads / a->how->kv_heads;
	if (!a->out.data)
		a->out = nn_new(c, a->q.rows, (size_t)a->how->heads * a->shape->dv);
	struct nn_arena_mark mark = nn_arena_mark(c->arena);

	a->run = nn_memory(c, a->q.rows + 1, sizeof(*a->run));
	if (!c->error && a->q.rows)
		attention_compute(c, a);
	nn_arena_release(c->arena, mark);
	return c->error ? (struct nn_tensor){ 0 } : a->out;
}

struct nn_tensor nn_attention_paged(struct nn *c, struct nn_tensor q, const struct nn_page_shape *shape,
				    void *const *const *pages, const struct nn_attention *how)
{
	struct attention a = { .q = q, .how = how, .shape = shape, .pages = pages };

	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	if (!how->visible) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	return attention_run(c, &a);
}

struct attention_fill {
	struct nn *c;
	struct nn_tensor k, v;
	const struct nn_page_shape *shape;
	void **pages;
};

static void attention_fill(void *arg, size_t begin, size_t end)
{
	const struct attention_fill *f = arg;
	size_t last = end * NN_PAGE < f->k.rows ? end * NN_PAGE : f->k.rows;

	for (size_t s = begin * NN_PAGE; s < last; s++)
		nn_page_write(f->c, f->pages[s / NN_PAGE], f->shape, s % NN_PAGE, f->k.data + s * f->k.stride,
			      f->v.data + s * f->v.stride);
}

/* Keys and values as pages in the arena. */
static void **attention_pages(struct nn *c, const struct nn_page_shape *shape, struct nn_tensor k, struct nn_tensor v)
{
	size_t n = (k.rows + NN_PAGE - 1) / NN_PAGE, bytes = nn_page_bytes(shape);
	void **pages = nn_memory(c, n + 1, sizeof(*pages));
	char *all = nn_memory(c, n, bytes);

	if (c->error)
		return NULL;
	for (size_t i = 0; i < n; i++)
		pages[i] = all + i * bytes;
	struct attention_fill f = { c, k, v, shape, pages };

	kernels_of(c);
	nn_split(c, n, 32768 / bytes + 1, attention_fill, &f);
	return pages;
}

/* Whether it is to be done in tiles, and they can do it. */
static int attention_in_tiles(const struct attention *a)
{
	const struct nn_attention *how = a->how;

	if (how->compute != NN_COMPUTE_BF16 && how->compute != NN_COMPUTE_TERMS)
		return 0;
	return !(how->softcap > 0) && !how->slopes && !how->relative && a->keys && attention_fits(a);
}

struct nn_tensor nn_attention(struct nn *c, struct nn_tensor q, struct nn_tensor k, struct nn_tensor v,
			      const struct nn_attention *how)
{
	struct nn_page_shape shape = { .kv_heads = how->kv_heads };
	struct attention a = { .q = q, .how = how, .shape = &shape, .shared = 1, .keys = k.rows };

	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	int bad = !how->kv_heads || k.rows != v.rows || k.cols % how->kv_heads || v.cols % how->kv_heads || k.rows > UINT32_MAX;

	for (size_t t = 0; !bad && how->visible && t < q.rows; t++)
		bad = how->visible[t] > k.rows;
	if (bad) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	shape.dk = (uint32_t)(k.cols / how->kv_heads);
	shape.dv = (uint32_t)(v.cols / how->kv_heads);
	/* The result lies before the pages, which are given back. */
	a.out = nn_new(c, q.rows, (size_t)how->heads * shape.dv);
	if (attention_in_tiles(&a)) {
		dense_attention(c, a.out, (const struct nn_tensor[]){ q, k, v }, how);
		return c->error ? (struct nn_tensor){ 0 } : a.out;
	}
	struct nn_arena_mark mark = nn_arena_mark(c->arena);
	void **pages = attention_pages(c, &shape, k, v);
	void *const *list = pages;

	a.pages = &list;
	if (pages)
		attention_run(c, &a);
	nn_arena_release(c->arena, mark);
	return c->error ? (struct nn_tensor){ 0 } : a.out;
}

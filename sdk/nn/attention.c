/* attention.c - softmax(q k^T) v in one pass over keys and values in pages.
 *
 * A page holds the panels of both products (page.h). So scores and sums are tiles of the linear kernels, and for a row they
 * are the same chain of multiply-adds whatever other rows are computed with it. Milakov and Gimelshein 2018 give the running softmax.
 */
#include "sdk/nn/ops.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "sdk/nn/kernels.h"
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
	size_t *run;               /* begins of tasks' rows: n + 1 of them */
};

/* One tile: lines are (row, head of the group) pairs in order, of rows with the same pages. */
struct attention_tile {
	const struct attention *a;
	void *const *pages;
	size_t line, n;  /* of the first; how many, at most KERNEL_ROWS */
	size_t kv;
	uint32_t lo[KERNEL_ROWS], hi[KERNEL_ROWS]; /* keys that each line sees */
	struct kernel_softmax state[KERNEL_ROWS];
	_Alignas(64) float q[NN_HEAD * KERNEL_ROWS];   /* [dk][n], times the scale */
	_Alignas(64) float s[KERNEL_ROWS * NN_PAGE];
	_Alignas(64) float out[NN_HEAD * KERNEL_ROWS]; /* [panel][KERNEL_ROWS][KERNEL_PANEL] */
	_Alignas(64) float wide[NN_PAGE * KERNEL_PANEL]; /* a panel that is kept in 8 bits */
};

/* ---- one tile ---- */

static void attention_softcap(const struct nn_kernels *kernels, float *s, float cap)
{
	kernels->scale(s, NN_PAGE, 1.0f / cap);
	kernels->activate(s, NN_PAGE, NN_TANH);
	kernels->scale(s, NN_PAGE, cap);
}

/* ALiBi: a key's score falls with its distance to the last one that line `i` sees. */
static void attention_slope(const struct attention_tile *t, size_t i, float *s, size_t base)
{
	const struct attention *a = t->a;
	const float slope = a->how->slopes[t->kv * a->group + (t->line + i) % a->group];

	for (size_t j = 0; j < NN_PAGE; j++)
		s[j] += slope * (float)((int64_t)(base + j) - (int64_t)t->hi[i] + 1);
}

/* The part of [lo, hi) that lies in the page from `base` on, counted from there. */
static uint32_t attention_within(uint32_t at, size_t base)
{
	return at <= base ? 0 : at - base < NN_PAGE ? (uint32_t)(at - base) : NN_PAGE;
}

/* One product with a panel of a page: `rows` steps of k. */
static void attention_product(struct attention_tile *t, struct kernel_tile product, const struct page_panel *panel)
{
	const struct nn_kernels *kernels = t->a->kernels;

	product.panel = panel->data;
	product.type = panel->scale || t->a->shape->type == NN_PAGE_F32 ? NN_F32 : NN_F16;
	if (panel->scale) {
		kernels->expand(t->wide, panel->data, panel->scale, product.k, panel->by_row);
		product.panel = t->wide;
	}
	(panel->by_row ? kernels->tile_rows : kernels->tile)(&product);
}

/* t->s = the lines' scores of the first `keys` of a page. */
static void attention_scores(struct attention_tile *t, const void *head, uint32_t keys)
{
	size_t dk = t->a->shape->dk;

	for (size_t i = 0; i < dk; i += NN_PAGE) {
		struct page_panel panel = page_keys(t->a->shape, head, i / NN_PAGE);
		size_t k = panel.scale && dk - i > NN_PAGE ? NN_PAGE : dk - i;
		struct kernel_tile scores = { .acc = t->s, .x = t->q + i * t->n, .xk = t->n, .k = k, .rows = (uint32_t)t->n,
					      .cols = keys, .first = !i };

		attention_product(t, scores, &panel);
		if (!panel.scale)
			break;
	}
}

/* t->out += t->s times the values of the first `keys` of a page. */
static void attention_values(struct attention_tile *t, const void *head, uint32_t keys)
{
	for (size_t p = 0; p < page_value_panels(t->a->shape); p++) {
		struct page_panel panel = page_values(t->a->shape, head, p);
		size_t cols = t->a->shape->dv - p * KERNEL_PANEL;
		struct kernel_tile sum = { .acc = t->out + p * KERNEL_ROWS * KERNEL_PANEL, .x = t->s, .k = keys,
					   .rows = (uint32_t)t->n, .cols = (uint32_t)(cols < KERNEL_PANEL ? cols : KERNEL_PANEL) };

		attention_product(t, sum, &panel);
	}
}

/* Adds the page of keys from `base` on to every line's running softmax and sum. */
static void attention_page(struct attention_tile *t, const void *head, size_t base)
{
	const struct attention *a = t->a;
	const struct nn_kernels *kernels = a->kernels;
	uint32_t most = 0, lo[KERNEL_ROWS], hi[KERNEL_ROWS];
	float carry[KERNEL_ROWS];

	for (size_t i = 0; i < t->n; i++)
		most = t->hi[i] > most ? t->hi[i] : most;
	uint32_t keys = attention_within(most, base);

	attention_scores(t, head, keys);
	for (size_t i = 0; i < t->n; i++) {
		if (a->how->softcap > 0)
			attention_softcap(kernels, t->s + i * NN_PAGE, a->how->softcap);
		if (a->how->slopes)
			attention_slope(t, i, t->s + i * NN_PAGE, base);
		lo[i] = attention_within(t->lo[i], base);
		hi[i] = attention_within(t->hi[i], base);
	}
	kernels->weights(t->state, t->s, (uint32_t)t->n, lo, hi, carry);
	for (size_t i = 0; i < t->n; i++)
		for (size_t p = 0; carry[i] != 1.0f && p < page_value_panels(a->shape); p++)
			kernels->scale(t->out + (p * KERNEL_ROWS + i) * KERNEL_PANEL, KERNEL_PANEL, carry[i]);
	attention_values(t, head, keys);
}

/* Lines' queries, what they see, and empty sums. */
static void attention_begin(struct attention_tile *t)
{
	const struct attention *a = t->a;

	for (size_t i = 0; i < t->n; i++) {
		size_t row = (t->line + i) / a->group, h = t->kv * a->group + (t->line + i) % a->group;
		const float *q = a->q.data + row * a->q.stride + h * a->shape->dk;

		for (size_t d = 0; d < a->shape->dk; d++)
			t->q[d * t->n + i] = q[d] * a->how->scale;
		t->hi[i] = a->how->visible ? a->how->visible[row] : (uint32_t)a->keys;
		t->lo[i] = a->how->first ? a->how->first[row] : 0;
		t->state[i] = (struct kernel_softmax){ .base = -INFINITY };
	}
	memset(t->out, 0, page_value_panels(a->shape) * KERNEL_ROWS * KERNEL_PANEL * sizeof(float));
}

static void attention_end(const struct attention_tile *t)
{
	const struct attention *a = t->a;

	for (size_t i = 0; i < t->n; i++) {
		size_t row = (t->line + i) / a->group, h = t->kv * a->group + (t->line + i) % a->group;
		float *out = a->out.data + row * a->out.stride + h * a->shape->dv;
		float sum = 0;

		for (size_t k = 0; k < KERNEL_PARTS; k++)
			sum += t->state[i].sum[k];
		for (size_t d = 0; d < a->shape->dv; d += KERNEL_PANEL) {
			const size_t n = a->shape->dv - d < KERNEL_PANEL ? a->shape->dv - d : KERNEL_PANEL;

			memcpy(out + d, t->out + (d / KERNEL_PANEL * KERNEL_ROWS + i) * KERNEL_PANEL, n * sizeof(*out));
		}
		a->kernels->scale(out, a->shape->dv, sum > 0 ? 1.0f / sum : sum);
	}
}

static void attention_tile(struct attention_tile *t)
{
	uint32_t lo = UINT32_MAX, hi = 0;

	attention_begin(t);
	for (size_t i = 0; i < t->n; i++) {
		lo = t->lo[i] < lo ? t->lo[i] : lo;
		hi = t->hi[i] > hi ? t->hi[i] : hi;
	}
	for (size_t base = lo / NN_PAGE * NN_PAGE; base < hi; base += NN_PAGE)
		attention_page(t, page_head(t->a->shape, t->pages[base / NN_PAGE], t->kv), base);
	attention_end(t);
}

/* Task: one run of rows, one group of heads. */
static void attention_task(void *arg, uint32_t index)
{
	const struct attention *a = arg;
	size_t run = index / a->how->kv_heads, begin = a->run[run] * a->group, end = a->run[run + 1] * a->group;
	struct attention_tile t;

	t.a = a;
	t.kv = index % a->how->kv_heads;
	t.pages = a->shared ? a->pages[0] : a->pages[a->run[run]];
	for (t.line = begin; t.line < end; t.line += t.n) {
		size_t left = end - t.line, parts = (left + KERNEL_ROWS - 1) / KERNEL_ROWS;

		t.n = (left + parts - 1) / parts;
		attention_tile(&t);
	}
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
		nn_parallel(c, attention_task, a, (uint32_t)(attention_runs(a) * a->how->kv_heads));
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
	struct nn_arena_mark mark = nn_arena_mark(c->arena);
	void **pages = attention_pages(c, &shape, k, v);
	void *const *list = pages;

	a.pages = &list;
	if (pages)
		attention_run(c, &a);
	nn_arena_release(c->arena, mark);
	return c->error ? (struct nn_tensor){ 0 } : a.out;
}

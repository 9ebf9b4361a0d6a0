/* memory.c - an item's keys and values, and which items a sequence has. */
#include "plugins/connectors/cross_attention/cross.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_ROWS_MAX = 1 << 20, MEMORY_ITEMS_MAX = 1 << 16 };

/* Rows of the features that are the picture's; of a tile all or, where the layout says so, some. */
static uint32_t memory_real(const struct percept_layout *l, uint32_t item)
{
	const uint32_t n = l->item_tokens ? l->item_tokens[item] : l->tokens;

	return n < l->tokens ? n : l->tokens;
}

/* Whether the picture's rows, as many as *real becomes, are all in front. */
static int memory_is_ordered(const struct percept_layout *l, uint32_t *real)
{
	int ordered = 1, behind = 0;

	*real = 0;
	for (uint32_t i = 0; i < l->items; i++) {
		const uint32_t n = memory_real(l, i);

		ordered = ordered && !(n && behind);
		behind = n < l->tokens;
		*real += n;
	}
	return ordered;
}

/* The features with the picture's rows in front, and where wanted those of padding behind. */
static struct nn_tensor memory_order(struct nn *c, const struct cross *x, const struct percept_features *f, uint32_t *real)
{
	const struct percept_layout *l = &f->layout;

	if (memory_is_ordered(l, real))
		return nn_view((float *)f->data, x->whole ? (size_t)l->items * l->tokens : *real, l->dim);
	struct nn_tensor y = nn_new(c, (size_t)l->items * l->tokens, l->dim);
	size_t at = 0;

	for (int padding = 0; y.data && padding <= x->whole; padding++) {
		for (uint32_t i = 0; i < l->items; i++) {
			const uint32_t mine = memory_real(l, i), first = padding ? mine : 0, n = padding ? l->tokens - mine : mine;

			memcpy(y.data + at * y.stride, f->data + ((size_t)i * l->tokens + first) * l->dim, (size_t)n * l->dim * sizeof(float));
			at += n;
		}
	}
	return nn_rows(y, 0, at);
}

/* (pages * NN_PAGE, kv_heads * part) of x (rows, kv_heads * head_dim): heads moved apart, with what is behind them. */
static struct nn_tensor memory_widen(struct nn *c, const struct cross *x, const struct cross_memory *m, struct nn_tensor from, int keys)
{
	const size_t part = keys ? x->page.dk : x->page.dv, head = x->head_dim;
	struct nn_tensor y = nn_new(c, (size_t)m->n_pages * NN_PAGE, x->n_kv_heads * part);

	if (!y.data || !from.data)
		return y;
	memset(y.data, 0, y.rows * y.stride * sizeof(float));
	for (size_t t = 0; t < y.rows; t++) {
		for (size_t h = 0; h < x->n_kv_heads; h++) {
			float *to = y.data + t * y.stride + h * part;

			if (t < m->all)
				memcpy(to, from.data + t * from.stride + h * head, head * sizeof(float));
			if (keys && t >= m->all)
				to[head + CROSS_GAP] = CROSS_FAR;
			else if (keys && t >= m->real)
				to[head + CROSS_PADDING] = CROSS_FAR;
		}
	}
	return y;
}

/* The pages of layer i become those of the projected rows. */
static void memory_fill(struct nn *c, const struct cross *x, struct cross_memory *m, uint32_t i, struct nn_tensor rows)
{
	const struct cross_layer *l = &x->layers[i];
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);
	const size_t n = (size_t)m->n_pages * NN_PAGE, bytes = nn_page_bytes(&x->page);
	void **pages = nn_memory(c, m->n_pages, sizeof(*pages));
	void *const **lists = nn_memory(c, n, sizeof(*lists));
	uint32_t *positions = nn_memory(c, n, sizeof(*positions));
	struct nn_tensor k = nn_gemm(c, rows, l->k, NULL), v = nn_gemm(c, rows, l->v, NULL);

	nn_rms_norm_heads(c, k, x->n_kv_heads, l->k_norm, x->eps);
	k = memory_widen(c, x, m, k, 1);
	v = memory_widen(c, x, m, v, 0);
	for (size_t p = 0; pages && p < m->n_pages; p++)
		pages[p] = m->pages + ((size_t)i * m->n_pages + p) * bytes;
	for (size_t t = 0; lists && positions && t < n; t++) {
		lists[t] = pages;
		positions[t] = (uint32_t)t;
	}
	if (!nn_stopped(c))
		nn_page_write_rows(c, &x->page, (void *const *const *)lists, positions, k, v);
	nn_arena_release(c->arena, mark);
}

static int memory_make(struct nn *c, const struct cross *x, const struct percept_features *f, struct cross_memory *m)
{
	struct nn_tensor rows = memory_order(c, x, f, &m->real);

	m->all = (uint32_t)rows.rows;
	m->n_pages = (m->all + NN_PAGE - 1) / NN_PAGE;
	rows = nn_gemm(c, rows, x->projector, x->projector_bias);
	if (c->call->host->observe && rows.data && !c->error)
		c->call->host->observe(c->call, "projected", rows.data, (const uint64_t[]){ rows.rows, rows.cols }, 2);
	m->pages = c->error ? NULL : aligned_alloc(64, nn_page_bytes(&x->page) * m->n_pages * x->n_cross);
	if (!m->pages)
		return c->error ? c->error : (c->error = -ENOMEM);
	memset(m->pages, 0, nn_page_bytes(&x->page) * m->n_pages * x->n_cross);
	for (uint32_t i = 0; i < x->n_cross && !nn_stopped(c); i++) {
		memory_fill(c, x, m, i, rows);
		c->call->host->progress(c->call, i + 1, x->n_cross);
	}
	return c->error;
}

int cross_remember(struct percept_call *call, void *fusion, const struct percept_features *f, void **memory, uint64_t *bytes)
{
	const struct cross *x = fusion;
	const struct percept_layout *l = &f->layout;
	struct nn c;
	uint32_t real = 0;

	for (uint32_t i = 0; i < l->items; i++)
		real |= memory_real(l, i);
	if (!f->data || l->dim != x->in_dim || !real || (uint64_t)l->items * l->tokens > MEMORY_ROWS_MAX)
		return percept_fail(call, -EINVAL, "The cross_attention connector takes rows of %u values, and was given %u pieces of %u rows of "
				    "%u.", x->in_dim, l->items, l->tokens, l->dim);
	struct cross_memory *m = calloc(1, sizeof(*m));
	struct nn_arena *arena = nn_arena_new(0);
	int error = m && arena ? 0 : -ENOMEM;

	if (!error) {
		nn_begin(&c, call, arena);
		error = memory_make(&c, x, f, m);
	}
	nn_arena_free(arena);
	if (error) {
		cross_forget(fusion, m);
		return percept_fail(call, error, error == -ECANCELED ? "The work was cancelled." : error == -ENOMEM ?
				    "Memory for this picture is out." : "The picture's keys and values could not be made.");
	}
	*memory = m;
	*bytes = nn_page_bytes(&x->page) * m->n_pages * x->n_cross + sizeof(*m);
	return 0;
}

void cross_forget(void *fusion, void *memory)
{
	struct cross_memory *m = memory;

	(void)fusion;
	if (m)
		free(m->pages);
	free(m);
}

int cross_bind(struct percept_call *call, void *fusion, uint32_t sequence, uint32_t media, void *memory)
{
	struct cross *x = fusion;
	struct cross_sequence *s = sequence < x->n_sequences ? &x->sequences[sequence] : NULL;

	if (!memory && (!s || !media || media > s->n))
		return 0;
	if (!s || !media || media > MEMORY_ITEMS_MAX)
		return percept_fail(call, -EINVAL, "Item %u of sequence %u is out of range.", media, sequence);
	if (media > s->room) {
		struct cross_memory **more = realloc(s->items, 2 * (size_t)media * sizeof(*more));

		if (!more)
			return percept_fail(call, -ENOMEM, "Memory is out.");
		memset(more + s->room, 0, (2 * (size_t)media - s->room) * sizeof(*more));
		s->items = more;
		s->room = 2 * media;
	}
	s->items[media - 1] = memory;
	if (media > s->n)
		s->n = media;
	while (s->n && !s->items[s->n - 1])
		s->n--;
	s->stale = 1;
	return 0;
}

void cross_unlist(struct cross_sequence *s)
{
	if (s->pages)
		free(s->pages[0]);
	free(s->pages);
	free(s->begins);
	s->pages = NULL;
	s->begins = NULL;
}

static int cross_list_sequence(const struct cross *x, struct cross_sequence *s)
{
	const size_t bytes = nn_page_bytes(&x->page);
	size_t n = 0;

	cross_unlist(s);
	for (uint32_t i = 0; i < s->n; i++)
		n += s->items[i] ? s->items[i]->n_pages : 0;
	s->begins = calloc((size_t)s->n + 1, sizeof(*s->begins));
	s->pages = calloc(x->n_cross, sizeof(*s->pages));
	void **all = calloc(n * x->n_cross + 1, sizeof(*all));

	if (!s->begins || !s->pages || !all) {
		free(all);
		return -ENOMEM;
	}
	for (uint32_t layer = 0; layer < x->n_cross; layer++) {
		void **to = s->pages[layer] = all + layer * n;

		for (uint32_t i = 0; i < s->n; i++) {
			const struct cross_memory *m = s->items[i];

			s->begins[i] = (uint32_t)(to - s->pages[layer]);
			for (size_t p = 0; m && p < m->n_pages; p++)
				*to++ = m->pages + ((size_t)layer * m->n_pages + p) * bytes;
		}
	}
	s->begins[s->n] = (uint32_t)n;
	s->stale = 0;
	return 0;
}

int cross_list(struct cross *x)
{
	int error = 0;

	for (uint32_t i = 0; i < x->n_sequences && !error; i++)
		if (x->sequences[i].stale && x->sequences[i].n)
			error = cross_list_sequence(x, &x->sequences[i]);
	return error;
}

/* attend.c - what the layers do with the rows of a batch. */
#include "plugins/connectors/cross_attention/cross.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The rows of a batch that attend something; keys are counted over all pages of their sequence's items. */
struct attending {
	uint32_t n;
	uint32_t *index;          /* [n] which of the batch */
	uint32_t *first, *visible; /* [n] keys that it sees */
	unsigned char *seen;      /* [n] it has a picture before it; else all are behind it */
	void *const **pages;      /* [n] of the layer at hand */
};

/* What row `row` attends, if anything. */
static int attend_row(const struct cross *x, const struct percept_row *row, struct attending *a)
{
	const struct cross_sequence *s = row->sequence < x->n_sequences ? &x->sequences[row->sequence] : NULL;
	const uint32_t seen = row->media_seen, run = row->media_run ? row->media_run : seen;

	if (!s || !s->n || (!seen && !x->whole))
		return 0;
	if (seen > s->n || run > seen)
		return -EINVAL;
	for (uint32_t i = seen ? run - 1 : 0; i < (seen ? seen : s->n); i++)
		if (!s->items[i])
			return -EINVAL;
	const struct cross_memory *last = s->items[seen ? seen - 1 : s->n - 1];

	a->first[a->n] = seen ? s->begins[run - 1] * NN_PAGE : 0;
	a->visible[a->n] = s->begins[seen ? seen - 1 : s->n - 1] * NN_PAGE + (seen ? last->real : last->all);
	a->seen[a->n++] = seen != 0;
	return 1;
}

/* 0 or c->error. */
static int attend_find(struct nn *c, const struct cross *x, const struct percept_row *rows, uint32_t n, struct attending *a)
{
	*a = (struct attending){ .index = nn_memory(c, n, sizeof(*a->index)), .first = nn_memory(c, n, sizeof(*a->first)),
				 .visible = nn_memory(c, n, sizeof(*a->visible)), .seen = nn_memory(c, n, 1),
				 .pages = nn_memory(c, n, sizeof(*a->pages)) };
	for (uint32_t t = 0; t < n && !c->error; t++) {
		const int found = attend_row(x, &rows[t], a);

		if (found > 0)
			a->index[a->n - 1] = t;
		else if (found < 0)
			c->error = found;
	}
	return c->error;
}

static void attend_pages(const struct cross *x, const struct percept_row *rows, struct attending *a, uint32_t layer)
{
	for (uint32_t t = 0; t < a->n; t++)
		a->pages[t] = x->sequences[rows[a->index[t]].sequence].pages[layer];
}

/* Queries (n, heads * dk): each head normed, and what it must not see. */
static struct nn_tensor attend_queries(struct nn *c, const struct cross *x, const struct cross_layer *l, const struct attending *a,
				       struct nn_tensor q)
{
	const size_t head = x->head_dim, part = x->page.dk;
	struct nn_tensor y = nn_new(c, q.rows, x->n_heads * part);

	nn_rms_norm_heads(c, q, x->n_heads, l->q_norm, x->eps);
	for (size_t t = 0; y.data && q.data && t < q.rows; t++) {
		for (size_t h = 0; h < x->n_heads; h++) {
			float *to = y.data + t * y.stride + h * part;

			memcpy(to, q.data + t * q.stride + h * head, head * sizeof(float));
			to[head + CROSS_GAP] = 1;
			to[head + CROSS_PADDING] = a->seen[t];
		}
	}
	return y;
}

/* x += y * gate, of the rows that have seen a picture or of all. */
static void attend_add(struct nn_tensor x, struct nn_tensor y, float gate, const unsigned char *seen)
{
	for (size_t t = 0; x.data && y.data && t < x.rows; t++)
		for (size_t i = 0; (!seen || seen[t]) && i < x.cols; i++)
			x.data[t * x.stride + i] += gate * y.data[t * y.stride + i];
}

static void attend_layer(struct nn *c, const struct cross *x, const struct cross_layer *l, const struct attending *a, struct nn_tensor h)
{
	const struct nn_attention how = { .heads = x->n_heads, .kv_heads = x->n_kv_heads, .first = a->first, .visible = a->visible,
					  .scale = 1 / sqrtf((float)x->head_dim) };
	struct nn_tensor y = nn_linear(c, nn_rms_norm(c, h, l->norm1, x->eps), l->q, NULL), both[2];

	y = nn_attention_paged(c, attend_queries(c, x, l, a, y), &x->page, (void *const *const *)a->pages, &how);
	attend_add(h, nn_linear(c, y, l->out, NULL), l->attend, NULL);
	y = nn_rms_norm(c, h, l->norm2, x->eps);
	nn_linear_all(c, y, 2, (const struct nn_weight *const[]){ l->gate, l->up }, (const float *const[]){ NULL, NULL }, both);
	y = nn_gate(c, both[0], both[1], x->activation);
	attend_add(h, nn_linear(c, y, l->down, NULL), l->feed, a->seen);
}

/* Layer i on the rows of a batch. 0 or -errno. */
static int attend(struct percept_call *call, struct cross *x, uint32_t i, const struct percept_row *rows, uint32_t n, float *hidden)
{
	const size_t d = x->d_model;
	struct attending a;
	struct nn c;

	nn_arena_reset(x->arena);
	nn_begin(&c, call, x->arena);
	if (!attend_find(&c, x, rows, n, &a) && a.n) {
		struct nn_tensor h = nn_new(&c, a.n, d);

		attend_pages(x, rows, &a, i);
		for (size_t t = 0; h.data && t < a.n; t++)
			memcpy(h.data + t * h.stride, hidden + a.index[t] * d, d * sizeof(float));
		attend_layer(&c, x, &x->layers[i], &a, h);
		for (size_t t = 0; !nn_stopped(&c) && t < a.n; t++)
			memcpy(hidden + a.index[t] * d, h.data + t * h.stride, d * sizeof(float));
	}
	if (!c.error)
		return 0;
	return percept_fail(call, c.error, c.error == -ECANCELED ? "The step was cancelled." : c.error == -ENOMEM ?
			    "Memory for rows that attend pictures is out." : "A row has seen a picture that its sequence has not.");
}

int cross_before(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows, uint32_t n, float *hidden)
{
	struct cross *x = state;
	int error = 0;

	for (uint32_t i = 0; i < x->n_cross && !error; i++)
		if (x->layers[i].before == layer)
			error = attend(call, x, i, rows, n, hidden);
	return error;
}

int cross_after(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows, uint32_t n, float *hidden)
{
	const struct cross *x = state;

	return layer + 1 == x->n_layers ? cross_before(call, state, layer + 1, rows, n, hidden) : 0;
}

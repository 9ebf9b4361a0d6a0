/* hooks.c - the blocks at work in front of a decoder's layers, on the rows of sequences that have pictures. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "plugins/connectors/gated_cross_attention/gated.h"

/* The rows of a batch that take part, T of them. */
struct pass {
	struct nn *c;
	const struct gated *g;
	uint32_t *index;          /* [T] of the batch's rows */
	const struct keys **keys; /* [T] what they look at; NULL: nothing */
	uint32_t *visible;        /* [T] */
	uint32_t n;
};

static void hooks_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x)
{
	if (call->host->observe && x.data && !c->error && x.stride == x.cols)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

/* Which rows take part. 0, or a negative errno after percept_fail(). */
static int hooks_rows(struct pass *p, struct percept_call *call, const struct percept_row *rows, uint32_t n)
{
	p->index = nn_memory(p->c, n, sizeof(*p->index));
	p->keys = nn_memory(p->c, n, sizeof(*p->keys));
	p->visible = nn_memory(p->c, n, sizeof(*p->visible));
	for (uint32_t t = 0; !p->c->error && t < n; t++) {
		const struct bound *b = rows[t].sequence < p->g->n_sequences ? &p->g->bound[rows[t].sequence] : NULL;

		if (!b || !bound_any(b))
			continue;
		if (bound_seen(p->g, b, rows[t].media_seen, &p->keys[p->n], &p->visible[p->n]))
			return percept_fail(call, -EINVAL, "A row has seen item %u of sequence %u, which is not bound.",
					    rows[t].media_seen, rows[t].sequence);
		p->index[p->n++] = t;
	}
	return 0;
}

static struct nn_tensor hooks_norm(struct pass *p, struct nn_tensor x, const struct gated_norm *norm)
{
	return p->g->kind->rms ? nn_rms_norm(p->c, x, norm->w, p->g->norm_eps) : nn_layer_norm(p->c, x, norm->w, norm->b, p->g->norm_eps);
}

/* x += gate * y, number by number. */
static void hooks_add(struct nn_tensor x, struct nn_tensor y, const float *gate)
{
	for (size_t t = 0; x.data && y.data && t < x.rows; t++)
		for (size_t i = 0; i < x.cols; i++)
			x.data[t * x.stride + i] += gate[i] * y.data[t * y.stride + i];
}

/* Where all pictures are looked at, what came before the first of them weighs all places alike, as in the reference's training. */
static void hooks_level(const struct pass *p, const struct percept_row *rows, struct nn_tensor q)
{
	for (uint32_t t = 0; p->g->at_once && q.data && t < p->n; t++)
		if (!rows[p->index[t]].media_seen)
			memset(q.data + t * q.stride, 0, q.cols * sizeof(*q.data));
}

static struct nn_tensor hooks_attention(struct pass *p, const struct block *b, const struct percept_row *rows, struct nn_tensor x)
{
	const struct gated *g = p->g;
	const struct nn_attention how = { .heads = g->n_heads, .kv_heads = g->n_heads, .visible = p->visible,
					  .scale = 1 / sqrtf((float)g->head_dim) };
	void *const **pages = nn_memory(p->c, p->n, sizeof(*pages));
	struct nn_tensor q = nn_linear(p->c, hooks_norm(p, x, &b->norm), b->q, NULL);

	if (b->q_norm.w)
		nn_rms_norm_heads(p->c, q, g->n_heads, b->q_norm.w, g->norm_eps);
	hooks_level(p, rows, q);
	for (uint32_t t = 0; pages && t < p->n; t++)
		pages[t] = p->keys[t] ? p->keys[t]->pages + (size_t)(b - g->blocks) * p->keys[t]->n_pages : NULL;
	if (nn_stopped(p->c))
		return (struct nn_tensor){ 0 };
	return nn_linear(p->c, nn_attention_paged(p->c, q, &g->page, pages, &how), b->out, NULL);
}

static struct nn_tensor hooks_feed(struct pass *p, const struct block *b, struct nn_tensor x)
{
	struct nn_tensor n = hooks_norm(p, x, &b->feed), y[2] = { { 0 } };

	if (b->gate) {
		nn_linear_all(p->c, n, 2, (const struct nn_weight *const[]){ b->gate, b->up }, NULL, y);
		return nn_linear(p->c, nn_gate(p->c, y[0], y[1], p->g->activation), b->down, NULL);
	}
	y[0] = nn_linear(p->c, n, b->up, NULL);
	nn_activate(p->c, y[0], p->g->activation);
	return nn_linear(p->c, y[0], b->down, NULL);
}

/* Block `b` on the rows of `hidden` that take part. */
static void hooks_block(struct pass *p, struct percept_call *call, const struct block *b, const struct percept_row *rows, float *hidden)
{
	const size_t d = p->g->d_model;
	struct nn_tensor x = nn_new(p->c, p->n, d);

	for (uint32_t t = 0; x.data && t < p->n; t++)
		memcpy(x.data + t * x.stride, hidden + p->index[t] * d, d * sizeof(float));
	struct nn_tensor y = hooks_attention(p, b, rows, x);

	if (b == p->g->blocks)
		hooks_observe(p->c, call, "attention", y);
	hooks_add(x, y, b->attention_gate);
	y = hooks_feed(p, b, x);
	if (b == p->g->blocks)
		hooks_observe(p->c, call, "ff", y);
	hooks_add(x, y, b->feed_gate);
	for (uint32_t t = 0; !p->c->error && t < p->n; t++)
		memcpy(hidden + p->index[t] * d, x.data + t * x.stride, d * sizeof(float));
	if (b == p->g->blocks)
		hooks_observe(p->c, call, "cross_attention_after_layer0", x);
}

static int hooks_before_layer(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows, uint32_t n,
			      float *hidden)
{
	struct gated *g = state;
	const uint32_t at = layer < g->n_at ? g->at[layer] : 0;
	struct nn c;
	struct pass p = { .c = &c, .g = g };

	if (!at)
		return 0;
	nn_arena_reset(g->arena);
	nn_begin(&c, call, g->arena);
	const int error = hooks_rows(&p, call, rows, n);

	if (error)
		return error;
	if (p.n)
		hooks_block(&p, call, &g->blocks[at - 1], rows, hidden);
	if (c.error)
		return percept_fail(call, c.error, c.error == -ECANCELED ? "The work was cancelled." :
				    "The cross-attention failed: memory is out.");
	return 0;
}

int gated_hooks(struct percept_call *call, void *fusion, struct percept_hooks *hooks)
{
	struct gated *g = fusion;
	struct nn c;

	nn_arena_reset(g->arena);
	nn_begin(&c, call, g->arena);
	if (bound_join(&c, g))
		return percept_fail(call, c.error, "Memory for the pictures' keys and values is out.");
	*hooks = (struct percept_hooks){ .size = sizeof(*hooks), .state = g, .before_layer = hooks_before_layer };
	return 0;
}

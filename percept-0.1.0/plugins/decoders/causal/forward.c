/* forward.c - the decoder's forward pass over a batch of rows. */
#include "plugins/decoders/causal/causal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One pass. T rows; x (T, d_model) is the residual stream. */
struct forward {
	struct nn *c;
	struct percept_call *call;
	struct causal *d;
	const struct percept_batch *batch;
	const int32_t *positions; /* [T] */
	uint32_t *index, *visible; /* [T] each row's place in its sequence, and how many rows of it it sees */
	float ***lists;           /* [sequences] a sequence's pages of the current layer */
	float *const **pages;     /* [T] its sequence's list */
	uint32_t *media, *text;   /* rows that a media item owns and the others, where the hooks project; else all are text */
	uint32_t n_media, n_text;
	int hooked;               /* a hook failed, and said why */
};

static void forward_observe(struct forward *f, const char *name, struct nn_tensor x)
{
	if (f->call->host->observe && x.data && !f->c->error)
		f->call->host->observe(f->call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

/* A hook's failure is the computation's. */
static void forward_failed(struct forward *f, int error)
{
	if (error && !f->c->error) {
		f->hooked = 1;
		f->c->error = error < 0 ? error : -EIO;
	}
}

static struct nn_tensor forward_take(struct nn *c, struct nn_tensor x, const uint32_t *index, uint32_t n)
{
	struct nn_tensor y = nn_new(c, n, x.cols);

	for (uint32_t i = 0; y.data && i < n; i++)
		memcpy(y.data + i * y.stride, x.data + index[i] * x.stride, x.cols * sizeof(float));
	return y;
}

static void forward_put(struct nn_tensor x, const uint32_t *index, struct nn_tensor y)
{
	for (size_t i = 0; x.data && i < y.rows; i++)
		memcpy(x.data + index[i] * x.stride, y.data + i * y.stride, y.cols * sizeof(float));
}

/* What the decoder's own weights give for x (n, k). */
static struct nn_tensor forward_own(struct forward *f, const struct layer *l, enum percept_project what, struct nn_tensor x)
{
	const struct shape *s = &f->d->model.shape;
	struct nn *c = f->c;

	if (what == PERCEPT_PROJECT_MLP)
		return f->d->model.family->mlp(c, &f->d->model, l, x);
	if (what == PERCEPT_PROJECT_OUT)
		return nn_linear(c, x, l->o, l->o_bias);
	struct nn_tensor y = nn_new(c, x.rows, s->q_dim + 2 * s->kv_dim);
	const struct nn_weight *const w[] = { l->q, l->k, l->v };
	const float *const b[] = { l->q_bias, l->k_bias, l->v_bias };

	for (size_t i = 0, at = 0; i < 3; at += w[i++]->rows) {
		struct nn_tensor part = nn_linear(c, x, w[i], b[i]);

		for (size_t t = 0; y.data && t < part.rows; t++)
			memcpy(y.data + t * y.stride + at, part.data + t * part.stride, part.cols * sizeof(float));
	}
	return y;
}

/* y (T, n_out) = the projection `what` of x (T, k): text rows by the decoder's weights, media rows by the hook's. */
static struct nn_tensor forward_project(struct forward *f, uint32_t layer, enum percept_project what, struct nn_tensor x,
					size_t n_out)
{
	const struct layer *l = &f->d->model.layers[layer];
	const struct percept_hooks *h = f->batch->hooks;
	struct nn *c = f->c;

	if (!f->n_media)
		return forward_own(f, l, what, x);
	struct nn_tensor y = nn_new(c, x.rows, n_out), media = forward_take(c, x, f->media, f->n_media);
	struct nn_tensor out = nn_new(c, f->n_media, n_out);

	if (f->n_text && !c->error)
		forward_put(y, f->text, forward_own(f, l, what, forward_take(c, x, f->text, f->n_text)));
	if (!nn_stopped(c))
		forward_failed(f, h->project(f->call, h->state, layer, what, f->batch->rows, f->media, f->n_media, media.data,
					     out.data));
	if (!c->error)
		forward_put(y, f->media, out);
	return y;
}

/* x += out(attention(qkv(norm x))); x += mlp(norm x). */
static void forward_layer(struct forward *f, uint32_t i, struct nn_tensor x)
{
	const struct model *m = &f->d->model;
	const struct shape *s = &m->shape;
	const struct layer *l = &m->layers[i];
	struct nn *c = f->c;
	const struct nn_attention how = { .heads = s->n_heads, .kv_heads = s->n_kv_heads, .visible = f->visible,
					  .scale = 1 / sqrtf((float)s->head_dim) };
	struct nn_tensor h = nn_rms_norm(c, x, l->attention_norm, s->norm_eps);
	struct nn_tensor qkv = forward_project(f, i, PERCEPT_PROJECT_QKV, h, s->q_dim + 2 * s->kv_dim);
	struct nn_tensor q = nn_cols(qkv, 0, s->q_dim), k = nn_cols(qkv, s->q_dim, s->kv_dim);
	struct nn_tensor v = nn_cols(qkv, s->q_dim + s->kv_dim, s->kv_dim);

	nn_rope(c, q, f->positions, s->n_heads, &m->rope);
	nn_rope(c, k, f->positions, s->n_kv_heads, &m->rope);
	nn_page_write_rows(c, &f->d->kv.shape, (float *const *const *)f->pages, f->index, k, v);
	struct nn_tensor a = nn_attention_paged(c, q, &f->d->kv.shape, (float *const *const *)f->pages, &how);

	nn_add_to(c, x, forward_project(f, i, PERCEPT_PROJECT_OUT, a, s->d_model));
	h = nn_rms_norm(c, x, l->mlp_norm, s->norm_eps);
	nn_add_to(c, x, forward_project(f, i, PERCEPT_PROJECT_MLP, h, s->d_model));
}

/* The lists of the batch's sequences become those of layer i. */
static void forward_pages(struct forward *f, uint32_t i)
{
	const struct kv *kv = &f->d->kv;

	for (uint32_t s = 0; s < kv->n_sequences; s++) {
		for (uint32_t p = 0; f->lists[s] && p < kv->sequences[s].n_pages; p++)
			f->lists[s][p] = kv->sequences[s].pages[p]->data + i * kv->stride;
	}
}

/* Arrays that hold for all layers. */
static void forward_place(struct forward *f, const struct place *places)
{
	const struct kv *kv = &f->d->kv;
	const uint32_t n = f->batch->n;
	int32_t *positions = nn_memory(f->c, n, sizeof(*positions));

	f->index = nn_memory(f->c, n, sizeof(*f->index));
	f->visible = nn_memory(f->c, n, sizeof(*f->visible));
	f->lists = nn_memory(f->c, kv->n_sequences, sizeof(*f->lists));
	f->pages = nn_memory(f->c, n, sizeof(*f->pages));
	f->positions = positions;
	for (uint32_t s = 0; !f->c->error && s < kv->n_sequences; s++)
		f->lists[s] = NULL;
	for (uint32_t t = 0; !f->c->error && t < n; t++) {
		const uint32_t s = places[t].sequence;

		positions[t] = f->batch->rows[t].position[0];
		f->index[t] = places[t].index;
		f->visible[t] = places[t].visible;
		if (!f->lists[s])
			f->lists[s] = nn_memory(f->c, kv->sequences[s].n_pages, sizeof(**f->lists));
		f->pages[t] = f->lists[s];
	}
}

static void forward_layers(struct forward *f, struct nn_tensor x)
{
	const struct percept_hooks *h = f->batch->hooks;
	char name[32];

	for (uint32_t i = 0; i < f->d->model.shape.n_layers && !nn_stopped(f->c); i++) {
		const struct nn_arena_mark mark = nn_arena_mark(f->c->arena);

		forward_pages(f, i);
		if (h && h->before_layer)
			forward_failed(f, h->before_layer(f->call, h->state, i, f->batch->rows, f->batch->n, x.data));
		if (!f->c->error)
			forward_layer(f, i, x);
		if (h && h->after_layer && !f->c->error)
			forward_failed(f, h->after_layer(f->call, h->state, i, f->batch->rows, f->batch->n, x.data));
		snprintf(name, sizeof(name), "after_layer%u", i);
		forward_observe(f, name, x);
		nn_arena_release(f->c->arena, mark);
	}
}

/* x (T, d_model): the rows' tokens or embeddings. */
static struct nn_tensor forward_input(struct forward *f)
{
	const struct percept_batch *b = f->batch;
	const size_t dim = f->d->model.shape.d_model;
	int32_t *ids = nn_memory(f->c, b->n, sizeof(*ids));

	if (!ids)
		return (struct nn_tensor){ 0 };
	for (uint32_t t = 0; t < b->n; t++)
		ids[t] = b->rows[t].token < 0 ? 0 : b->rows[t].token;
	struct nn_tensor x = nn_embed(f->c, f->d->model.embeddings, ids, b->n);

	for (uint32_t t = 0; x.data && t < b->n; t++) {
		if (b->rows[t].token < 0)
			memcpy(x.data + t * x.stride, b->rows[t].embedding, dim * sizeof(float));
	}
	return x;
}

/* The rows of x that want `what`, as (n, d_model). */
static struct nn_tensor forward_wanted(struct forward *f, struct nn_tensor x, uint32_t what)
{
	uint32_t *index = nn_memory(f->c, f->batch->n, sizeof(*index)), n = 0;

	for (uint32_t t = 0; index && t < f->batch->n; t++) {
		if (f->batch->rows[t].wants & what)
			index[n++] = t;
	}
	return n ? forward_take(f->c, x, index, n) : (struct nn_tensor){ 0 };
}

/* A copy in the call's arena; NULL for no rows. */
static const float *forward_keep(struct forward *f, struct nn_tensor x)
{
	float *copy = x.rows && !f->c->error ? percept_alloc(f->call, x.rows * x.cols * sizeof(float)) : NULL;

	if (x.rows && !copy && !f->c->error)
		f->c->error = -ENOMEM;
	for (size_t t = 0; copy && t < x.rows; t++)
		memcpy(copy + t * x.cols, x.data + t * x.stride, x.cols * sizeof(float));
	return copy;
}

/* Which rows the hooks project. */
static void forward_divide(struct forward *f)
{
	const struct percept_hooks *h = f->batch->hooks;
	const uint32_t n = f->batch->n;

	if (!h || !h->project)
		return;
	f->media = nn_memory(f->c, n, sizeof(*f->media));
	f->text = nn_memory(f->c, n, sizeof(*f->text));
	for (uint32_t t = 0; f->media && f->text && t < n; t++) {
		if (f->batch->rows[t].media)
			f->media[f->n_media++] = t;
		else
			f->text[f->n_text++] = t;
	}
}

int causal_forward(struct percept_call *call, struct causal *d, struct percept_batch *batch, const struct place *places)
{
	struct nn c;
	struct forward f = { .c = &c, .call = call, .d = d, .batch = batch };

	nn_arena_reset(d->arena);
	nn_begin(&c, call, d->arena);
	forward_place(&f, places);
	forward_divide(&f);
	struct nn_tensor x = forward_input(&f);

	forward_observe(&f, "embeddings", x);
	forward_layers(&f, x);
	if (call->host->observe)
		forward_observe(&f, "final_normed", nn_rms_norm(&c, x, d->model.norm, d->model.shape.norm_eps));
	struct nn_tensor hidden = forward_wanted(&f, x, PERCEPT_WANT_HIDDEN), last = forward_wanted(&f, x, PERCEPT_WANT_LOGITS);

	if (hidden.rows)
		batch->hidden = forward_keep(&f, nn_rms_norm(&c, hidden, d->model.norm, d->model.shape.norm_eps));
	if (last.rows) {
		last = nn_rms_norm(&c, last, d->model.norm, d->model.shape.norm_eps);
		batch->logits = forward_keep(&f, nn_linear(&c, last, d->model.head, NULL));
	}
	if (c.error == -ENOMEM && !f.hooked)
		return percept_fail(call, c.error, "Memory for %u rows is out.", batch->n);
	if (c.error == -ECANCELED && !f.hooked)
		return percept_fail(call, c.error, "The work was cancelled.");
	if (c.error && !f.hooked)
		return percept_fail(call, c.error, "The language model failed on these rows.");
	return c.error;
}

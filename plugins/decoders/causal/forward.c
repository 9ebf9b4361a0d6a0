/* forward.c - the decoder's forward pass over a batch of rows. */
#include "plugins/decoders/causal/causal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One pass. T rows; x (T, d_model) is the residual stream. */
struct forward {
	struct nn *c;
	struct percept_call *call;
	struct causal *d;
	const struct percept_batch *batch;
	const int32_t *positions; /* [T] */
	const int32_t *axes;      /* [T][NN_ROPE_AXES] where positions have several components; else NULL */
	uint32_t *index, *visible; /* [T] each row's place in its sequence, and how many rows of it it sees */
	uint32_t *first;          /* [T] in layers with a window: the first row that it sees */
	const int32_t *far;       /* [T] 1: its sequence is beyond the length that the positions were trained for; NULL: none is */
	void ***lists[2];        /* [sequences] a sequence's pages of the current layer, by the layer's kind of window */
	void *const **pages[2];  /* [T] its sequence's list */
	uint32_t *media, *text;   /* rows that a media item owns and the others, where the hooks project; else all are text */
	uint32_t n_media, n_text;
	const uint32_t *kept;     /* [n_kept] in the last layer: the rows that something is wanted of; NULL: all */
	uint32_t n_kept;
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

/* q, k, v (n, heads * dim) of x (n, d_model). */
static void forward_linear(struct nn *c, const struct layer *l, struct nn_tensor x, struct nn_tensor qkv[3])
{
	nn_linear_all(c, x, 3, (const struct nn_weight *const[]){ l->q, l->k, l->v },
		      (const float *const[]){ l->q_bias, l->k_bias, l->v_bias }, qkv);
}

/* x itself where there is no norm. */
static struct nn_tensor forward_norm(struct forward *f, struct nn_tensor x, const struct norm *norm)
{
	const struct shape *s = &f->d->model.shape;

	if (!norm->w)
		return x;
	return s->layer_norm ? nn_layer_norm(f->c, x, norm->w, norm->b, s->norm_eps) : nn_rms_norm(f->c, x, norm->w, s->norm_eps);
}

/* x += y; the sum may be normed in its place. */
static void forward_sum(struct forward *f, struct nn_tensor x, struct nn_tensor y, const struct norm *norm)
{
	nn_add_to(f->c, x, y);
	if (!norm->w)
		return;
	struct nn_tensor normed = forward_norm(f, x, norm);

	for (size_t t = 0; normed.data && t < x.rows; t++)
		memcpy(x.data + t * x.stride, normed.data + t * normed.stride, x.cols * sizeof(float));
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
	struct nn_tensor y = nn_new(c, x.rows, s->q_dim + 2 * s->kv_dim), part[3];

	forward_linear(c, l, x, part);
	for (size_t i = 0, at = 0; i < 3; at += part[i++].cols) {
		for (size_t t = 0; y.data && t < part[i].rows; t++)
			memcpy(y.data + t * y.stride + at, part[i].data + t * part[i].stride, part[i].cols * sizeof(float));
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

/* Rows that are near turn by the layer's frequencies, those that are far by others. */
static void forward_rotate(struct forward *f, const struct layer *l, struct nn_tensor x, uint32_t heads)
{
	const struct model *m = &f->d->model;
	const int32_t *positions = f->axes ? f->axes : f->positions;
	const uint32_t each = f->axes ? NN_ROPE_AXES : 1;

	for (uint32_t t = 0; f->far && t < x.rows; t++)
		nn_rope(f->c, nn_rows(x, t, 1), positions + (size_t)t * each, heads,
			f->far[t] ? &m->rope_long[l->rope] : &m->rope[l->rope]);
	if (!f->far)
		nn_rope(f->c, x, positions, heads, &m->rope[l->rope]);
}

/* q and k, where they are normed: head by head, or as whole rows. */
static void forward_norm_qk(struct forward *f, const struct layer *l, struct nn_tensor qk[2])
{
	const struct shape *s = &f->d->model.shape;
	const struct norm *norms[] = { &l->q_norm, &l->k_norm };

	for (size_t i = 0; i < 2; i++) {
		if (norms[i]->w && s->qk_rows)
			qk[i] = forward_norm(f, qk[i], norms[i]);
		else if (norms[i]->w)
			nn_rms_norm_heads(f->c, qk[i], i ? s->n_kv_heads : s->n_heads, norms[i]->w, s->norm_eps);
	}
}

/* q, k, v (T, heads * dim) of a block's normed input, with what tells their positions. */
static void forward_qkv(struct forward *f, uint32_t i, struct nn_tensor x, struct nn_tensor qkv[3])
{
	const struct model *m = &f->d->model;
	const struct shape *s = &m->shape;
	const struct layer *l = &m->layers[i];
	struct nn *c = f->c;

	if (m->family->project) {
		m->family->project(c, m, l, x, f->positions, qkv);
		return;
	}
	if (f->n_media) {
		struct nn_tensor all = forward_project(f, i, PERCEPT_PROJECT_QKV, x, s->q_dim + 2 * s->kv_dim);

		qkv[0] = nn_cols(all, 0, s->q_dim);
		qkv[1] = nn_cols(all, s->q_dim, s->kv_dim);
		qkv[2] = nn_cols(all, s->q_dim + s->kv_dim, s->kv_dim);
	} else {
		forward_linear(c, l, x, qkv);
	}
	forward_norm_qk(f, l, qkv);
	if (m->rope[l->rope].dim) {
		forward_rotate(f, l, qkv[0], s->n_heads);
		forward_rotate(f, l, qkv[1], s->n_kv_heads);
	}
}

/* Once the last layer's keys and values are written, rows of which nothing is wanted are done: q and x lose them. */
static void forward_narrow(struct forward *f, uint32_t layer, struct nn_tensor *q, struct nn_tensor *x)
{
	const uint32_t kind = f->d->model.layers[layer].kv;
	uint32_t *kept = nn_memory(f->c, f->batch->n, sizeof(*kept)), n = 0;

	for (uint32_t t = 0; kept && t < f->batch->n; t++)
		if (f->batch->rows[t].wants)
			kept[n++] = t;
	if (!kept || n == f->batch->n)
		return;
	for (uint32_t t = 0; t < n; t++) {
		f->visible[t] = f->visible[kept[t]];
		f->first[t] = f->first[kept[t]];
		f->pages[kind][t] = f->pages[kind][kept[t]];
	}
	*q = forward_take(f->c, *q, kept, n);
	*x = forward_take(f->c, *x, kept, n);
	f->kept = kept;
	f->n_kept = n;
}

/* x += out(attention(qkv(norm x))); x += mlp(norm x); what is added may be normed once more, or the sums may be. Returns x, of which only wanted
 * rows are left where `last`. */
static struct nn_tensor forward_layer(struct forward *f, uint32_t i, struct nn_tensor x, int last)
{
	const struct model *m = &f->d->model;
	const struct shape *s = &m->shape;
	const struct layer *l = &m->layers[i];
	struct nn *c = f->c;
	const struct nn_attention how = {
		.heads = s->n_heads, .kv_heads = s->n_kv_heads, .visible = f->visible, .first = l->window ? f->first : NULL,
		.scale = l->attention_scale, .softcap = s->attention_softcap, .slopes = m->slopes,
	};
	void *const *const *pages = (void *const *const *)f->pages[l->kv];
	const struct nn_page_shape *shape = &f->d->kv[l->kv].shape;
	struct nn_tensor qkv[3], h, beside = { 0 };

	forward_qkv(f, i, forward_norm(f, x, &l->attention_norm), qkv);
	nn_page_write_rows(c, shape, pages, f->index, qkv[1], qkv[2]);
	if (last)
		forward_narrow(f, i, &qkv[0], &x);
	if (f->call->host->observe)
		causal_show(&(struct causal_shown){ c, f->call, f->batch, i, shape, pages }, qkv[0], &how);
	h = nn_attention_paged(c, qkv[0], shape, pages, &how);
	h = forward_project(f, i, PERCEPT_PROJECT_OUT, h, s->d_model);
	if (s->parallel)
		beside = forward_norm(f, x, &l->mlp_norm);
	forward_sum(f, x, forward_norm(f, h, &l->attention_post), &l->attention_sum);
	h = forward_project(f, i, PERCEPT_PROJECT_MLP, s->parallel ? beside : forward_norm(f, x, &l->mlp_norm), s->d_model);
	forward_sum(f, x, forward_norm(f, h, &l->mlp_post), &l->mlp_sum);
	return x;
}

/* The lists of the batch's sequences become those of layer i. */
static void forward_pages(struct forward *f, uint32_t i)
{
	const struct layer *l = &f->d->model.layers[i];
	const struct kv *kv = &f->d->kv[l->kv];

	for (uint32_t s = 0; s < kv->n_sequences; s++)
		if (f->lists[l->kv][s])
			kv_list(kv, s, l->kv_layer, f->lists[l->kv][s]);
}

/* Room for the lists of both kinds of layers. */
static void forward_lists(struct forward *f, const struct place *places)
{
	for (uint32_t k = 0; k < 2; k++) {
		const struct kv *kv = &f->d->kv[k];
		void ***lists = f->lists[k] = nn_memory(f->c, kv->n_sequences, sizeof(*lists));

		f->pages[k] = nn_memory(f->c, f->batch->n, sizeof(*f->pages[k]));
		for (uint32_t s = 0; !f->c->error && s < kv->n_sequences; s++)
			lists[s] = NULL;
		for (uint32_t t = 0; !f->c->error && t < f->batch->n; t++) {
			const uint32_t s = places[t].sequence;

			if (!lists[s])
				lists[s] = nn_memory(f->c, kv->sequences[s].n_pages, sizeof(**lists));
			f->pages[k][t] = lists[s];
		}
	}
}

/* A row's sequence is far once its last row of this batch is. */
static void forward_far(struct forward *f, const struct place *places)
{
	const uint32_t n = f->batch->n, trained = f->d->model.rope_trained;
	int32_t *far = f->d->model.rope_long[0].inv_freq ? nn_memory(f->c, n, sizeof(*far)) : NULL;
	int any = 0;

	for (uint32_t t = 0; far && t < n; t++) {
		far[t] = 0;
		for (uint32_t k = t; k < n && !far[t]; k++)
			far[t] = places[k].sequence == places[t].sequence && f->positions[k] >= (int64_t)trained;
		any |= far[t];
	}
	f->far = any ? far : NULL;
}

/* Arrays that hold for all layers. */
static void forward_place(struct forward *f, const struct place *places)
{
	const uint32_t n = f->batch->n, window = f->d->model.shape.window;
	int32_t *positions = nn_memory(f->c, n, sizeof(*positions));
	int32_t *axes = f->d->model.rope[0].axis ? nn_memory(f->c, n, NN_ROPE_AXES * sizeof(*axes)) : NULL;

	f->index = nn_memory(f->c, n, sizeof(*f->index));
	f->visible = nn_memory(f->c, n, sizeof(*f->visible));
	f->first = nn_memory(f->c, n, sizeof(*f->first));
	f->positions = positions;
	f->axes = axes;
	forward_lists(f, places);
	for (uint32_t t = 0; !f->c->error && t < n; t++) {
		positions[t] = f->batch->rows[t].position[0];
		if (axes)
			memcpy(axes + (size_t)t * NN_ROPE_AXES, f->batch->rows[t].position, NN_ROPE_AXES * sizeof(*axes));
		f->index[t] = places[t].index;
		f->visible[t] = places[t].visible;
		f->first[t] = places[t].index + 1 > window ? places[t].index + 1 - window : 0;
		if (places[t].begin < f->first[t] && !f->d->model.shape.window_spans)
			f->first[t] = places[t].begin;
	}
	if (!f->c->error)
		forward_far(f, places);
}

static struct nn_tensor forward_layers(struct forward *f, struct nn_tensor x)
{
	const struct percept_hooks *h = f->batch->hooks;
	const uint32_t n = f->d->model.shape.n_layers;
	char name[32];

	for (uint32_t i = 0; i < n && !nn_stopped(f->c); i++) {
		const struct nn_arena_mark mark = nn_arena_mark(f->c->arena);
		/* Who looks on sees all rows. */
		const int last = i + 1 == n && !h && !f->call->host->observe;

		forward_pages(f, i);
		if (h && h->before_layer)
			forward_failed(f, h->before_layer(f->call, h->state, i, f->batch->rows, f->batch->n, x.data));
		if (!f->c->error)
			x = forward_layer(f, i, x, last);
		if (h && h->after_layer && !f->c->error)
			forward_failed(f, h->after_layer(f->call, h->state, i, f->batch->rows, f->batch->n, x.data));
		snprintf(name, sizeof(name), "after_layer%u", i);
		forward_observe(f, name, x);
		if (!last)
			nn_arena_release(f->c->arena, mark);
	}
	return x;
}

/* x (T, d_model): the rows' tokens or embeddings, with what the model adds to say where they stand. */
static struct nn_tensor forward_input(struct forward *f)
{
	const struct percept_batch *b = f->batch;
	const struct model *m = &f->d->model;
	int32_t *ids = nn_memory(f->c, b->n, sizeof(*ids));

	if (!ids)
		return (struct nn_tensor){ 0 };
	for (uint32_t t = 0; t < b->n; t++)
		ids[t] = b->rows[t].token < 0 ? 0 : b->rows[t].token;
	struct nn_tensor x = causal_embeddings(f->c, m, ids, b->n);

	for (uint32_t t = 0; x.data && t < b->n; t++) {
		if (b->rows[t].token < 0)
			memcpy(x.data + t * x.stride, b->rows[t].embedding, x.cols * sizeof(float));
	}
	if (m->positions)
		nn_add_to(f->c, x, nn_embed(f->c, m->positions, f->positions, b->n));
	return x;
}

/* The rows of x that want `what`, as (n, d_model). */
static struct nn_tensor forward_wanted(struct forward *f, struct nn_tensor x, uint32_t what)
{
	uint32_t *index = nn_memory(f->c, f->batch->n, sizeof(*index)), n = 0;

	for (uint32_t t = 0; index && t < (f->kept ? f->n_kept : f->batch->n); t++) {
		if (f->batch->rows[f->kept ? f->kept[t] : t].wants & what)
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

/* (n, vocab) of hidden rows x (n, d_model) after the last norm. */
static struct nn_tensor forward_logits(struct forward *f, struct nn_tensor x)
{
	const struct model *m = &f->d->model;
	const float cap = m->shape.final_softcap;
	struct nn_tensor logits = causal_head(f->c, m, m->project_out ? nn_linear(f->c, x, m->project_out, NULL) : x);

	if (m->shape.logit_scale != 1)
		nn_scale(f->c, logits, m->shape.logit_scale);
	if (cap > 0) {
		nn_scale(f->c, logits, 1 / cap);
		nn_activate(f->c, logits, NN_TANH);
		nn_scale(f->c, logits, cap);
	}
	return logits;
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
	x = forward_layers(&f, x);
	if (call->host->observe)
		forward_observe(&f, "final_normed", forward_norm(&f, x, &d->model.norm));
	struct nn_tensor hidden = forward_wanted(&f, x, PERCEPT_WANT_HIDDEN), last = forward_wanted(&f, x, PERCEPT_WANT_LOGITS);

	if (hidden.rows)
		batch->hidden = forward_keep(&f, forward_norm(&f, hidden, &d->model.norm));
	if (last.rows) {
		batch->logits = forward_keep(&f, forward_logits(&f, forward_norm(&f, last, &d->model.norm)));
	}
	if (c.error == -ENOMEM && !f.hooked)
		return percept_fail(call, c.error, "Memory for %u rows is out.", batch->n);
	if (c.error == -ECANCELED && !f.hooked)
		return percept_fail(call, c.error, "The work was cancelled.");
	if (c.error && !f.hooked)
		return percept_fail(call, c.error, "The language model failed on these rows.");
	return c.error;
}

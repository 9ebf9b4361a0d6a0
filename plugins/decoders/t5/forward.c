/* forward.c - the forward pass: the encoder over whole inputs, then the decoder's rows over what came of them. */
#include "plugins/decoders/t5/t5.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One pass. */
struct pass {
	struct nn *c;
	struct percept_call *call;
	struct t5 *d;
	const struct percept_batch *batch;
	const struct t5_place *places;
	const uint32_t *seen;
};

/* Keys and values that a part's rows write or see: a list of pages a row, of one layer at a time. */
struct sight {
	const struct kv *kv;
	void ***lists;          /* [sequences]; NULL: it has no row here */
	void *const **pages;    /* [n] */
	uint32_t *index;        /* [n] the row's own place */
	uint32_t *visible;      /* [n] */
};

static void pass_observe(struct pass *p, const char *name, struct nn_tensor x)
{
	if (p->call->host->observe && x.data && !p->c->error)
		p->call->host->observe(p->call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

static void pass_observe_layer(struct pass *p, const char *part, uint32_t i, struct nn_tensor x)
{
	char name[48];

	snprintf(name, sizeof(name), "%safter_layer%u", part, i);
	pass_observe(p, name, x);
}

/* The words or embeddings of a part's rows. */
static struct nn_tensor pass_input(struct pass *p, const struct t5_rows *part, const struct nn_weight *words)
{
	int32_t *ids = nn_memory(p->c, part->n, sizeof(*ids));

	for (uint32_t i = 0; ids && i < part->n; i++) {
		const struct percept_row *row = &p->batch->rows[part->rows[i]];

		ids[i] = row->token < 0 ? 0 : row->token;
	}
	struct nn_tensor x = ids ? t5_words(p->c, words, ids, part->n) : (struct nn_tensor){ 0 };

	for (uint32_t i = 0; x.data && i < part->n; i++) {
		const struct percept_row *row = &p->batch->rows[part->rows[i]];

		if (row->token < 0)
			memcpy(x.data + i * x.stride, row->embedding, x.cols * sizeof(float));
	}
	return x;
}

/* Shazeer 2020: x += wo(activate(wi_0 x) * (wi_1 x)), or x += wo(activate(wi x)), of the normed x. */
static void pass_feed_forward(struct pass *p, const struct t5_feed_forward *f, struct nn_tensor x)
{
	const struct t5_shape *s = &p->d->model.shape;
	struct nn_tensor h = nn_rms_norm(p->c, x, f->norm, s->norm_eps), y[2];

	nn_linear_all(p->c, h, f->gate ? 2 : 1, (const struct nn_weight *const[]){ f->up, f->gate }, NULL, y);
	if (f->gate)
		y[0] = nn_gate(p->c, y[1], y[0], s->activation);
	else
		nn_activate(p->c, y[0], s->activation);
	nn_add_to(p->c, x, nn_linear(p->c, y[0], f->down, NULL));
}

/* ---- the encoder ---- */

/* (n, inner): each sequence's rows see each other, all of them. `place` [n]: each row's in its sequence. */
static struct nn_tensor encoder_attention(struct pass *p, const struct t5_layer *l, const struct t5_rows *part,
					  const uint32_t *place, const struct nn_tensor qkv[3])
{
	const struct t5_shape *s = &p->d->model.shape;
	struct nn_tensor out = nn_new(p->c, part->n, s->inner);

	for (uint32_t first = 0, n; out.data && first < part->n && !nn_stopped(p->c); first += n) {
		const struct nn_arena_mark mark = nn_arena_mark(p->c->arena);
		const struct nn_attention how = {
			.heads = s->n_heads, .kv_heads = s->n_heads, .scale = 1, .relative = l->self.relative, .reach = s->reach,
			.place = place + first,
		};

		/* A sequence's rows begin with its place 0. */
		for (n = 1; first + n < part->n && place[first + n]; n++)
			;
		struct nn_tensor one = nn_attention(p->c, nn_rows(qkv[0], first, n), nn_rows(qkv[1], first, n),
						    nn_rows(qkv[2], first, n), &how);

		for (uint32_t t = 0; one.data && t < n; t++)
			memcpy(out.data + (first + t) * out.stride, one.data + t * one.stride, s->inner * sizeof(float));
		nn_arena_release(p->c->arena, mark);
	}
	return out;
}

/* x (n, d_model): what the encoder makes of its rows, after its last norm. */
static struct nn_tensor encoder_run(struct pass *p, const struct t5_rows *part, const uint32_t *place)
{
	const struct t5_model *m = &p->d->model;
	struct nn *c = p->c;
	struct nn_tensor x = pass_input(p, part, m->words), qkv[3];

	pass_observe(p, "embeddings", x);
	for (uint32_t i = 0; i < m->shape.n_encoder && !nn_stopped(c); i++) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const struct t5_layer *l = &m->encoder[i];
		struct nn_tensor h = nn_rms_norm(c, x, l->self.norm, m->shape.norm_eps);

		nn_linear_all(c, h, 3, (const struct nn_weight *const[]){ l->self.q, l->self.k, l->self.v }, NULL, qkv);
		h = encoder_attention(p, l, part, place, qkv);
		nn_add_to(c, x, nn_linear(c, h, l->self.o, NULL));
		pass_feed_forward(p, &l->mlp, x);
		pass_observe_layer(p, "", i, x);
		nn_arena_release(c->arena, mark);
	}
	x = nn_rms_norm(c, x, m->encoder_norm, m->shape.norm_eps);
	pass_observe(p, "final_normed", x);
	return x;
}

/* ---- what is seen ---- */

/* Room for the lists of a part's rows in `kv`, and arrays that hold for all layers. `visible` NULL: a row sees up to itself;
 * else [sequences]. */
static void sight_init(struct pass *p, struct sight *s, const struct kv *kv, const struct t5_rows *part, const uint32_t *visible)
{
	s->kv = kv;
	s->lists = nn_memory(p->c, kv->n_sequences, sizeof(*s->lists));
	s->pages = nn_memory(p->c, part->n, sizeof(*s->pages));
	s->index = nn_memory(p->c, part->n, sizeof(*s->index));
	s->visible = nn_memory(p->c, part->n, sizeof(*s->visible));
	for (uint32_t i = 0; !p->c->error && i < kv->n_sequences; i++)
		s->lists[i] = NULL;
	for (uint32_t i = 0; !p->c->error && i < part->n; i++) {
		const uint32_t sequence = p->batch->rows[part->rows[i]].sequence;

		if (!s->lists[sequence])
			s->lists[sequence] = nn_memory(p->c, kv->sequences[sequence].n_pages, sizeof(**s->lists));
		s->pages[i] = s->lists[sequence];
		s->index[i] = p->places[part->rows[i]].index;
		s->visible[i] = visible ? visible[sequence] : s->index[i] + 1;
	}
}

/* The lists become those of layer i. */
static void sight_turn(struct pass *p, const struct sight *s, uint32_t i)
{
	for (uint32_t q = 0; !p->c->error && q < s->kv->n_sequences; q++)
		if (s->lists[q])
			kv_list(s->kv, q, i, s->lists[q]);
}

static void sight_write(struct pass *p, const struct sight *s, struct nn_tensor k, struct nn_tensor v)
{
	nn_page_write_rows(p->c, &s->kv->shape, (void *const *const *)s->pages, s->index, k, v);
}

/* x += o(attention(q over what is seen)). */
static void sight_attend(struct pass *p, const struct sight *s, const struct t5_attention *a, struct nn_tensor q, struct nn_tensor x)
{
	const struct t5_shape *shape = &p->d->model.shape;
	const struct nn_attention how = {
		.heads = shape->n_heads, .kv_heads = shape->n_heads, .scale = 1, .visible = s->visible,
		.relative = a->relative, .reach = shape->reach,
	};
	struct nn_tensor h = nn_attention_paged(p->c, q, &s->kv->shape, (void *const *const *)s->pages, &how);

	nn_add_to(p->c, x, nn_linear(p->c, h, a->o, NULL));
}

/* The keys and values that the decoder's blocks will see of the encoder's rows x (n, d_model). */
static void encoder_keep(struct pass *p, const struct t5_rows *part, struct nn_tensor x)
{
	const struct t5_model *m = &p->d->model;
	struct sight s;

	sight_init(p, &s, &p->d->cross, part, NULL);
	for (uint32_t i = 0; i < m->shape.n_decoder && !nn_stopped(p->c); i++) {
		const struct nn_arena_mark mark = nn_arena_mark(p->c->arena);
		const struct t5_attention *a = &m->decoder[i].cross;
		struct nn_tensor kv[2];

		nn_linear_all(p->c, x, 2, (const struct nn_weight *const[]){ a->k, a->v }, NULL, kv);
		sight_turn(p, &s, i);
		sight_write(p, &s, kv[0], kv[1]);
		nn_arena_release(p->c->arena, mark);
	}
}

/* ---- the decoder ---- */

/* x (n, d_model): the decoder's rows after its last norm. */
static struct nn_tensor decoder_run(struct pass *p, const struct t5_rows *part)
{
	const struct t5_model *m = &p->d->model;
	struct nn *c = p->c;
	struct nn_tensor x = pass_input(p, part, m->decoder_words), qkv[3];
	struct sight self, cross;

	sight_init(p, &self, &p->d->self, part, NULL);
	sight_init(p, &cross, &p->d->cross, part, p->seen);
	for (uint32_t i = 0; i < m->shape.n_decoder && !nn_stopped(c); i++) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const struct t5_layer *l = &m->decoder[i];
		struct nn_tensor h = nn_rms_norm(c, x, l->self.norm, m->shape.norm_eps);

		nn_linear_all(c, h, 3, (const struct nn_weight *const[]){ l->self.q, l->self.k, l->self.v }, NULL, qkv);
		sight_turn(p, &self, i);
		sight_write(p, &self, qkv[1], qkv[2]);
		sight_attend(p, &self, &l->self, qkv[0], x);
		h = nn_rms_norm(c, x, l->cross.norm, m->shape.norm_eps);
		sight_turn(p, &cross, i);
		sight_attend(p, &cross, &l->cross, nn_linear(c, h, l->cross.q, NULL), x);
		pass_feed_forward(p, &l->mlp, x);
		pass_observe_layer(p, "decoder_", i, x);
		nn_arena_release(c->arena, mark);
	}
	return nn_rms_norm(c, x, m->decoder_norm, m->shape.norm_eps);
}

/* ---- what is wanted ---- */

/* The rows that want `what`, in the batch's order, of what the parts gave. */
static struct nn_tensor pass_wanted(struct pass *p, const struct nn_tensor of[2], uint32_t what)
{
	const uint32_t d = p->d->model.shape.d_model;
	uint32_t n = 0;

	for (uint32_t t = 0; t < p->batch->n; t++)
		n += (p->batch->rows[t].wants & what) != 0;
	struct nn_tensor y = n ? nn_new(p->c, n, d) : (struct nn_tensor){ 0 };

	n = 0;
	for (uint32_t t = 0; y.data && !p->c->error && t < p->batch->n; t++) {
		const struct nn_tensor *x = &of[!(p->batch->rows[t].wants & PERCEPT_ENCODER_ROW)];

		if (p->batch->rows[t].wants & what)
			memcpy(y.data + n++ * y.stride, x->data + p->places[t].slot * x->stride, d * sizeof(float));
	}
	return y;
}

/* A copy in the call's arena; NULL for no rows. */
static const float *pass_keep(struct pass *p, struct nn_tensor x)
{
	float *copy = x.rows && !p->c->error ? percept_alloc(p->call, x.rows * x.cols * sizeof(float)) : NULL;

	if (x.rows && !copy && !p->c->error)
		p->c->error = -ENOMEM;
	for (size_t t = 0; copy && t < x.rows; t++)
		memcpy(copy + t * x.cols, x.data + t * x.stride, x.cols * sizeof(float));
	return copy;
}

struct nn_tensor t5_words(struct nn *c, const struct nn_weight *words, const int32_t *ids, uint32_t n)
{
	return nn_embed(c, words, ids, n);
}

static int pass_end(struct pass *p)
{
	const int error = p->c->error;

	if (error == -ENOMEM)
		return percept_fail(p->call, error, "Memory for %u rows is out.", p->batch->n);
	if (error == -ECANCELED)
		return percept_fail(p->call, error, "The work was cancelled.");
	return error ? percept_fail(p->call, error, "The language model failed on these rows.") : 0;
}

int t5_forward(struct percept_call *call, struct t5 *d, struct percept_batch *batch, const struct t5_place *places,
	       const struct t5_rows parts[2], const uint32_t *seen)
{
	struct nn c;
	struct pass p = { .c = &c, .call = call, .d = d, .batch = batch, .places = places, .seen = seen };
	struct nn_tensor x[2] = { { 0 }, { 0 } };

	nn_arena_reset(d->arena);
	nn_begin(&c, call, d->arena);
	if (parts[0].n) {
		uint32_t *place = nn_memory(&c, parts[0].n, sizeof(*place));

		for (uint32_t i = 0; place && i < parts[0].n; i++)
			place[i] = places[parts[0].rows[i]].index;
		if (place)
			x[0] = encoder_run(&p, &parts[0], place);
		if (!c.error)
			encoder_keep(&p, &parts[0], x[0]);
	}
	if (parts[1].n && !c.error)
		x[1] = decoder_run(&p, &parts[1]);
	struct nn_tensor hidden = pass_wanted(&p, x, PERCEPT_WANT_HIDDEN), logits = pass_wanted(&p, x, PERCEPT_WANT_LOGITS);

	batch->hidden = pass_keep(&p, hidden);
	if (logits.rows && d->model.head_scale != 1)
		nn_scale(&c, logits, d->model.head_scale);
	if (logits.rows)
		batch->logits = pass_keep(&p, nn_linear(&c, logits, d->model.head, NULL));
	return pass_end(&p);
}

/* tower.c - the transformer blocks: what they compute. */
#include "plugins/encoders/clip/tower.h"

#include <math.h>
#include <percept/plugin.h>

enum { TOWER_ROWS = 4096 /* at once between the products of a feed-forward part */ };

void tower_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x)
{
	if (call && call->host->observe && x.data && !c->error && x.stride == x.cols)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

/* Each column times its factor. */
static void tower_multiply(struct nn_tensor x, const float *scale)
{
	for (size_t i = 0; scale && x.data && i < x.rows; i++)
		for (size_t k = 0; k < x.cols; k++)
			x.data[i * x.stride + k] *= scale[k];
}

static struct nn_tensor tower_norm_of(struct nn *c, int rms, struct nn_tensor x, const struct norm *n, float eps)
{
	if (!n->w)
		return x;
	return rms ? nn_rms_norm(c, x, n->w, eps) : nn_layer_norm(c, x, n->w, n->b, eps);
}

struct nn_tensor tower_normed(struct nn *c, const struct tower *t, struct nn_tensor x, const struct norm *norm)
{
	return tower_norm_of(c, t->rms, x, norm, t->norm_eps);
}

/* Of whole rows, or of each head by itself. */
static struct nn_tensor tower_norm_heads(struct nn *c, const struct tower *t, struct nn_tensor x, const struct norm *norm)
{
	if (!norm->w || !x.data || !t->norm_heads)
		return tower_norm_of(c, t->rms_qk, x, norm, t->norm_eps);
	struct nn_tensor heads = nn_view(x.data, x.rows * t->n_heads, x.cols / t->n_heads);

	heads = tower_norm_of(c, t->rms_qk, heads, norm, t->norm_eps);
	return nn_view(heads.data, heads.data ? x.rows : 0, x.cols);
}

/* The norm of x's rows, or x where there is no such norm or it is NULL, as products with `w` take it. */
static struct nn_operand tower_operand(struct nn *c, const struct tower *t, struct nn_tensor x, const struct norm *norm,
				       const struct nn_weight *w)
{
	if (!norm || !norm->w)
		return nn_operand(c, x, NULL, w);
	return nn_operand(c, x, &(struct nn_operand_norm){ norm->w, norm->b, t->norm_eps, t->rms }, w);
}

static struct nn_tensor tower_product(struct nn *c, const struct nn_operand *h, const struct affine *a)
{
	return nn_product(c, h, &(struct nn_product){ .w = a->w, .b = a->b });
}

/* Of x's normed rows h, what out takes. */
static struct nn_operand tower_attention(struct nn *c, const struct tower *t, const struct tower_layer *l, const struct nn_operand *h,
					 const struct tower_rows *rows)
{
	const struct nn_attention how = { .heads = t->n_heads, .kv_heads = t->n_heads, .first = rows->first, .visible = rows->visible,
					  .scale = 1 / sqrtf((float)(t->d_model / t->n_heads)),
					  .compute = !h->halves ? NN_COMPUTE_F32 : h->exact ? NN_COMPUTE_TERMS : NN_COMPUTE_BF16 };

	if (!rows->rotary && !l->q_norm.w && !l->k_norm.w && !l->inner.w)
		return nn_product_attention(c, h, (const struct nn_product[3]){ { .w = l->q.w, .b = l->q.b }, { .w = l->k.w, .b = l->k.b },
										  { .w = l->v.w, .b = l->v.b } }, &how, l->out.w);
	struct nn_tensor q = tower_norm_heads(c, t, tower_product(c, h, &l->q), &l->q_norm);
	struct nn_tensor k = tower_norm_heads(c, t, tower_product(c, h, &l->k), &l->k_norm);
	struct nn_tensor v = tower_product(c, h, &l->v);

	if (rows->rotary) {
		nn_rotate(c, q, t->n_heads, rows->rotary);
		nn_rotate(c, k, t->n_heads, rows->rotary);
	}
	return tower_operand(c, t, nn_attention(c, q, k, v, &how), &l->inner, l->out.w);
}

/* Of x's normed rows h, what fc2 takes. */
static struct nn_operand tower_feed(struct nn *c, const struct tower *t, const struct tower_layer *l, const struct nn_operand *h)
{
	struct nn_product fc1 = { .w = l->fc1.w, .b = l->fc1.b, .activate = l->gate.w ? NN_IDENTITY : t->activation };

	if (!l->gate.w && !l->sub.w)
		return nn_product_operand(c, h, &fc1, l->fc2.w);
	struct nn_tensor y = nn_product(c, h, &fc1);

	if (l->gate.w)
		y = nn_gate(c, tower_product(c, h, &l->gate), y, t->activation);
	return tower_operand(c, t, y, &l->sub, l->fc2.w);
}

/* How a half of a block ends. */
struct tower_half {
	const struct affine *last;
	const struct norm *norm; /* of its result, where the tower norms what it adds */
	const float *scale;
	const char *name;
};

/* x += scale * norm(h w^T + b), the product as `call`, if there is one that looks, sees it. */
static void tower_add(struct nn *c, const struct tower *t, struct nn_tensor x, const struct nn_operand *h, const struct tower_half *half,
		      struct percept_call *call)
{
	const struct affine *a = half->last;

	if (!t->post && (!call || !call->host->observe)) {
		nn_product_add(c, x, h, &(struct nn_product){ .w = a->w, .b = a->b, .scale = half->scale });
		return;
	}
	struct nn_tensor y = tower_product(c, h, a);

	tower_observe(c, call, half->name, y);
	if (t->post)
		y = tower_normed(c, t, y, half->norm);
	tower_multiply(y, half->scale);
	nn_add_to(c, x, y);
}

/* The rows of x through the feed-forward part, some at a time: what lies between its products is several times as wide. */
static void tower_feed_rows(struct nn *c, const struct tower *t, const struct tower_layer *l, struct nn_tensor x, struct percept_call *call)
{
	const struct tower_half half = { &l->fc2, &l->norm2, l->scale2, "layer0_mlp" };
	const size_t most = call && call->host->observe ? x.rows : TOWER_ROWS;

	for (size_t at = 0; at < x.rows && !c->error; at += most) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const struct nn_tensor part = nn_rows(x, at, x.rows - at < most ? x.rows - at : most);
		const struct nn_operand h = tower_operand(c, t, part, t->post ? NULL : &l->norm2, l->fc1.w);
		const struct nn_operand y = tower_feed(c, t, l, &h);

		tower_add(c, t, part, &y, &half, call);
		nn_arena_release(c->arena, mark);
	}
}

void tower_layer(struct nn *c, const struct tower *t, uint32_t i, struct nn_tensor x, const struct tower_rows *rows,
		 struct percept_call *call)
{
	static const struct tower_rows all = { 0 };
	const struct tower_layer *l = &t->layers[i];
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);
	const struct nn_operand h = tower_operand(c, t, x, t->post ? NULL : &l->norm1, l->q.w);
	const struct nn_operand y = tower_attention(c, t, l, &h, rows ? rows : &all);

	tower_add(c, t, x, &y, &(struct tower_half){ &l->out, &l->norm1, l->scale1, "layer0_attention" }, i ? NULL : call);
	nn_arena_release(c->arena, mark);
	tower_feed_rows(c, t, l, x, i ? NULL : call);
}

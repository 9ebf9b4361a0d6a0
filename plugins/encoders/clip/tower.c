/* tower.c - the transformer blocks: what they compute. */
#include "plugins/encoders/clip/tower.h"

#include <math.h>
#include <percept/plugin.h>

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

/* (T, d_model) of x's normed rows h. */
static struct nn_tensor tower_attention(struct nn *c, const struct tower *t, const struct tower_layer *l, struct nn_tensor h,
					const struct tower_rows *rows)
{
	const struct nn_attention how = { .heads = t->n_heads, .kv_heads = t->n_heads, .first = rows->first, .visible = rows->visible,
					  .scale = 1 / sqrtf((float)(t->d_model / t->n_heads)) };
	struct nn_tensor q = tower_norm_heads(c, t, nn_gemm(c, h, l->q.w, l->q.b), &l->q_norm);
	struct nn_tensor k = tower_norm_heads(c, t, nn_gemm(c, h, l->k.w, l->k.b), &l->k_norm);
	struct nn_tensor v = nn_gemm(c, h, l->v.w, l->v.b);

	if (rows->rotary) {
		nn_rotate(c, q, t->n_heads, rows->rotary);
		nn_rotate(c, k, t->n_heads, rows->rotary);
	}
	return nn_gemm(c, tower_norm_of(c, t->rms, nn_attention(c, q, k, v, &how), &l->inner, t->norm_eps), l->out.w, l->out.b);
}

/* (T, d_model) of x's normed rows h. */
static struct nn_tensor tower_feed(struct nn *c, const struct tower *t, const struct tower_layer *l, struct nn_tensor h)
{
	struct nn_tensor y = nn_gemm(c, h, l->fc1.w, l->fc1.b);

	if (l->gate.w)
		y = nn_gate(c, nn_gemm(c, h, l->gate.w, l->gate.b), y, t->activation);
	else
		nn_activate(c, y, t->activation);
	return nn_gemm(c, tower_norm_of(c, t->rms, y, &l->sub, t->norm_eps), l->fc2.w, l->fc2.b);
}

/* x += scale * y, which is normed first where the tower norms what it adds. */
static void tower_sum(struct nn *c, const struct tower *t, struct nn_tensor x, struct nn_tensor y, const struct norm *norm,
		      const float *scale)
{
	if (t->post)
		y = tower_normed(c, t, y, norm);
	tower_multiply(y, scale);
	nn_add_to(c, x, y);
}

void tower_layer(struct nn *c, const struct tower *t, uint32_t i, struct nn_tensor x, const struct tower_rows *rows,
		 struct percept_call *call)
{
	static const struct tower_rows all = { 0 };
	const struct tower_layer *l = &t->layers[i];
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);
	struct nn_tensor y = tower_attention(c, t, l, t->post ? x : tower_normed(c, t, x, &l->norm1), rows ? rows : &all);

	tower_observe(c, i ? NULL : call, "layer0_attention", y);
	tower_sum(c, t, x, y, &l->norm1, l->scale1);
	y = tower_feed(c, t, l, t->post ? x : tower_normed(c, t, x, &l->norm2));
	tower_observe(c, i ? NULL : call, "layer0_mlp", y);
	tower_sum(c, t, x, y, &l->norm2, l->scale2);
	nn_arena_release(c->arena, mark);
}

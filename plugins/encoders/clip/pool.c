/* pool.c - the one vector of a picture: of a class token, or what SigLIP's learned query finds. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <math.h>

/* q, k and v lie in one matrix. */
static struct affine pool_third(struct vision *v, struct nn_loader *l, const struct nn_weight *w, const float *b, uint32_t i)
{
	const size_t d = v->tower.d_model;
	struct nn_weight *rows = w ? nn_weight_rows(l->checkpoint, w, i * d, d, 0) : NULL;

	if (w && !rows)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	nn_weight_pack(l->checkpoint, rows, l->error);
	return (struct affine){ rows, b ? b + i * d : NULL };
}

static void pool_load_probe(struct vision *v, struct nn_loader *l)
{
	const size_t d = v->tower.d_model, ff = v->tower.d_ff;
	struct nn_weight *query = nn_load(l, 0, 0, "head.probe");
	const struct nn_weight *in = nn_load(l, 3 * d, d, "head.attention.in_proj_weight");
	const float *bias = nn_load_vector(l, 3 * d, "head.attention.in_proj_bias");
	struct probe *p = &v->probe;

	if (query && query->rows * query->cols != d)
		nn_fail(l->error, -EINVAL, "head.probe has %zu values instead of %zu.", query->rows * query->cols, d);
	p->query = l->error->code ? NULL : nn_weight_f32(l->checkpoint, query);
	p->q = pool_third(v, l, in, bias, 0);
	p->k = pool_third(v, l, in, bias, 1);
	p->v = pool_third(v, l, in, bias, 2);
	p->out = tower_affine(&v->tower, l, d, d, "head.attention.out_proj");
	p->norm = tower_norm(&v->tower, l, "head.layernorm");
	p->fc1 = tower_affine(&v->tower, l, ff, d, "head.mlp.fc1");
	p->fc2 = tower_affine(&v->tower, l, d, ff, "head.mlp.fc2");
	v->tower.weight_bytes += in ? in->bytes : 0;
	if (!l->error->code && !p->query)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
}

int pool_load(struct vision *v, struct nn_loader *l, struct nn_loader *projection)
{
	v->post = tower_norm(&v->tower, l, clip_kind.names->post);
	if (clip_kind.pool == POOL_PROBE)
		pool_load_probe(v, l);
	if (clip_kind.pool == POOL_DENSE)
		v->dense = tower_affine(&v->tower, l, v->tower.d_model, v->tower.d_model, "pooler.dense");
	if (clip_kind.pool != POOL_CLASS)
		return l->error->code;
	v->projection = nn_load_maybe(projection, 0, v->tower.d_model, "visual_projection.weight");
	v->projection_dim = v->projection ? (uint32_t)v->projection->rows : 0;
	return l->error->code;
}

static struct nn_tensor pool_probe(struct nn *c, const struct vision *v, struct nn_tensor x)
{
	const struct probe *p = &v->probe;
	const struct tower *t = &v->tower;
	const struct nn_attention how = { .heads = t->n_heads, .kv_heads = t->n_heads,
					  .scale = 1 / sqrtf((float)(t->d_model / t->n_heads)) };
	struct nn_tensor q = nn_gemm(c, nn_view((float *)p->query, 1, t->d_model), p->q.w, p->q.b);
	struct nn_tensor k = nn_gemm(c, x, p->k.w, p->k.b), values = nn_gemm(c, x, p->v.w, p->v.b);
	struct nn_tensor y = nn_gemm(c, nn_attention(c, q, k, values, &how), p->out.w, p->out.b);
	struct nn_tensor h = nn_gemm(c, nn_layer_norm(c, y, p->norm.w, p->norm.b, t->norm_eps), p->fc1.w, p->fc1.b);

	nn_activate(c, h, t->activation);
	nn_add_to(c, y, nn_gemm(c, h, p->fc2.w, p->fc2.b));
	return y;
}

static struct nn_tensor pool_dense(struct nn *c, const struct vision *v, struct nn_tensor x)
{
	struct nn_tensor y = nn_gemm(c, x, v->dense.w, v->dense.b);

	for (size_t i = 0; y.data && i < y.cols; i++)
		y.data[i] = tanhf(y.data[i]);
	return y;
}

struct nn_tensor pool_rows(struct nn *c, struct percept_call *call, const struct vision *v, struct nn_tensor x)
{
	const int one = clip_kind.pool == POOL_CLASS;
	struct nn_tensor y = nn_layer_norm(c, one ? nn_rows(x, 0, 1) : x, v->post.w, v->post.b, v->tower.norm_eps);

	tower_observe(c, one ? NULL : call, "last_hidden_state", y);
	if (clip_kind.pool == POOL_PROBE)
		y = pool_probe(c, v, y);
	else if (clip_kind.pool == POOL_DENSE)
		y = pool_dense(c, v, nn_rows(y, 0, 1));
	else
		y = nn_rows(y, 0, 1);
	tower_observe(c, call, "pooled", y);
	return v->projection ? nn_gemm(c, y, v->projection, NULL) : y;
}

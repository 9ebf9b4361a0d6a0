/* pool.c - the one vector of a picture: of a class token, or what SigLIP's learned query finds. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <math.h>

static void pool_load_probe(struct vision *v, struct nn_loader *l)
{
	const size_t d = v->tower.d_model, ff = v->tower.d_ff;
	struct nn_weight *query = nn_load(l, 0, 0, "head.probe");
	static const char *const in = "head.attention.in_proj_";
	struct probe *p = &v->probe;

	if (query && query->rows * query->cols != d)
		nn_fail(l->error, -EINVAL, "head.probe has %zu values instead of %zu.", query->rows * query->cols, d);
	p->query = l->error->code ? NULL : nn_weight_f32(l->checkpoint, query);
	p->q = tower_slice(&v->tower, l, d, d, 0, 3, in);
	p->k = tower_slice(&v->tower, l, d, d, 1, 3, in);
	p->v = tower_slice(&v->tower, l, d, d, 2, 3, in);
	p->out = tower_affine(&v->tower, l, d, d, "head.attention.out_proj");
	p->norm = tower_norm(&v->tower, l, "head.layernorm");
	p->fc1 = tower_affine(&v->tower, l, ff, d, "head.mlp.fc1");
	p->fc2 = tower_affine(&v->tower, l, d, ff, "head.mlp.fc2");
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

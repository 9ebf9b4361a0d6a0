/* pool.c - what a picture's vector is made of, for each kind of tower. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <math.h>

enum { POOL_QUERIES_MAX = 1 << 12 };

/* Hugging Face's SigLIP, with q, k and v in one; timm's. */
static const struct probe_names {
	const char *query, *q, *kv, *out, *norm, *fc1, *fc2;
} probe_names[] = {
	{ "head.probe", "head.attention.in_proj_", "head.attention.in_proj_", "head.attention.out_proj", "head.layernorm", "head.mlp.fc1",
	  "head.mlp.fc2" },
	{ "attn_pool.latent", "attn_pool.q", "attn_pool.kv", "attn_pool.proj", "attn_pool.norm", "attn_pool.mlp.fc1", "attn_pool.mlp.fc2" },
};

static void pool_load_probe(struct vision *v, struct nn_loader *l)
{
	const size_t d = v->tower.d_model, ff = v->tower.d_ff;
	const int timm = nn_load_maybe(l, 0, 0, "attn_pool.latent") != NULL;
	const struct probe_names *m = &probe_names[timm];
	struct nn_weight *query = nn_load(l, 0, 0, "%s", m->query);
	struct probe *p = &v->probe;

	if (query && query->rows * query->cols != d)
		nn_fail(l->error, -EINVAL, "%s has %zu values instead of %zu.", m->query, query->rows * query->cols, d);
	p->query = l->error->code ? NULL : nn_weight_f32(l->checkpoint, query);
	p->q = timm ? tower_affine(&v->tower, l, d, d, m->q) : tower_slice(&v->tower, l, d, d, 0, 3, m->q);
	p->k = timm ? tower_slice(&v->tower, l, d, d, 0, 2, m->kv) : tower_slice(&v->tower, l, d, d, 1, 3, m->kv);
	p->v = timm ? tower_slice(&v->tower, l, d, d, 1, 2, m->kv) : tower_slice(&v->tower, l, d, d, 2, 3, m->kv);
	p->out = tower_affine(&v->tower, l, d, d, m->out);
	p->norm = tower_norm(&v->tower, l, m->norm);
	p->fc1 = tower_affine(&v->tower, l, ff, d, m->fc1);
	p->fc2 = tower_affine(&v->tower, l, d, ff, m->fc2);
	if (!l->error->code && !p->query)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
}

/* A norm over n columns. */
static struct norm pool_norm(struct vision *v, struct nn_loader *l, size_t n, const char *name)
{
	v->tower.weight_bytes += (uint64_t)2 * n * sizeof(float);
	return (struct norm){ nn_load_vector(l, n, "%s.weight", name), nn_load_vector(l, n, "%s.bias", name) };
}

/* The rows of the queries' in-projection: of one matrix where keys are as wide as queries, else of three. */
static struct affine pool_third(struct vision *v, struct nn_loader *l, size_t dim, size_t cols, uint32_t i)
{
	static const char *const names[] = { "attn_pool.attn.q_proj_weight", "attn_pool.attn.k_proj_weight", "attn_pool.attn.v_proj_weight" };

	if (dim == v->tower.d_model)
		return tower_slice(&v->tower, l, dim, cols, i, 3, "attn_pool.attn.in_proj_");
	struct nn_weight *w = nn_load(l, dim, cols, "%s", names[i]);
	const float *b = nn_load_vector(l, 3 * dim, "attn_pool.attn.in_proj_bias");

	v->tower.weight_bytes += w ? w->bytes : 0;
	nn_weight_pack(l->checkpoint, w, l->error);
	return (struct affine){ w, b ? b + i * dim : NULL };
}

static void pool_load_queries(struct vision *v, struct nn_loader *l)
{
	struct queries *q = &v->queries;
	struct nn_weight *query = nn_load(l, 0, 0, "attn_pool.query");
	const size_t dim = query ? query->cols : 0, width = v->tower.d_model;

	if (query && (!dim || !query->rows || query->rows > POOL_QUERIES_MAX || !q->n_heads || dim % q->n_heads ||
		      dim / q->n_heads > NN_HEAD))
		nn_fail(l->error, -EINVAL, "attn_pool.query (%zu, %zu) is out of range, or not made of %u heads.", query->rows, dim,
			q->n_heads);
	const float *rows = l->error->code ? NULL : nn_weight_f32(l->checkpoint, query);

	if (!rows) {
		nn_fail(l->error, -ENOMEM, "Memory is out.");
		return;
	}
	q->rows = nn_view((float *)rows, query->rows, dim);
	q->q_norm = pool_norm(v, l, dim, "attn_pool.ln_q");
	q->k_norm = pool_norm(v, l, width, "attn_pool.ln_k");
	q->q = pool_third(v, l, dim, dim, 0);
	q->k = pool_third(v, l, dim, width, 1);
	q->v = pool_third(v, l, dim, width, 2);
	q->out = tower_affine(&v->tower, l, dim, dim, "attn_pool.attn.out_proj");
	v->fc = pool_norm(v, l, dim, "ln_post");
}

/* A projection that is kept as (in, out). */
static void pool_load_turned(struct vision *v, struct nn_loader *l, size_t dim)
{
	const struct nn_weight *kept = nn_load(l, dim, 0, "%s", v->names.turned);
	struct nn_weight *w = kept ? nn_weight_transposed(l->checkpoint, kept) : NULL;

	if (kept && !w)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	v->tower.weight_bytes += w ? w->bytes : 0;
	nn_weight_pack(l->checkpoint, w, l->error);
	head_add(&v->head, (struct affine){ w, NULL });
}

int pool_load(struct vision *v, struct nn_loader *l, struct nn_loader *projection)
{
	const size_t d = v->tower.d_model;

	if (v->pool == POOL_PROBE)
		pool_load_probe(v, l);
	if (v->pool == POOL_QUERIES)
		pool_load_queries(v, l);
	if (v->pool == POOL_DENSE)
		v->dense = tower_affine(&v->tower, l, d, d, "pooler.dense");
	if (v->names.fc)
		v->fc = tower_norm(&v->tower, l, v->names.fc);
	if (v->names.projection)
		head_add(&v->head, (struct affine){ nn_load_maybe(projection, 0, d, "%s.weight", v->names.projection), NULL });
	if (v->names.turned)
		pool_load_turned(v, projection, v->pool == POOL_QUERIES ? v->queries.rows.cols : d);
	if (v->names.heads)
		head_load(&v->head, l, d, &v->tower.weight_bytes);
	return l->error->code;
}

uint32_t pool_dim(const struct vision *v)
{
	return v->pools && v->pool != POOL_NONE ? head_dim(&v->head, v->tower.d_model) : 0;
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

/* The first query's row: the others are for captions. */
static struct nn_tensor pool_queries(struct nn *c, const struct vision *v, struct nn_tensor x)
{
	const struct queries *p = &v->queries;
	const float eps = v->tower.norm_eps;
	const struct nn_attention how = { .heads = p->n_heads, .kv_heads = p->n_heads,
					  .scale = 1 / sqrtf((float)(p->rows.cols / p->n_heads)) };
	struct nn_tensor h = nn_layer_norm(c, x, p->k_norm.w, p->k_norm.b, eps);
	struct nn_tensor q = nn_layer_norm(c, nn_rows(p->rows, 0, 1), p->q_norm.w, p->q_norm.b, eps);
	struct nn_tensor k = nn_gemm(c, h, p->k.w, p->k.b), values = nn_gemm(c, h, p->v.w, p->v.b);

	return nn_gemm(c, nn_attention(c, nn_gemm(c, q, p->q.w, p->q.b), k, values, &how), p->out.w, p->out.b);
}

static struct nn_tensor pool_dense(struct nn *c, const struct vision *v, struct nn_tensor x)
{
	struct nn_tensor y = nn_gemm(c, nn_rows(x, 0, 1), v->dense.w, v->dense.b);

	nn_activate(c, y, NN_TANH);
	return y;
}

/* The mean of the patches' rows. */
static struct nn_tensor pool_mean(struct nn *c, const struct vision *v, struct nn_tensor x)
{
	struct nn_tensor y = nn_new(c, 1, x.cols);
	const size_t n = x.rows - v->n_prefix;

	for (size_t k = 0; y.data && x.data && k < x.cols; k++) {
		double sum = 0;

		for (size_t i = v->n_prefix; i < x.rows; i++)
			sum += x.data[i * x.stride + k];
		y.data[k] = (float)(sum / (double)n);
	}
	return y;
}

struct nn_tensor pool_rows(struct nn *c, struct percept_call *call, const struct vision *v, struct nn_tensor x)
{
	const int one = v->pool == POOL_CLASS;
	struct nn_tensor y = tower_normed(c, &v->tower, one ? nn_rows(x, 0, 1) : x, &v->post);

	tower_observe(c, one ? NULL : call, "last_hidden_state", y);
	if (v->pool == POOL_PROBE)
		y = pool_probe(c, v, y);
	else if (v->pool == POOL_QUERIES)
		y = pool_queries(c, v, y);
	else if (v->pool == POOL_DENSE)
		y = pool_dense(c, v, y);
	else if (v->pool == POOL_MEAN)
		y = pool_mean(c, v, y);
	else
		y = nn_rows(y, 0, 1);
	if (v->fc.w)
		y = tower_normed(c, &v->tower, y, &v->fc);
	tower_observe(c, call, "pooled", y);
	return head_of(c, &v->head, y);
}

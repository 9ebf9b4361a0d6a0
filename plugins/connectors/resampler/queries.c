/* queries.c - MiniCPM-V's kind of resampler: weights and forward pass. */
#include "plugins/connectors/resampler/queries.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { QUERIES_HEAD = 128 /* columns of a head in what was published */ };

static const char *const queries_prefixes[] = { "resampler.", "model.resampler.", "transformer.visual.attn_pool.", "transformer.visual.",
						"attn_pool.", "", NULL };

int queries_are_there(struct nn_checkpoint *checkpoint)
{
	struct nn_error ignored = { 0 };
	struct nn_loader l = { .checkpoint = checkpoint, .prefixes = queries_prefixes, .error = &ignored };

	return nn_load_maybe(&l, 0, 0, "query") && nn_load_maybe(&l, 0, 0, "attn.in_proj_weight");
}

static const struct nn_weight *queries_pack(struct queries *q, struct nn_loader *l, struct nn_weight *w)
{
	q->weight_bytes += w ? w->bytes : 0;
	return w && !nn_weight_pack(l->checkpoint, w, l->error) ? w : NULL;
}

/* Sizes, and the tables. 0 or l->error->code. */
static int queries_configure(struct queries *q, struct nn_loader *l)
{
	const cJSON *config = nn_checkpoint_config(l->checkpoint);
	struct nn_weight *query = nn_load(l, 0, 0, "query"), *places = nn_load_maybe(l, 0, 0, "pos_embed");
	const struct nn_weight *kv = nn_load_maybe(l, 0, 0, "kv_proj.weight");
	const double side = places ? floor(sqrt((double)places->rows) + 0.5) : 0;

	if (l->error->code)
		return l->error->code;
	if (query->rows > QUERIES_MAX || query->cols > QUERIES_DIM_MAX || query->cols % 4)
		return nn_fail(l->error, -EINVAL, "%zu queries of %zu values are out of the resampler's range.", query->rows, query->cols);
	q->n = (uint32_t)nn_config_int(config, "query_num|num_queries", (int64_t)query->rows, 1, QUERIES_MAX, l->error);
	q->dim = (uint32_t)query->cols;
	q->in_dim = kv && kv->cols <= QUERIES_DIM_MAX ? (uint32_t)kv->cols : q->dim;
	q->n_heads = (uint32_t)nn_config_int(config, "num_heads", q->dim / QUERIES_HEAD ? q->dim / QUERIES_HEAD : 1, 1, QUERIES_DIM_MAX,
					     l->error);
	q->adaptive = !places || nn_config_bool(config, "adaptive", nn_load_maybe(l, 0, 0, "ln_post.weight") != NULL, l->error);
	q->norm_eps = 1e-6f;
	if (l->error->code)
		return l->error->code;
	if (q->n != query->rows || q->dim % q->n_heads || q->dim / q->n_heads > NN_HEAD)
		return nn_fail(l->error, -EINVAL, "config.json: %u queries in %u heads are not those of the files, %zu of %u values.", q->n,
			       q->n_heads, query->rows, q->dim);
	if (places && (places->cols != q->dim || side * side != (double)places->rows || places->rows != q->n))
		return nn_fail(l->error, -EINVAL, "pos_embed (%zu, %zu) is no square of the %u queries' places.", places->rows, places->cols,
			       q->n);
	q->side = (uint32_t)side;
	q->query = nn_weight_f32(l->checkpoint, query);
	q->places = places ? nn_weight_f32(l->checkpoint, places) : NULL;
	return !q->query || (places && !q->places) ? nn_fail(l->error, -ENOMEM, "Memory is out.") : 0;
}

static struct queries_norm queries_load_norm(struct queries *q, struct nn_loader *l, const char *name)
{
	return (struct queries_norm){ nn_load_vector(l, q->dim, "%s.weight", name), nn_load_vector(l, q->dim, "%s.bias", name) };
}

/* q, k and v lie in one tensor. */
static void queries_load_attention(struct queries *q, struct nn_loader *l)
{
	const size_t d = q->dim;
	struct nn_weight *all = nn_load(l, 3 * d, d, "attn.in_proj_weight"), *part;
	const float *bias = nn_load_vector_maybe(l, 3 * d, "attn.in_proj_bias");
	struct queries_affine *const to[] = { &q->q, &q->k, &q->v };

	for (size_t i = 0; i < 3 && all; i++) {
		part = nn_weight_rows(l->checkpoint, all, i * d, d, 0);
		if (!part)
			nn_fail(l->error, -ENOMEM, "Memory is out.");
		*to[i] = (struct queries_affine){ queries_pack(q, l, part), bias ? bias + i * d : NULL };
	}
	q->out = (struct queries_affine){ queries_pack(q, l, nn_load(l, d, d, "attn.out_proj.weight")),
					  nn_load_vector_maybe(l, d, "attn.out_proj.bias") };
}

int queries_load(struct queries *q, struct nn_checkpoint *checkpoint, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = checkpoint, .prefixes = queries_prefixes, .error = error };

	if (queries_configure(q, &l))
		return error->code;
	struct nn_weight *kv = nn_load_maybe(&l, q->dim, 0, "kv_proj.weight"), *proj = nn_load_maybe(&l, q->dim, 0, "proj");

	q->kv_proj = kv ? queries_pack(q, &l, kv) : NULL;
	q->ln_q = queries_load_norm(q, &l, "ln_q");
	q->ln_kv = queries_load_norm(q, &l, "ln_kv");
	queries_load_attention(q, &l);
	if (nn_load_maybe(&l, 0, 0, "ln_post.weight"))
		q->ln_post = queries_load_norm(q, &l, "ln_post");
	q->out_dim = q->dim;
	if (proj && !error->code) {
		/* Kept as (in, out). */
		struct nn_weight *turned = proj->cols <= QUERIES_DIM_MAX ? nn_weight_transposed(checkpoint, proj) : NULL;

		if (!turned)
			nn_fail(error, -ENOMEM, "Memory is out.");
		q->proj = queries_pack(q, &l, turned);
		q->out_dim = (uint32_t)proj->cols;
	}
	return error->code;
}

/* out [half]: sines, then cosines of `at` at falling frequencies. */
static void queries_waves(float *out, uint32_t half, uint32_t at)
{
	const uint32_t n = half / 2;

	for (uint32_t i = 0; i < n; i++) {
		const float angle = (float)at * (1.0f / powf(10000, (float)i / (float)n));

		out[i] = sinf(angle);
		out[n + i] = cosf(angle);
	}
}

/* (rows * cols, dim): a patch's column in the first half, its row in the second. */
static struct nn_tensor queries_grid(struct nn *c, const struct queries *q, uint32_t rows, uint32_t cols)
{
	const uint32_t half = q->dim / 2;
	struct nn_tensor s = nn_new(c, (size_t)rows * cols, q->dim);

	for (size_t i = 0; s.data && i < s.rows; i++) {
		float *row = s.data + i * s.stride;

		if (i < cols)
			queries_waves(row, half, (uint32_t)i);
		else
			memcpy(row, s.data + i % cols * s.stride, half * sizeof(*row));
		if (i % cols == 0)
			queries_waves(row + half, half, (uint32_t)(i / cols));
		else
			memcpy(row + half, s.data + i / cols * cols * s.stride + half, half * sizeof(*row));
	}
	return s;
}

static struct nn_tensor queries_normed(struct nn *c, const struct queries *q, struct nn_tensor x, const struct queries_norm *norm)
{
	return norm->w ? nn_layer_norm(c, x, norm->w, norm->b, q->norm_eps) : x;
}

struct nn_tensor queries_forward(struct nn *c, const struct queries *q, struct nn_tensor x, uint32_t rows, uint32_t cols)
{
	const struct nn_attention how = { .heads = q->n_heads, .kv_heads = q->n_heads,
					  .scale = 1 / sqrtf((float)(q->dim / q->n_heads)) };
	struct nn_tensor places = nn_view((float *)q->places, (size_t)q->side * q->side, q->dim);
	struct nn_tensor query = queries_normed(c, q, nn_view((float *)q->query, q->n, q->dim), &q->ln_q);
	struct nn_tensor n = queries_normed(c, q, q->kv_proj ? nn_gemm(c, x, q->kv_proj, NULL) : x, &q->ln_kv);
	struct nn_tensor where = q->adaptive ? queries_grid(c, q, rows, cols) :
				 rows == q->side && cols == q->side ? places :
				 nn_resize_grid(c, places, q->side, q->side, rows, cols);

	if (q->places)
		query = nn_add(c, query, places);
	struct nn_tensor y = nn_attention(c, nn_gemm(c, query, q->q.w, q->q.b), nn_gemm(c, nn_add(c, n, where), q->k.w, q->k.b),
					  nn_gemm(c, n, q->v.w, q->v.b), &how);

	y = queries_normed(c, q, nn_gemm(c, y, q->out.w, q->out.b), &q->ln_post);
	return q->proj ? nn_gemm(c, y, q->proj, NULL) : y;
}

/* forward.c - the Q-Former's forward pass. Q queries, T tokens of the instruction, S rows of features; x (Q + T, d_model). */
#include "plugins/connectors/qformer/qformer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void forward_observe(const struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x)
{
	if (call->host->observe && x.data && !c->error && x.stride == x.cols)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

/* norm(x + y). */
static struct nn_tensor forward_sum(struct nn *c, const struct qformer *q, struct nn_tensor x, struct nn_tensor y,
				    const struct norm *norm)
{
	return nn_layer_norm(c, nn_add(c, x, y), norm->w, norm->b, q->norm_eps);
}

/* Rows of x look at rows of `from`. */
static struct nn_tensor forward_attention(struct nn *c, const struct qformer *q, const struct attention *a, struct nn_tensor x,
					  struct nn_tensor from)
{
	const struct nn_attention how = { .heads = q->n_heads, .kv_heads = q->n_heads,
					  .scale = 1 / sqrtf((float)(q->d_model / q->n_heads)) };
	struct nn_tensor seen = nn_attention(c, nn_gemm(c, x, a->q.w, a->q.b), nn_gemm(c, from, a->k.w, a->k.b),
					     nn_gemm(c, from, a->v.w, a->v.b), &how);

	return forward_sum(c, q, x, nn_gemm(c, seen, a->out.w, a->out.b), &a->norm);
}

static struct nn_tensor forward_feed(struct nn *c, const struct qformer *q, const struct feed_forward *f, struct nn_tensor x)
{
	struct nn_tensor h = nn_gemm(c, x, f->in.w, f->in.b);

	nn_activate(c, h, q->activation);
	return forward_sum(c, q, x, nn_gemm(c, h, f->out.w, f->out.b), &f->norm);
}

/* One tensor of the rows of two. */
static struct nn_tensor forward_join(struct nn *c, struct nn_tensor a, struct nn_tensor b)
{
	struct nn_tensor y = nn_new(c, a.rows + b.rows, a.cols);

	for (size_t i = 0; y.data && a.data && i < y.rows; i++)
		memcpy(y.data + i * y.stride, i < a.rows ? a.data + i * a.stride : b.data + (i - a.rows) * b.stride,
		       y.cols * sizeof(float));
	return y;
}

static struct nn_tensor forward_layer(struct nn *c, struct percept_call *call, const struct qformer *q, uint32_t i,
				      struct nn_tensor x, struct nn_tensor features)
{
	const struct layer *l = &q->layers[i];
	const size_t text = x.rows - q->n_queries;

	x = forward_attention(c, q, &l->self, x, x);
	if (!i)
		forward_observe(c, call, "layer0_self", x);
	struct nn_tensor queries = nn_rows(x, 0, q->n_queries);

	if (l->cross.q.w)
		queries = forward_attention(c, q, &l->cross, queries, features);
	if (!i)
		forward_observe(c, call, "layer0_cross", queries);
	queries = forward_feed(c, q, &l->queries, queries);
	return text ? forward_join(c, queries, forward_feed(c, q, &l->text, nn_rows(x, q->n_queries, text))) : queries;
}

/* Queries, then the instruction's words at their positions, normed together. */
static struct nn_tensor forward_input(struct nn *c, const struct qformer *q, const int32_t *ids, size_t n)
{
	struct nn_tensor x = nn_view((float *)q->query, q->n_queries, q->d_model);

	if (n) {
		struct nn_tensor words = nn_embed(c, q->words, ids, n);

		nn_add_to(c, words, nn_view((float *)q->positions, n, q->d_model));
		x = forward_join(c, x, words);
	}
	return nn_layer_norm(c, x, q->norm.w, q->norm.b, q->norm_eps);
}

struct nn_tensor qformer_forward(struct nn *c, struct percept_call *call, const struct qformer *q, struct nn_tensor features,
				 const int32_t *ids, size_t n_ids)
{
	struct nn_tensor x = forward_input(c, q, ids, n_ids);
	char name[32];

	forward_observe(c, call, n_ids ? "embeddings" : "embedding_normed", x);
	for (uint32_t i = 0; i < q->n_layers && !nn_stopped(c); i++) {
		x = forward_layer(c, call, q, i, x, features);
		snprintf(name, sizeof(name), "after_layer%u", i);
		forward_observe(c, call, name, x);
	}
	forward_observe(c, call, "sequence", x);
	x = nn_rows(x, 0, q->n_queries);
	forward_observe(c, call, "queries", x);
	return nn_gemm(c, x, q->projection.w, q->projection.b);
}

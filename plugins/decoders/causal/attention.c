/* attention.c - softmax over pages in one pass: a running maximum, sum and weighted values (Milakov 2018). */
#include "plugins/decoders/causal/attention.h"

#include <math.h>
#include <string.h>

struct attention_job {
	const struct kv *kv;
	const struct place *places;
	struct nn_tensor q, out;
	uint32_t layer, group; /* query heads that share a key-value head */
	float scale;
};

/* p[j] = exp(scale q . k[j] - max), for `n` keys of a page; returns the new maximum. */
static float attention_scores(const float *restrict q, const float *restrict keys, float *restrict p, uint32_t n, uint32_t dim,
			      float scale, float max)
{
	float s[KV_PAGE] = { 0 };

	for (uint32_t d = 0; d < dim; d++) {
		const float x = q[d];
		const float *restrict k = keys + (size_t)d * KV_PAGE;

		for (uint32_t j = 0; j < KV_PAGE; j++)
			s[j] += x * k[j];
	}
	for (uint32_t j = 0; j < n; j++) {
		s[j] *= scale;
		max = s[j] > max ? s[j] : max;
	}
	for (uint32_t j = 0; j < n; j++)
		p[j] = expf(s[j] - max);
	return max;
}

static void attention_head(const struct attention_job *job, const struct place *at, uint32_t kv_head, const float *q, float *out)
{
	const struct kv *kv = job->kv;
	const struct kv_sequence *sequence = &kv->sequences[at->sequence];
	const uint32_t dim = kv->head_dim;
	float max = -INFINITY, sum = 0, p[KV_PAGE];

	memset(out, 0, dim * sizeof(float));
	for (uint32_t first = 0; first < at->visible; first += KV_PAGE) {
		const struct kv_page *page = sequence->pages[first / KV_PAGE];
		const uint32_t n = at->visible - first < KV_PAGE ? at->visible - first : KV_PAGE;
		const float *values = kv_values(kv, page, job->layer, kv_head), before = max;

		max = attention_scores(q, kv_keys(kv, page, job->layer, kv_head), p, n, dim, job->scale, max);
		const float keep = first ? expf(before - max) : 0;

		sum *= keep;
		for (uint32_t d = 0; d < dim; d++)
			out[d] *= keep;
		for (uint32_t j = 0; j < n; j++) {
			const float *restrict v = values + (size_t)j * dim;

			sum += p[j];
			for (uint32_t d = 0; d < dim; d++)
				out[d] += p[j] * v[d];
		}
	}
	for (uint32_t d = 0; d < dim; d++)
		out[d] /= sum;
}

/* Units are (row, query head). */
static void attention_rows(void *arg, size_t begin, size_t end)
{
	const struct attention_job *job = arg;
	const uint32_t heads = job->kv->n_heads * job->group, dim = job->kv->head_dim;

	for (size_t i = begin; i < end; i++) {
		const size_t row = i / heads;
		const uint32_t head = (uint32_t)(i % heads);

		attention_head(job, &job->places[row], head / job->group, job->q.data + row * job->q.stride + (size_t)head * dim,
			       job->out.data + row * job->out.stride + (size_t)head * dim);
	}
}

struct nn_tensor attention(struct nn *c, const struct kv *kv, uint32_t layer, const struct place *places, struct nn_tensor q,
			   float scale)
{
	struct attention_job job = { .kv = kv, .places = places, .q = q, .out = nn_new(c, q.rows, q.cols), .layer = layer,
				     .group = (uint32_t)(q.cols / kv->head_dim / kv->n_heads), .scale = scale };

	uint32_t most = 1;

	for (size_t t = 0; t < q.rows; t++)
		most = places[t].visible > most ? places[t].visible : most;
	/* A thread is worth waking for some ten thousand products. */
	const size_t grain = 1 + (size_t)16384 / ((size_t)most * kv->head_dim);

	if (!nn_stopped(c))
		nn_split(c, q.rows * kv->n_heads * job.group, grain, attention_rows, &job);
	return job.out;
}

void attention_store(struct nn *c, struct kv *kv, uint32_t layer, const struct place *places, struct nn_tensor k,
		     struct nn_tensor v)
{
	if (nn_stopped(c))
		return;
	for (size_t t = 0; t < k.rows; t++) {
		const struct kv_page *page = kv->sequences[places[t].sequence].pages[places[t].index / KV_PAGE];
		const uint32_t at = places[t].index % KV_PAGE, dim = kv->head_dim;

		for (uint32_t h = 0; h < kv->n_heads; h++) {
			float *keys = kv_keys(kv, page, layer, h) + at;

			for (uint32_t d = 0; d < dim; d++)
				keys[(size_t)d * KV_PAGE] = k.data[t * k.stride + (size_t)h * dim + d];
			memcpy(kv_values(kv, page, layer, h) + (size_t)at * dim, v.data + t * v.stride + (size_t)h * dim,
			       dim * sizeof(float));
		}
	}
}

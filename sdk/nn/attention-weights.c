/* attention-weights.c - which keys rows look at: the softmax alone, written out for who wants to see it. */
#include "sdk/nn/attention.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "sdk/nn/half.h"

struct weights {
	struct nn_tensor q, out;
	const struct nn_page_shape *shape;
	void *const *const *pages;
	const struct nn_attention *how;
	size_t keys;
};

/* Number `d` of a head's key at `slot`. */
static float weights_key(const struct nn_page_shape *shape, const void *head, size_t d, size_t slot)
{
	const struct page_panel panel = page_keys(shape, head, d / NN_PAGE);
	const size_t at = d % NN_PAGE * NN_PAGE + slot;

	if (shape->type == NN_PAGE_F32)
		return ((const float *)panel.data)[at];
	if (shape->type == NN_PAGE_F16)
		return half_from_f16(((const uint16_t *)panel.data)[at]);
	return panel.scale[slot] * ((const int8_t *)panel.data)[at];
}

/* What row t's head h adds to the score of key k by its distance. */
static float weights_relative(const struct nn_attention *how, size_t t, size_t h, uint32_t k, uint32_t hi)
{
	const int64_t reach = how->reach, place = how->place ? (int64_t)how->place[t] : (int64_t)hi - 1, at = (int64_t)k - place;

	return how->relative[h * (2 * (size_t)how->reach + 1) + (size_t)(reach + (at < -reach ? -reach : at > reach ? reach : at))];
}

/* s [lo, hi): the scores of row t's head h. */
static void weights_scores(const struct weights *w, size_t t, size_t h, uint32_t lo, uint32_t hi, float *s)
{
	const struct nn_attention *how = w->how;
	const float *q = w->q.data + t * w->q.stride + h * w->shape->dk;
	const size_t kv = h / (how->heads / how->kv_heads);

	for (uint32_t k = lo; k < hi; k++) {
		const void *head = page_head(w->shape, w->pages[t][k / NN_PAGE], kv);
		float sum = 0;

		for (size_t d = 0; d < w->shape->dk; d++)
			sum += q[d] * weights_key(w->shape, head, d, k % NN_PAGE);
		sum *= how->scale;
		if (how->softcap > 0)
			sum = how->softcap * tanhf(sum / how->softcap);
		if (how->slopes)
			sum += how->slopes[h] * (float)((int64_t)k - (int64_t)hi + 1);
		if (how->relative)
			sum += weights_relative(how, t, h, k, hi);
		s[k] = sum;
	}
}

static void weights_softmax(float *s, uint32_t lo, uint32_t hi)
{
	float most = -INFINITY, sum = 0;

	for (uint32_t k = lo; k < hi; k++)
		most = s[k] > most ? s[k] : most;
	for (uint32_t k = lo; k < hi; k++)
		sum += s[k] = expf(s[k] - most);
	for (uint32_t k = lo; k < hi; k++)
		s[k] /= sum;
}

/* Task: one head of one row. */
static void weights_task(void *arg, uint32_t index)
{
	const struct weights *w = arg;
	const size_t t = index / w->how->heads, h = index % w->how->heads;
	float *s = w->out.data + t * w->out.stride + h * w->keys;
	const uint32_t hi = w->how->visible[t], lo = w->how->first ? w->how->first[t] : 0;

	memset(s, 0, w->keys * sizeof(*s));
	weights_scores(w, t, h, lo, hi, s);
	weights_softmax(s, lo, hi);
}

struct nn_tensor nn_attention_weights(struct nn *c, struct nn_tensor q, const struct nn_page_shape *shape,
				      void *const *const *pages, const struct nn_attention *how)
{
	struct weights w = { .q = q, .shape = shape, .pages = pages, .how = how };

	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	if (!how->visible || !how->kv_heads || how->kv_heads != shape->kv_heads || how->heads % how->kv_heads ||
	    q.cols != (size_t)how->heads * shape->dk) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	for (size_t t = 0; t < q.rows; t++)
		w.keys = how->visible[t] > w.keys ? how->visible[t] : w.keys;
	w.out = nn_new(c, q.rows, how->heads * w.keys);
	if (w.out.data)
		nn_parallel(c, weights_task, &w, (uint32_t)(q.rows * how->heads));
	return c->error ? (struct nn_tensor){ 0 } : w.out;
}

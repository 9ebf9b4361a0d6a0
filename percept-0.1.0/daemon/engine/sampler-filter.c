/* sampler-filter.c - the filters of the sampler, each over the candidates that the ones before it left. */
#include "daemon/engine/sampler-filter.h"

#include <math.h>
#include <stdlib.h>

/* Likelier first; among equals the lower id. */
static int sampler_before(const struct sampler_candidate *a, const struct sampler_candidate *b)
{
	return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static int sampler_compare(const void *a, const void *b)
{
	return sampler_before(a, b) ? -1 : 1;
}

static void sampler_swap(struct sampler_candidate *a, struct sampler_candidate *b)
{
	struct sampler_candidate c = *a;

	*a = *b;
	*b = c;
}

/* Brings the k likeliest to the front, in any order (Hoare 1961, "Find"). */
static void sampler_select(struct sampler_candidate *data, size_t n, size_t k)
{
	size_t low = 0, high = n;

	while (high - low > 1 && k > low && k < high) {
		struct sampler_candidate pivot = data[low + (high - low) / 2];
		size_t i = low, j = high - 1;

		for (;;) {
			while (sampler_before(&data[i], &pivot))
				i++;
			while (sampler_before(&pivot, &data[j]))
				j--;
			if (i >= j)
				break;
			sampler_swap(&data[i++], &data[j--]);
		}
		/* [low, i) come before or are the pivot's equals; the pivot is unique, so both sides shrink. */
		if (i == low)
			i++;
		if (k < i)
			high = i;
		else
			low = i;
	}
}

static void sampler_sort_top(struct sampler_set *set, size_t k)
{
	if (k > set->n)
		k = set->n;
	if (set->sorted >= k)
		return;
	sampler_select(set->data, set->n, k);
	qsort(set->data, k, sizeof(*set->data), sampler_compare);
	set->sorted = k;
}

/* p = softmax(logit). Returns log of the sum, so that log p = logit - it. */
static double sampler_softmax(struct sampler_set *set)
{
	double max = -INFINITY, sum = 0;

	for (size_t i = 0; i < set->n; i++)
		if (set->data[i].logit > max)
			max = set->data[i].logit;
	for (size_t i = 0; i < set->n; i++)
		sum += set->data[i].p = exp(set->data[i].logit - max);
	for (size_t i = 0; i < set->n; i++)
		set->data[i].p /= sum;
	return max + log(sum);
}

static void sampler_top_k(const struct sampler_params *params, struct sampler_set *set)
{
	if (params->top_k == 0 || params->top_k >= set->n)
		return;
	sampler_sort_top(set, params->top_k);
	set->n = set->sorted = params->top_k;
}

static void sampler_top_p(const struct sampler_params *params, struct sampler_set *set)
{
	if (params->top_p >= 1)
		return;
	sampler_softmax(set);
	for (size_t k = 64;; k *= 8) {
		double sum = 0;

		sampler_sort_top(set, k);
		for (size_t i = 0; i < set->n && i < k; i++) {
			sum += set->data[i].p;
			if (sum >= params->top_p) {
				set->n = set->sorted = i + 1;
				return;
			}
		}
		if (k >= set->n)
			return;
	}
}

static void sampler_min_p(const struct sampler_params *params, struct sampler_set *set)
{
	double max = 0;
	size_t n = 0, sorted = 0;

	if (params->min_p <= 0)
		return;
	sampler_softmax(set);
	for (size_t i = 0; i < set->n; i++)
		if (set->data[i].p > max)
			max = set->data[i].p;
	for (size_t i = 0; i < set->n; i++) {
		if (set->data[i].p < params->min_p * max)
			continue;
		sorted += i < set->sorted;
		set->data[n++] = set->data[i];
	}
	set->n = n;
	set->sorted = sorted;
}

/* Closer to the expected surprise first: `p` holds the distance while sorting. */
static int sampler_compare_typical(const void *a, const void *b)
{
	const struct sampler_candidate *x = a, *y = b;

	if (x->p != y->p)
		return x->p < y->p ? -1 : 1;
	return x->id < y->id ? -1 : 1;
}

static void sampler_typical(const struct sampler_params *params, struct sampler_set *set)
{
	double entropy = 0, sum = 0;

	if (params->typical_p >= 1)
		return;
	double all = sampler_softmax(set);

	for (size_t i = 0; i < set->n; i++)
		entropy -= set->data[i].p * (set->data[i].logit - all);
	for (size_t i = 0; i < set->n; i++)
		set->data[i].p = fabs(all - set->data[i].logit - entropy);
	qsort(set->data, set->n, sizeof(*set->data), sampler_compare_typical);
	set->sorted = 0;
	for (size_t i = 0; i < set->n; i++) {
		sum += exp(set->data[i].logit - all);
		if (sum >= params->typical_p) {
			set->n = i + 1;
			return;
		}
	}
}

static void sampler_temperature(const struct sampler_params *params, struct sampler_set *set)
{
	if (params->temperature <= 0 || params->temperature == 1)
		return;
	for (size_t i = 0; i < set->n; i++)
		set->data[i].logit /= params->temperature;
}

static void (*const sampler_filters[])(const struct sampler_params *, struct sampler_set *) = {
	[SAMPLER_TOP_K] = sampler_top_k,
	[SAMPLER_TYPICAL] = sampler_typical,
	[SAMPLER_TOP_P] = sampler_top_p,
	[SAMPLER_MIN_P] = sampler_min_p,
	[SAMPLER_TEMPERATURE] = sampler_temperature,
};

void sampler_filter(const struct sampler_params *params, struct sampler_set *set)
{
	for (size_t i = 0; i < SAMPLER_STAGES && params->order[i] != SAMPLER_END; i++)
		sampler_filters[params->order[i]](params, set);
	sampler_softmax(set);
}

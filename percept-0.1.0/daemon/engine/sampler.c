/* sampler.c - penalties, the choice itself, log-probabilities. The filters are in sampler-filter.c. */
#include "config.h"
#include "daemon/engine/sampler.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/sampler-filter.h"

void sampler_defaults(struct sampler_params *params)
{
	*params = (struct sampler_params){
		.top_p = 1,
		.typical_p = 1,
		.repetition = 1,
		.order = {SAMPLER_TOP_K, SAMPLER_TYPICAL, SAMPLER_TOP_P, SAMPLER_MIN_P, SAMPLER_TEMPERATURE, SAMPLER_END},
	};
}

int sampler_penalises(const struct sampler_params *params)
{
	return params->repetition != 1 || params->presence != 0 || params->frequency != 0;
}

int sampler_history_add(struct sampler_history *history, int32_t id)
{
	size_t low = 0, high = history->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (history->data[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < history->n && history->data[low].id == id) {
		history->data[low].count++;
		return 0;
	}
	if (history->n == history->room) {
		size_t room = history->room ? history->room * 2 : 64;
		void *data = realloc(history->data, room * sizeof(*history->data));

		if (!data)
			return -ENOMEM;
		history->data = data;
		history->room = room;
	}
	memmove(history->data + low + 1, history->data + low, (history->n - low) * sizeof(*history->data));
	history->data[low] = (struct sampler_count){id, 1};
	history->n++;
	return 0;
}

void sampler_history_fini(struct sampler_history *history)
{
	free(history->data);
	*history = (struct sampler_history){0};
}

void sampler_scratch_fini(struct sampler_scratch *scratch)
{
	free(scratch->data);
	*scratch = (struct sampler_scratch){0};
}

/* data is still indexed by id here. */
static void sampler_penalise(const struct sampler_params *params, const struct sampler_history *history, size_t vocab,
			     struct sampler_candidate *data)
{
	for (size_t i = 0; history && sampler_penalises(params) && i < history->n; i++) {
		const struct sampler_count *seen = &history->data[i];

		if (seen->id < 0 || (size_t)seen->id >= vocab)
			continue;
		double *logit = &data[seen->id].logit;

		*logit = *logit > 0 ? *logit / params->repetition : *logit * params->repetition;
		*logit -= seen->count * params->frequency + params->presence;
	}
	for (size_t i = 0; i < params->n_bias; i++)
		if (params->bias[i].id >= 0 && (size_t)params->bias[i].id < vocab)
			data[params->bias[i].id].logit += params->bias[i].add;
}

/* All tokens that can be chosen at all, penalties and bias applied. */
static int sampler_fill(const struct sampler_params *params, const float *logits, size_t vocab,
			const struct sampler_history *history, struct sampler_scratch *scratch)
{
	size_t n = 0;

	if (scratch->room < vocab) {
		void *data = reallocarray(scratch->data, vocab, sizeof(*scratch->data));

		if (!data)
			return -ENOMEM;
		scratch->data = data;
		scratch->room = vocab;
	}
	for (size_t i = 0; i < vocab; i++)
		scratch->data[i] = (struct sampler_candidate){(int32_t)i, logits[i], 0};
	sampler_penalise(params, history, vocab, scratch->data);
	for (size_t i = 0; i < vocab; i++)
		if (isfinite(scratch->data[i].logit))
			scratch->data[n++] = scratch->data[i];
	scratch->n = n;
	return n ? 0 : -EDOM;
}

int sampler_candidates(const struct sampler_params *params, const float *logits, size_t vocab,
		       const struct sampler_history *history, struct sampler_scratch *scratch)
{
	int r = sampler_fill(params, logits, vocab, history, scratch);

	if (r)
		return r;
	struct sampler_set set = {.data = scratch->data, .n = scratch->n};

	sampler_filter(params, &set);
	scratch->n = set.n;
	return 0;
}

double sampler_random(uint64_t seed, uint64_t counter)
{
	/* Two rounds of a 64-bit finaliser (Steele 2014, "Fast splittable pseudorandom number generators"). */
	uint64_t x = seed;

	for (int round = 0; round < 2; round++) {
		x += 0x9e3779b97f4a7c15u * (counter + 1);
		x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
		x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
		x ^= x >> 31;
	}
	return (double)(x >> 11) * 0x1p-53;
}

static int32_t sampler_greedy(const float *logits, size_t vocab)
{
	size_t best = vocab;

	for (size_t i = 0; i < vocab; i++)
		if (isfinite(logits[i]) && (best == vocab || logits[i] > logits[best]))
			best = i;
	return best < vocab ? (int32_t)best : -EDOM;
}

int32_t sampler_next(const struct sampler_params *params, const float *logits, size_t vocab,
		     const struct sampler_history *history, uint64_t index, struct sampler_scratch *scratch)
{
	if (params->temperature <= 0 && !params->n_bias && !(history && history->n && sampler_penalises(params)))
		return sampler_greedy(logits, vocab);
	if (params->temperature <= 0) {
		int r = sampler_fill(params, logits, vocab, history, scratch);
		const struct sampler_candidate *best = scratch->data;

		if (r)
			return r;
		for (size_t i = 1; i < scratch->n; i++)
			if (scratch->data[i].logit > best->logit)
				best = &scratch->data[i];
		return best->id;
	}
	int r = sampler_candidates(params, logits, vocab, history, scratch);

	if (r)
		return r;
	double left = sampler_random(params->seed, index);

	for (size_t i = 0; i < scratch->n; i++) {
		left -= scratch->data[i].p;
		if (left < 0)
			return scratch->data[i].id;
	}
	/* Rounding left a rest: the last one that can be chosen. */
	size_t last = scratch->n - 1;

	while (last > 0 && scratch->data[last].p <= 0)
		last--;
	return scratch->data[last].id;
}

uint32_t sampler_logprobs(const float *logits, size_t vocab, int32_t id, uint32_t n, struct sampler_logprob *top,
			  double *chosen)
{
	double max = -INFINITY, sum = 0;
	uint32_t have = 0;

	for (size_t i = 0; i < vocab; i++)
		if (logits[i] > max)
			max = logits[i];
	for (size_t i = 0; i < vocab; i++)
		if (!isnan(logits[i]))
			sum += exp(logits[i] - max);
	double all = max + log(sum);

	for (size_t i = 0; i < vocab && n; i++) {
		if (!isfinite(logits[i]) || (have == n && !(logits[i] - all > top[n - 1].logprob)))
			continue;
		uint32_t at = have < n ? have++ : n - 1;

		while (at > 0 && top[at - 1].logprob < logits[i] - all) {
			top[at] = top[at - 1];
			at--;
		}
		top[at] = (struct sampler_logprob){(int32_t)i, logits[i] - all};
	}
	*chosen = id >= 0 && (size_t)id < vocab ? logits[id] - all : -INFINITY;
	return have;
}

/* sampler-filter.h - the filters of the sampler: top-k, typical, top-p, min-p, temperature. */
#ifndef ENGINE_SAMPLER_FILTER_H
#define ENGINE_SAMPLER_FILTER_H

#include "daemon/engine/sampler.h"

/* Candidates; the first `sorted` of them are the likeliest, best first. */
struct sampler_set {
	struct sampler_candidate *data;
	size_t n, sorted;
};

/* Runs the filters in params->order over set->n >= 1 candidates and leaves the probabilities of those that stay. [any] */
void sampler_filter(const struct sampler_params *params, struct sampler_set *set);

#endif

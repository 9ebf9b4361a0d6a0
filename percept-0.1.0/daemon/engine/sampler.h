/* sampler.h - from logits to the next token: pure functions, the same numbers on every machine. */
#ifndef ENGINE_SAMPLER_H
#define ENGINE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

/* The filters, applied in the order that sampler_params.order gives. */
enum sampler_stage {
	SAMPLER_END,
	SAMPLER_TOP_K,       /* Fan 2018 */
	SAMPLER_TYPICAL,     /* Meister 2022 */
	SAMPLER_TOP_P,       /* Holtzman 2019: the smallest set whose sum reaches p */
	SAMPLER_MIN_P,       /* Nguyen 2024: at least min_p times the most likely one */
	SAMPLER_TEMPERATURE,
};
#define SAMPLER_STAGES 8

struct sampler_bias {
	int32_t id;
	double add;
};

/* How to choose. sampler_defaults() is greedy, everything else off. */
struct sampler_params {
	double temperature; /* 0: greedy */
	uint32_t top_k;     /* 0: off */
	double top_p, typical_p; /* 1: off */
	double min_p;       /* 0: off */
	double repetition;  /* 1: off. Keskar 2019: divides positive logits, multiplies the others, once a distinct token */
	double presence, frequency; /* 0: off. Subtracted: presence once, frequency by count */
	uint64_t seed;
	const struct sampler_bias *bias; /* added after the penalties; borrowed */
	size_t n_bias;
	enum sampler_stage order[SAMPLER_STAGES]; /* ended by SAMPLER_END */
};
void sampler_defaults(struct sampler_params *params);
/* True if a history is needed. */
int sampler_penalises(const struct sampler_params *params);

/* How often each token occurred, sorted by id. */
struct sampler_history {
	struct sampler_count {
		int32_t id;
		uint32_t count;
	} *data;
	size_t n, room;
};
/* 0 or -ENOMEM. */
int sampler_history_add(struct sampler_history *history, int32_t id);
void sampler_history_fini(struct sampler_history *history);

struct sampler_candidate {
	int32_t id;
	double logit; /* after penalties, bias and temperature */
	double p;
};

/* Room for the candidates of one vocabulary; one thread at a time. Begins zeroed. */
struct sampler_scratch {
	struct sampler_candidate *data;
	size_t n, room;
};
void sampler_scratch_fini(struct sampler_scratch *scratch);

/* The candidates that `params` leave of logits f32 [vocab] and their probabilities, in scratch->data[0 .. scratch->n).
 * 0, -ENOMEM, or -EDOM when no logit is a number above -infinity. [any] */
int sampler_candidates(const struct sampler_params *params, const float *logits, size_t vocab,
		       const struct sampler_history *history, struct sampler_scratch *scratch);
/* The next token, or a negative errno as above. `index`: how many tokens this answer has already; with the seed it gives the
 * random number, so that an answer does not depend on what else runs. Greedy takes the lowest id among equals. [any] */
int32_t sampler_next(const struct sampler_params *params, const float *logits, size_t vocab,
		     const struct sampler_history *history, uint64_t index, struct sampler_scratch *scratch);
/* A number in [0, 1) from a seed and a counter. */
double sampler_random(uint64_t seed, uint64_t counter);

struct sampler_logprob {
	int32_t id;
	double logprob;
};
/* The `n` <= 64 likeliest tokens by the plain log-softmax of logits f32 [vocab], best first, and the logprob of `id` in
 * *chosen. Returns how many there are. [any] */
uint32_t sampler_logprobs(const float *logits, size_t vocab, int32_t id, uint32_t n, struct sampler_logprob *top,
			  double *chosen);

#endif

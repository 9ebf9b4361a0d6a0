/* case-sampling.c - which tokens the engine's sampler leaves, and their probabilities. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/sampler.h"
#include "tests/golden/golden.h"

static double sampling_number(const cJSON *params, const char *name, double fallback)
{
	const cJSON *item = cJSON_GetObjectItem(params, name);

	return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

static void sampling_params(const cJSON *params, struct sampler_params *s)
{
	static const enum sampler_stage hugging_face[] = { SAMPLER_TEMPERATURE, SAMPLER_TOP_K, SAMPLER_TOP_P, SAMPLER_END };
	const char *order = cJSON_GetStringValue(cJSON_GetObjectItem(params, "order"));

	sampler_defaults(s);
	s->temperature = sampling_number(params, "temperature", 0);
	s->top_k = (uint32_t)sampling_number(params, "top_k", 0);
	s->top_p = sampling_number(params, "top_p", 1);
	s->min_p = sampling_number(params, "min_p", 0);
	s->typical_p = sampling_number(params, "typical_p", 1);
	s->repetition = sampling_number(params, "repetition", 1);
	s->presence = sampling_number(params, "presence", 0);
	s->frequency = sampling_number(params, "frequency", 0);
	if (order && !strncmp(order, "temperature", strlen("temperature")))
		memcpy(s->order, hugging_face, sizeof(hugging_face));
}

static int sampling_by_id(const void *a, const void *b)
{
	return ((const struct sampler_candidate *)a)->id - ((const struct sampler_candidate *)b)->id;
}

static int sampling_row(const cJSON *row, const struct golden_tensor *logits, double tolerance)
{
	const cJSON *expected = cJSON_GetObjectItem(row, "expected"), *id, *p;
	struct sampler_params params;
	struct sampler_history history = { 0 };
	struct sampler_scratch scratch = { 0 };
	size_t n = 0;
	int passed = 1;

	sampling_params(cJSON_GetObjectItem(row, "params"), &params);
	cJSON_ArrayForEach(id, cJSON_GetObjectItem(row, "history"))
		passed &= !sampler_history_add(&history, id->valueint);
	passed &= !sampler_candidates(&params, logits->data, logits->n, &history, &scratch);
	qsort(scratch.data, scratch.n, sizeof(*scratch.data), sampling_by_id);
	p = cJSON_GetArrayItem(cJSON_GetObjectItem(expected, "probs"), 0);
	cJSON_ArrayForEach(id, cJSON_GetObjectItem(expected, "ids")) {
		passed &= n < scratch.n && p && scratch.data[n].id == id->valueint &&
			  fabs(scratch.data[n].p - p->valuedouble) <= tolerance;
		n++;
		p = p ? p->next : NULL;
	}
	passed &= n == scratch.n;
	sampler_history_fini(&history);
	sampler_scratch_fini(&scratch);
	return passed;
}

void case_sampling(struct golden *g)
{
	cJSON *all = golden_json(g->path, "expected.json");
	const cJSON *tolerance = cJSON_GetObjectItem(cJSON_GetObjectItem(g->info, "tolerance"), "probs"), *set, *row;
	struct golden_tensors logits;

	if (!all || golden_tensors_open(&logits, g->path, "logits.safetensors")) {
		golden_fail(g, "expected.json or logits.safetensors cannot be read");
		cJSON_Delete(all);
		return;
	}
	cJSON_ArrayForEach(set, all) {
		const struct golden_tensor *t = golden_tensor(&logits, "F32", "logits.%s", set->string);
		char name[128];
		int number = 0;

		cJSON_ArrayForEach(row, set) {
			number++;
			/* Mirostat is not a parameter of any request; its rows have no candidates. */
			if (!t || !cJSON_GetObjectItem(row, "expected"))
				continue;
			snprintf(name, sizeof(name), "%s %d %s", set->string, number,
				 cJSON_GetStringValue(cJSON_GetObjectItem(row, "name")));
			golden_verdict(g, name, sampling_row(row, t, sampling_number(tolerance, "atol", 1e-6)));
		}
	}
	golden_tensors_close(&logits);
	cJSON_Delete(all);
}

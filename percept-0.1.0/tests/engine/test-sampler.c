/* test-sampler.c - the sampler against goldens/sampling, and its promises of determinism. */
#include "config.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <cjson/cJSON.h>

#include "daemon/engine/json-file.h"
#include "daemon/engine/sampler.h"

#define VOCAB 64
#define TOLERANCE 1e-6 /* case.json */

static char *sampling_folder(void)
{
	const char *top = getenv("top_srcdir");
	char *path = NULL;

	return asprintf(&path, "%s/tests/goldens/sampling", top ? top : ".") < 0 ? NULL : path;
}

/* logits.NAME f32 [64] out of the safetensors file. */
static void read_logits(const char *folder, const char *name, float logits[VOCAB])
{
	char path[4096], key[64];
	uint64_t header;

	snprintf(path, sizeof(path), "%s/logits.safetensors", folder);
	snprintf(key, sizeof(key), "logits.%s", name);
	FILE *file = fopen(path, "rb");

	assert_non_null(file);
	assert_int_equal(fread(&header, 8, 1, file), 1);
	char *text = calloc(1, header + 1);

	assert_int_equal(fread(text, 1, header, file), header);
	cJSON *json = cJSON_Parse(text);
	int offset = cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetObjectItem(json, key), "data_offsets"), 0)->valueint;

	fseek(file, (long)(8 + header) + offset, SEEK_SET);
	assert_int_equal(fread(logits, sizeof(float), VOCAB, file), VOCAB);
	fclose(file);
	cJSON_Delete(json);
	free(text);
}

static double number(const cJSON *params, const char *name, double fallback)
{
	const cJSON *item = cJSON_GetObjectItem(params, name);

	return item ? item->valuedouble : fallback;
}

static void read_params(const cJSON *params, struct sampler_params *s)
{
	const char *order = cJSON_GetStringValue(cJSON_GetObjectItem(params, "order"));

	sampler_defaults(s);
	s->temperature = number(params, "temperature", 0);
	s->top_k = (uint32_t)number(params, "top_k", 0);
	s->top_p = number(params, "top_p", 1);
	s->min_p = number(params, "min_p", 0);
	s->typical_p = number(params, "typical_p", 1);
	s->repetition = number(params, "repetition", 1);
	s->presence = number(params, "presence", 0);
	s->frequency = number(params, "frequency", 0);
	if (order && strncmp(order, "temperature", 11) == 0) {
		const enum sampler_stage hugging_face[] = {SAMPLER_TEMPERATURE, SAMPLER_TOP_K, SAMPLER_TOP_P, SAMPLER_END};

		memcpy(s->order, hugging_face, sizeof(hugging_face));
	}
}

static int by_id(const void *a, const void *b)
{
	return ((const struct sampler_candidate *)a)->id - ((const struct sampler_candidate *)b)->id;
}

static void check_row(const char *name, const cJSON *row, const float *logits)
{
	const cJSON *expected = cJSON_GetObjectItem(row, "expected"), *id;
	const cJSON *ids = cJSON_GetObjectItem(expected, "ids"), *probs = cJSON_GetObjectItem(expected, "probs");
	struct sampler_params params;
	struct sampler_history history = {0};
	struct sampler_scratch scratch = {0};

	read_params(cJSON_GetObjectItem(row, "params"), &params);
	cJSON_ArrayForEach(id, cJSON_GetObjectItem(row, "history"))
		assert_int_equal(sampler_history_add(&history, id->valueint), 0);
	assert_int_equal(sampler_candidates(&params, logits, VOCAB, &history, &scratch), 0);
	qsort(scratch.data, scratch.n, sizeof(*scratch.data), by_id);
	if ((int)scratch.n != cJSON_GetArraySize(ids))
		print_message("# %s/%s: %zu candidates\n", name, cJSON_GetObjectItem(row, "name")->valuestring, scratch.n);
	assert_int_equal(scratch.n, cJSON_GetArraySize(ids));
	for (size_t i = 0; i < scratch.n; i++) {
		assert_int_equal(scratch.data[i].id, cJSON_GetArrayItem(ids, (int)i)->valueint);
		assert_true(fabs(scratch.data[i].p - cJSON_GetArrayItem(probs, (int)i)->valuedouble) <= TOLERANCE);
	}
	sampler_history_fini(&history);
	sampler_scratch_fini(&scratch);
}

static void equals_the_goldens(void **state)
{
	char *folder = sampling_folder();
	cJSON *all = json_file_read(folder, "expected.json"), *set, *row;
	int rows = 0;

	assert_non_null(all);
	cJSON_ArrayForEach(set, all) {
		float logits[VOCAB];

		read_logits(folder, set->string, logits);
		cJSON_ArrayForEach(row, set) {
			/* Mirostat rows have no such member: no parameter asks for it. */
			if (!cJSON_GetObjectItem(row, "expected"))
				continue;
			check_row(set->string, row, logits);
			rows++;
		}
	}
	assert_true(rows > 70);
	cJSON_Delete(all);
	free(folder);
}

static void greedy_takes_the_lowest_of_equals(void **state)
{
	const float logits[] = {1, 3, -INFINITY, 3, NAN};
	struct sampler_params params;
	struct sampler_scratch scratch = {0};

	sampler_defaults(&params);
	assert_int_equal(sampler_next(&params, logits, 5, NULL, 0, &scratch), 1);
	const struct sampler_bias bias = {3, 0.5};

	params.bias = &bias;
	params.n_bias = 1;
	assert_int_equal(sampler_next(&params, logits, 5, NULL, 0, &scratch), 3);
	sampler_scratch_fini(&scratch);
}

static void refuses_logits_without_a_number(void **state)
{
	const float logits[] = {NAN, -INFINITY, NAN};
	struct sampler_params params;
	struct sampler_scratch scratch = {0};

	sampler_defaults(&params);
	assert_true(sampler_next(&params, logits, 3, NULL, 0, &scratch) < 0);
	params.temperature = 1;
	assert_true(sampler_next(&params, logits, 3, NULL, 0, &scratch) < 0);
	sampler_scratch_fini(&scratch);
}

/* 20,000 draws: the share of each token is within 5 standard deviations of its probability. */
static void draws_by_probability(void **state)
{
	const float logits[] = {0, 1, 2, -1};
	struct sampler_params params;
	struct sampler_scratch scratch = {0};
	int count[4] = {0}, draws = 20000;

	sampler_defaults(&params);
	params.temperature = 1;
	params.seed = 7;
	for (int i = 0; i < draws; i++) {
		int32_t id = sampler_next(&params, logits, 4, NULL, (uint64_t)i, &scratch);

		assert_in_range(id, 0, 3);
		assert_int_equal(id, sampler_next(&params, logits, 4, NULL, (uint64_t)i, &scratch));
		count[id]++;
	}
	double sum = exp(0) + exp(1) + exp(2) + exp(-1);

	for (int i = 0; i < 4; i++) {
		double p = exp(logits[i]) / sum;

		assert_true(fabs(count[i] - draws * p) < 5 * sqrt(draws * p * (1 - p)));
	}
	sampler_scratch_fini(&scratch);
}

static void top_p_finds_many_among_very_many(void **state)
{
	size_t vocab = 50000;
	float *logits = calloc(vocab, sizeof(*logits));
	struct sampler_params params;
	struct sampler_scratch scratch = {0};

	for (size_t i = 0; i < vocab; i++)
		logits[i] = (float)sampler_random(3, i);
	sampler_defaults(&params);
	params.top_p = 0.5;
	assert_int_equal(sampler_candidates(&params, logits, vocab, NULL, &scratch), 0);
	/* The kept ones are the likeliest, and one less would not reach one half. */
	float least = INFINITY;
	double all = 0, kept = 0;

	for (size_t i = 0; i < scratch.n; i++)
		least = logits[scratch.data[i].id] < least ? logits[scratch.data[i].id] : least;
	for (size_t i = 0; i < vocab; i++) {
		all += exp(logits[i]);
		kept += logits[i] >= least ? exp(logits[i]) : 0;
	}
	assert_true(kept / all >= 0.5 - 1e-9);
	assert_true((kept - exp(least)) / all < 0.5);
	free(logits);
	sampler_scratch_fini(&scratch);
}

static void logprobs_are_of_the_plain_softmax(void **state)
{
	const float logits[] = {0.5f, 2, -INFINITY, 1};
	struct sampler_logprob top[3];
	double chosen, sum = exp(0.5) + exp(2) + exp(1);

	assert_int_equal(sampler_logprobs(logits, 4, 3, 3, top, &chosen), 3);
	assert_int_equal(top[0].id, 1);
	assert_int_equal(top[1].id, 3);
	assert_int_equal(top[2].id, 0);
	assert_true(fabs(top[0].logprob - log(exp(2) / sum)) < 1e-12);
	assert_true(fabs(chosen - log(exp(1) / sum)) < 1e-12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equals_the_goldens),
		cmocka_unit_test(greedy_takes_the_lowest_of_equals),
		cmocka_unit_test(refuses_logits_without_a_number),
		cmocka_unit_test(draws_by_probability),
		cmocka_unit_test(top_p_finds_many_among_very_many),
		cmocka_unit_test(logprobs_are_of_the_plain_softmax),
	};

	return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}

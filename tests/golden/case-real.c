/* case-real.c - published models, where they are on this machine: template, tokens, first-token log-probabilities, greedy
 * tokens, perplexity; in float32 as the reference has them, and in the default mode closer to them than llama.cpp comes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/template.h"
#include "sdk/nn/tokenizer.h"
#include "sdk/wire/place.h"
#include "tests/golden/part.h"

enum { REAL_TOP = 10, REAL_GREEDY = 64 };

/* Both kinds of expected.json call the same things differently. */
static const struct real_names {
	const char *ids, *greedy, *gaps, *top, *peer_top;
} real_names[] = {
	{ "ids", "greedy_f32", "greedy_gap_f32", "first_top10_f32", "llama_cpp_first_top10" },
	{ "token_ids_bos_parse_special", "greedy_tokens_f32", "greedy_gap_each_f32", "first_token_top10_f32", "first_token_top10" },
};

/* One mode of the decoder. */
struct real {
	struct golden *g;
	const struct real_names *names;
	struct nn_tokenizer *tokenizer;
	struct nn_template *template;
	struct run run;
	int exact;                   /* compute = f32 */
	double ours, peers;          /* sums of differences to the reference */
	double ours_most, peers_most;
	uint32_t compared;
};

static int32_t *real_ids(const cJSON *list, size_t *n)
{
	int32_t *ids = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*ids));
	const cJSON *id;

	*n = 0;
	cJSON_ArrayForEach(id, list)
		if (ids)
			ids[(*n)++] = id->valueint;
	return ids;
}

/* {"id": .., "logprob": ..} or [id, logprob]. */
static int real_top(const cJSON *item, int32_t *id, double *logprob)
{
	const cJSON *first = cJSON_IsArray(item) ? cJSON_GetArrayItem(item, 0) : cJSON_GetObjectItem(item, "id");
	const cJSON *second = cJSON_IsArray(item) ? cJSON_GetArrayItem(item, 1) : cJSON_GetObjectItem(item, "logprob");

	if (!cJSON_IsNumber(first) || !cJSON_IsNumber(second))
		return -1;
	*id = first->valueint;
	*logprob = second->valuedouble;
	return 0;
}

static double real_log_sum(const float *logits, uint32_t n)
{
	double most = -INFINITY, sum = 0;

	for (uint32_t i = 0; i < n; i++)
		most = logits[i] > most ? logits[i] : most;
	for (uint32_t i = 0; i < n; i++)
		sum += exp(logits[i] - most);
	return most + log(sum);
}

static void real_check_ids(struct real *r, const char *name, const char *text, unsigned flags, const cJSON *list)
{
	struct nn_ids ids = { 0 };
	struct nn_error error = { 0 };
	size_t n = 0;
	int32_t *want = real_ids(list, &n);

	if (nn_tokenizer_encode(r->tokenizer, text, strlen(text), flags, &ids, &error))
		golden_fail(r->g, "%s: %s", name, error.text);
	else
		golden_check_ids(r->g, name, ids.data, ids.n, want, n);
	nn_ids_free(&ids);
	free(want);
}

/* The prompt's text from its messages, and its tokens. */
static void real_prompt(struct real *r, const cJSON *prompt, unsigned i)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(prompt, "prompt"));
	const cJSON *messages = cJSON_GetObjectItem(prompt, "messages");
	const cJSON *plain = cJSON_GetObjectItem(prompt, "token_ids_no_bos_no_special");
	struct nn_error error = { 0 };
	char name[64], *rendered = NULL;

	if (messages && r->template) {
		cJSON *variables = cJSON_CreateObject();

		cJSON_AddItemReferenceToObject(variables, "messages", (cJSON *)messages);
		cJSON_AddTrueToObject(variables, "add_generation_prompt");
		nn_template_render(r->template, variables, NULL, &rendered, &error);
		snprintf(name, sizeof(name), "%02u template", i);
		golden_verdict(r->g, name, rendered && text && !strcmp(rendered, text));
		cJSON_Delete(variables);
		free(rendered);
	}
	snprintf(name, sizeof(name), "%02u ids", i);
	real_check_ids(r, name, text ? text : "", NN_ENCODE_SPECIAL | (messages ? 0 : NN_ENCODE_AROUND),
		       cJSON_GetObjectItem(prompt, r->names->ids));
	snprintf(name, sizeof(name), "%02u ids without special tokens", i);
	if (plain)
		real_check_ids(r, name, text ? text : "", 0, plain);
}

/* The reference's ten likeliest first tokens: what we give them. */
static void real_first(struct real *r, const cJSON *prompt, const float *logits, unsigned i)
{
	const cJSON *item, *peer, *peers = cJSON_GetObjectItem(prompt, r->names->peer_top);
	const double sum = real_log_sum(logits, r->run.info.vocab);
	float got[REAL_TOP], want[REAL_TOP];
	char name[64];
	size_t n = 0;

	cJSON_ArrayForEach(item, cJSON_GetObjectItem(prompt, r->names->top))
	{
		int32_t id, other;
		double logprob, theirs;

		if (n == REAL_TOP || real_top(item, &id, &logprob) || id < 0 || (uint32_t)id >= r->run.info.vocab)
			continue;
		got[n] = (float)(logits[id] - sum);
		want[n] = (float)logprob;
		cJSON_ArrayForEach(peer, peers)
			if (!real_top(peer, &other, &theirs) && other == id) {
				const double mine = fabs(got[n] - logprob), their = fabs(theirs - logprob);

				r->ours += mine;
				r->peers += their;
				r->ours_most = mine > r->ours_most ? mine : r->ours_most;
				r->peers_most = their > r->peers_most ? their : r->peers_most;
				r->compared++;
			}
		n++;
	}
	snprintf(name, sizeof(name), "%02u first-token log-probabilities", i);
	if (r->exact)
		golden_compare(r->g, name, got, n, want, n);
}

/* Equal up to the first token that was chosen by less than 0.02. */
static void real_greedy(struct real *r, const cJSON *prompt, unsigned i)
{
	const cJSON *gaps = cJSON_GetObjectItem(prompt, r->names->gaps);
	size_t n = 0, sure = 0;
	int32_t *want = real_ids(cJSON_GetObjectItem(prompt, r->names->greedy), &n), got[REAL_GREEDY];
	char name[64];

	n = n < REAL_GREEDY ? n : REAL_GREEDY;
	while (sure < n && cJSON_GetArrayItem(gaps, (int)sure) && cJSON_GetArrayItem(gaps, (int)sure)->valuedouble >= 0.02)
		sure++;
	const int made = want ? run_greedy(&r->run, r->g, got, (uint32_t)n, NULL, 0) : -1;

	snprintf(name, sizeof(name), "%02u greedy tokens, %zu of %zu sure", i, sure, n);
	golden_check_ids(r->g, name, got, made >= (int)sure ? sure : 0, want, sure);
	free(want);
}

static void real_run(struct real *r, const cJSON *prompt, unsigned i)
{
	size_t n = 0;
	int32_t *ids = real_ids(cJSON_GetObjectItem(prompt, r->names->ids), &n);

	r->run.n = 0;
	if (ids && n && !part_decoder(&r->run.part)->sequence_new(r->run.part.instance, 0) &&
	    !run_step(&r->run, r->g, ids, (uint32_t)n)) {
		real_first(r, prompt, r->run.logits + (n - 1) * r->run.info.vocab, i);
		if (r->exact)
			real_greedy(r, prompt, i);
	}
	free(ids);
}

/* The mean negative log-likelihood of a text in one context. */
static void real_perplexity(struct real *r, const cJSON *reference)
{
	const cJSON *want = cJSON_GetObjectItem(reference, "mean_nll");
	size_t n = 0;
	int32_t *ids = real_ids(cJSON_GetObjectItem(reference, "ppl_token_ids"), &n);
	double sum = 0;
	char name[96];

	r->run.n = 0;
	if (ids && n > 1 && want && !part_decoder(&r->run.part)->sequence_new(r->run.part.instance, 0) &&
	    !run_step(&r->run, r->g, ids, (uint32_t)n)) {
		for (size_t i = 0; i + 1 < n; i++) {
			const float *logits = r->run.logits + i * r->run.info.vocab;

			sum += real_log_sum(logits, r->run.info.vocab) - logits[ids[i + 1]];
		}
		const double mean = sum / (double)(n - 1), apart = fabs(exp(mean - want->valuedouble) - 1);

		snprintf(name, sizeof(name), "perplexity %.4f, %.3f %% from float32's", exp(mean), 100 * apart);
		golden_verdict(r->g, name, apart < 0.003);
	}
	free(ids);
}

/* In the default mode: at most half as far from the reference as llama.cpp is. */
static void real_verdict(struct real *r)
{
	char name[160];

	if (!r->compared)
		return;
	snprintf(name, sizeof(name), "difference mean %.4f (llama.cpp %.4f), largest %.4f (%.4f)", r->ours / r->compared,
		 r->peers / r->compared, r->ours_most, r->peers_most);
	golden_verdict(r->g, name, r->ours <= r->peers / 2 && r->ours_most <= r->peers_most / 2);
}

static void real_mode(struct real *r, const char *model, const cJSON *expected, int exact)
{
	cJSON *options = cJSON_CreateObject();
	const cJSON *prompt;
	unsigned i = 0;

	if (exact)
		cJSON_AddStringToObject(options, "compute", "f32");
	r->exact = exact;
	r->ours = r->peers = r->ours_most = r->peers_most = 0;
	r->compared = 0;
	printf("  compute = %s:\n", exact ? "f32" : "the default");
	if (!run_open_with(&r->run, r->g, model, options)) {
		r->run.part.closed_taps = 1;
		cJSON_ArrayForEach(prompt, cJSON_GetObjectItem(expected, "prompts"))
			real_run(r, prompt, i++);
		real_perplexity(r, cJSON_GetObjectItem(expected, "f32_reference"));
		if (!exact)
			real_verdict(r);
	}
	run_close(&r->run);
	cJSON_Delete(options);
}

static void real_all(struct real *r, const char *model, const cJSON *expected)
{
	const cJSON *prompt;
	unsigned i = 0;

	r->names = &real_names[!cJSON_HasObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(expected, "prompts"), 0), "ids")];
	cJSON_ArrayForEach(prompt, cJSON_GetObjectItem(expected, "prompts"))
		real_prompt(r, prompt, i++);
	r->g->abs = 0.02;
	r->g->rel = 0;
	real_mode(r, model, expected, 1);
	real_mode(r, model, expected, 0);
}

void case_real(struct golden *g)
{
	const char *file = cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(g->info, "model"), "file"));
	cJSON *expected = golden_json(g->path, "expected.json");
	struct real r = { .g = g };
	struct nn_error error = { 0 };
	char *folders = place_model_path(NULL), path[PATH_MAX], *source = NULL;

	if (!file || !folders || place_find(folders, file, path)) {
		golden_skip(g, "%s is in no folder of PERCEPT_MODELS", file ? file : "the model");
	} else {
		r.tokenizer = nn_tokenizer_open(path, &error);
		source = nn_template_find(path);
		r.template = source ? nn_template_new(source, &error) : NULL;
		if (r.tokenizer)
			real_all(&r, path, expected);
		if (error.code)
			golden_fail(g, "%s", error.text);
	}
	nn_tokenizer_close(r.tokenizer);
	if (r.template)
		nn_template_free(r.template);
	free(source);
	free(folders);
	cJSON_Delete(expected);
}

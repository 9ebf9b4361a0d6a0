/* case-gguf.c - language models from GGUF files against the reference, and the block formats themselves. */
#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/blocks.h"
#include "sdk/nn/quantise.h"
#include "tests/golden/decoder.h"

/* GGUF_FAST: how much further the default arithmetic may be from the reference than float32. */
enum { GGUF_FAST = 10 };

static double decoder_log_sum(const float *logits, uint32_t n)
{
	double most = -INFINITY, sum = 0;

	for (uint32_t i = 0; i < n; i++)
		most = logits[i] > most ? logits[i] : most;
	for (uint32_t i = 0; i < n; i++)
		sum += exp(logits[i] - most);
	return most + log(sum);
}

void decoder_top(const float *got_logits, const float *want_logits, uint32_t vocab, float *got, float *want)
{
	const double got_sum = decoder_log_sum(got_logits, vocab), want_sum = decoder_log_sum(want_logits, vocab);
	float below = INFINITY;

	for (uint32_t k = 0; k < DECODER_TOP && k < vocab; k++) {
		uint32_t best = vocab;

		for (uint32_t i = 0; i < vocab; i++)
			if (want_logits[i] < below && (best == vocab || want_logits[i] > want_logits[best]))
				best = i;
		if (best == vocab)
			break;
		below = want_logits[best];
		got[k] = (float)(got_logits[best] - got_sum);
		want[k] = (float)(want_logits[best] - want_sum);
	}
}

/* Rounded weights: the log-probabilities of the ten likeliest tokens at each greedy step of the reference. */
static void decoder_steps(struct golden *g, const char *model)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "I32", "in.input_ids");
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "out.greedy_tokens");
	const struct golden_tensor *steps = golden_tensor(&g->io, "F32", "out.step_logits");
	float *got = ids ? calloc(ids->n, DECODER_TOP * sizeof(*got)) : NULL;
	float *want = ids ? calloc(ids->n, DECODER_TOP * sizeof(*want)) : NULL;
	struct run r;
	int failed = !in || !got || !want || !steps || run_open(&r, g, model);

	for (size_t i = 0; !failed && i < ids->n; i++) {
		const int32_t *next = i ? (const int32_t *)ids->data + i - 1 : in->data;
		const uint32_t n = i ? 1 : (uint32_t)in->n;

		failed = run_step(&r, g, next, n);
		if (!failed)
			decoder_top(r.logits + (size_t)(n - 1) * r.info.vocab, (const float *)steps->data + i * r.info.vocab,
				    r.info.vocab, got + i * DECODER_TOP, want + i * DECODER_TOP);
	}
	if (failed)
		golden_fail(g, "%s could not be run", model);
	else
		golden_compare(g, "top-10 log-probabilities of greedy steps", got, ids->n * DECODER_TOP, want, ids->n * DECODER_TOP);
	if (in && got && want && steps)
		run_close(&r);
	free(got);
	free(want);
}

int decoder_tolerance(struct golden *g, const char *key)
{
	const cJSON *t = cJSON_GetObjectItem(cJSON_GetObjectItem(g->info, "tolerance"), key);
	const cJSON *abs = cJSON_GetObjectItem(t, "atol"), *rel = cJSON_GetObjectItem(t, "rtol");

	if (!cJSON_IsNumber(abs))
		return 0;
	g->abs = abs->valuedouble;
	g->rel = cJSON_IsNumber(rel) ? rel->valuedouble : 0;
	return 1;
}

int decoder_gguf_type(const char *file, char type[32])
{
	const char *dot = strrchr(file, '.');
	const size_t n = dot ? (size_t)(dot - file) : 0;

	if (strncmp(file, "model-", 6) || n < 7 || n > 32 || strcmp(dot, ".gguf"))
		return 0;
	for (size_t i = 6; i < n; i++)
		type[i - 6] = (char)toupper((unsigned char)file[i]);
	type[n - 6] = '\0';
	return 1;
}

/* Where the outputs are those of the file's own weights they must be met closely; else as far as rounded weights allow. */
static int decoder_gguf(struct golden *g, const char *file)
{
	const double abs = g->abs, rel = g->rel;
	char path[PATH_MAX + 288], type[32], key[320];

	if (!decoder_gguf_type(file, type))
		return 0;
	printf("  with %s:\n", file);
	snprintf(path, sizeof(path), "%s/%s", g->path, file);
	snprintf(key, sizeof(key), "%s logits", file);
	strcat(type, ".");
	if (golden_tensor(&g->io, NULL, "out.%slogits", type)) {
		decoder_tolerance(g, "float32 activations");
		decoder_run(g, path, type, "f32");
		printf("  compute = the default:\n");
		g->abs *= GGUF_FAST;
		g->rel *= GGUF_FAST;
		decoder_run(g, path, type, NULL);
	} else if (!strcmp(type, "F32.")) {
		decoder_run(g, path, "", "f32");
	} else if (decoder_tolerance(g, key)) {
		decoder_steps(g, path);
	}
	g->abs = abs;
	g->rel = rel;
	return 1;
}

int decoder_ggufs(struct golden *g)
{
	DIR *folder = opendir(g->path);
	const struct dirent *entry;
	int n = 0;

	while (folder && (entry = readdir(folder)))
		n += decoder_gguf(g, entry->d_name);
	if (folder)
		closedir(folder);
	return n;
}

/* x in blocks is raw.TYPE, where case.json says that the reference made it of x. */
static void blocks_quantise(struct golden *g, const struct golden_tensor *raw, const struct nn_block_format *format)
{
	const cJSON *type = cJSON_GetObjectItem(cJSON_GetObjectItem(g->info, "types"), raw->name + 4);
	const char *how = cJSON_GetStringValue(cJSON_GetObjectItem(type, "how"));
	const struct golden_tensor *x = golden_tensor(&g->io, "F32", "x");
	uint8_t *got = calloc(raw->n + 1, 1);
	char name[160];

	snprintf(name, sizeof(name), "%s of x", raw->name);
	if (got && x && how && strstr(how, "quantised from x") && x->n / format->elements * format->bytes == raw->n) {
		nn_quantise(format, x->data, x->n, got);
		golden_verdict(g, name, !memcmp(got, raw->data, raw->n));
	}
	free(got);
}

/* raw.TYPE, expanded, is f32.TYPE. */
void case_blocks(struct golden *g)
{
	for (size_t i = 0; i < g->io.n; i++) {
		const struct golden_tensor *raw = &g->io.all[i];
		const struct nn_block_format *format = strncmp(raw->name, "raw.", 4) ? NULL : nn_block_format_named(raw->name + 4);
		const struct golden_tensor *want = golden_tensor(&g->io, "F32", "f32.%s", raw->name + 4);

		if (strncmp(raw->name, "raw.", 4) || !want)
			continue;
		float *got = format ? calloc(want->n + 256, sizeof(*got)) : NULL;
		const size_t blocks = format ? raw->n / format->bytes : 0;

		if (got && blocks * format->elements <= want->n)
			nn_blocks_expand(format, raw->data, blocks, got);
		golden_compare(g, want->name, got, got ? blocks * format->elements : 0, want->data, want->n);
		free(got);
		if (format && nn_quantise_knows(format))
			blocks_quantise(g, raw, format);
	}
}

/* case-t5.c - encoder-decoder models: what the encoder gives, logits of given rows, greedy tokens, prompts of several lengths. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden/decoder.h"

/* How far rounded weights may lead log-probabilities astray, where case.json does not say. */
#define T5_ROUNDED 0.2

/* A prompt, but where `mask` (may be NULL) is 0. 0 or -1. */
static int t5_encode(struct run *r, struct golden *g, const int32_t *ids, const int32_t *mask, uint32_t n)
{
	struct percept_row *rows = calloc((size_t)n + 1, sizeof(*rows));
	uint32_t used = 0;

	if (!rows || run_begin(r)) {
		free(rows);
		return -1;
	}
	for (uint32_t i = 0; i < n; i++)
		if (!mask || mask[i])
			rows[used++] = run_row(r, ids[i]);
	return run_encode(r, g, rows, used);
}

/* out.padded.logits: each prompt by itself, without its padding, and the same decoder's rows for all. */
static void t5_padded(struct golden *g, struct run *r, const struct golden_tensor *decoder)
{
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "in.padded.input_ids");
	const struct golden_tensor *mask = golden_tensor(&g->io, "I32", "in.padded.attention_mask");
	const uint32_t vocab = r->info.vocab;
	const size_t each = decoder->n * vocab;

	if (!ids || ids->rank != 2 || (mask && mask->n != ids->n))
		return;
	const uint32_t n = (uint32_t)ids->shape[1];
	float *got = calloc(ids->shape[0] * each + 1, sizeof(*got));
	int failed = !got;

	for (size_t i = 0; i < ids->shape[0] && !failed; i++) {
		failed = t5_encode(r, g, (const int32_t *)ids->data + i * n, mask ? (const int32_t *)mask->data + i * n : NULL, n) ||
			 run_step(r, g, decoder->data, (uint32_t)decoder->n);
		if (!failed)
			memcpy(got + i * each, r->logits, each * sizeof(*got));
	}
	if (!failed)
		golden_check(g, "out.padded.logits", got, ids->shape[0] * each);
	free(got);
}

static void t5_greedy(struct golden *g, struct run *r)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "I32", "out.greedy_tokens");
	const size_t n = want ? want->n : 0, vocab = r->info.vocab;
	int32_t *ids = calloc(n + 1, sizeof(*ids));
	float *steps = calloc(n + 1, vocab * sizeof(*steps));

	if (ids && steps && n && !run_start(r, g)) {
		const int done = run_greedy(r, g, ids, (uint32_t)n, steps, 0);

		golden_check_ids(g, "out.greedy_tokens", ids, done > 0 ? (size_t)done : 0, want->data, n);
		if (golden_tensor(&g->io, NULL, "out.step_logits"))
			golden_check(g, "out.step_logits", steps, n * vocab);
	}
	free(ids);
	free(steps);
}

/* Intermediate values, which the reference calls by other names. */
static void t5_taps(struct golden *g, const struct run *r)
{
	static const struct {
		const char *tap, *name;
	} names[] = {
		{ "after_layer0", "mid.encoder_hidden_after_layer0" },
		{ "decoder_after_layer0", "mid.decoder_hidden_after_layer0" },
		{ "final_normed", "out.encoder_last_hidden" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct tap *tap = part_tap(&r->part, names[i].tap);

		if (tap)
			golden_check(g, names[i].name, tap->data, tap->n);
	}
}

static void t5_run(struct golden *g, const char *model)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "I32", "in.input_ids");
	const struct golden_tensor *decoder = golden_tensor(&g->io, "I32", "in.decoder_input_ids");
	struct run r;
	int failed = run_open(&r, g, model) || t5_encode(&r, g, in->data, NULL, (uint32_t)in->n);

	if (!failed && decoder && !run_step(&r, g, decoder->data, (uint32_t)decoder->n)) {
		r.part.closed_taps = 1;
		t5_taps(g, &r);
		golden_check(g, "out.logits", r.logits, decoder->n * r.info.vocab);
	}
	r.part.closed_taps = 1;
	if (!failed)
		t5_greedy(g, &r);
	if (!failed && decoder)
		t5_padded(g, &r, decoder);
	run_close(&r);
}

/* Rounded weights: the log-probabilities of the ten likeliest tokens at each greedy step of the reference. */
static void t5_rounded(struct golden *g, const char *model)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "I32", "in.input_ids");
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "out.greedy_tokens");
	const struct golden_tensor *steps = golden_tensor(&g->io, "F32", "out.step_logits");
	float *got = ids ? calloc(ids->n, 2 * DECODER_TOP * sizeof(*got)) : NULL, *want = got ? got + ids->n * DECODER_TOP : NULL;
	struct run r;

	if (!got || !steps)
		return;
	int failed = run_open(&r, g, model) || t5_encode(&r, g, in->data, NULL, (uint32_t)in->n) || run_start(&r, g);

	for (size_t i = 0; !failed && i < ids->n; i++) {
		decoder_top(r.logits, (const float *)steps->data + i * r.info.vocab, r.info.vocab, got + i * DECODER_TOP,
			    want + i * DECODER_TOP);
		failed = run_step(&r, g, (const int32_t *)ids->data + i, 1);
	}
	if (failed)
		golden_fail(g, "%s could not be run", model);
	else
		golden_compare(g, "top-10 log-probabilities of greedy steps", got, ids->n * DECODER_TOP, want, ids->n * DECODER_TOP);
	run_close(&r);
	free(got);
}

/* The folder's GGUF files, each in float32 and in its default arithmetic; returns how many there are. */
static int t5_ggufs(struct golden *g)
{
	const double abs = g->abs, rel = g->rel;
	DIR *folder = opendir(g->path);
	const struct dirent *entry;
	int n = 0;

	while (folder && (entry = readdir(folder))) {
		char path[PATH_MAX + 288], type[32], key[320];

		if (!decoder_gguf_type(entry->d_name, type))
			continue;
		printf("  with %s:\n", entry->d_name);
		snprintf(path, sizeof(path), "%s/%s", g->path, entry->d_name);
		snprintf(key, sizeof(key), "%s logits", entry->d_name);
		if (!decoder_tolerance(g, key) && strcmp(type, "F32")) {
			g->abs = T5_ROUNDED;
			g->rel = 0;
		}
		t5_rounded(g, path);
		g->abs = abs;
		g->rel = rel;
		n++;
	}
	if (folder)
		closedir(folder);
	return n;
}

void case_t5(struct golden *g)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "I32", "in.input_ids");
	char path[PATH_MAX + 64], variant[PATH_MAX];
	int found = 0;

	if (!in || (in->rank == 2 && in->shape[0] != 1)) {
		golden_fail(g, "io.safetensors has not one prompt in in.input_ids");
		return;
	}
	snprintf(path, sizeof(path), "%s/model.safetensors", g->path);
	found = !access(path, R_OK);
	if (found)
		t5_run(g, g->path);
	snprintf(path, sizeof(path), "%s/config.hub.json", g->path);
	if (found && !access(path, R_OK) && !variant_make(g->path, "config.hub.json", NULL, variant)) {
		printf("  with config.hub.json:\n");
		t5_run(g, variant);
		variant_remove(variant);
	}
	if (!t5_ggufs(g) && !found)
		golden_skip(g, "it has no weights");
}

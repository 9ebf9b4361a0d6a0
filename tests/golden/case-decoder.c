/* case-decoder.c - causal language models: all logits of each prompt, and greedy tokens step by step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden/decoder.h"

/* in.input_ids [prompts][length], and what came out for all of them. */
struct decoding {
	uint32_t prompts, length, n_greedy;
	const int32_t *ids, *mask;     /* mask: NULL, or 0 where a row is padding */
	char greedy_name[64];
	float *logits, *steps;         /* [prompts][length][vocab], [prompts][n_greedy][vocab] */
	int32_t *greedy;               /* [prompts][n_greedy] */
};

/* `name` is of the outputs: "" or "Q8_0.". */
static int decoding_open(struct decoding *d, struct golden *g, const char *name, uint32_t vocab)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "I32", "in.input_ids");
	const struct golden_tensor *mask = golden_tensor(&g->io, "I32", "in.attention_mask");
	const struct golden_tensor *want = golden_tensor(&g->io, "F32", "out.%slogits", name), *greedy = NULL;

	*d = (struct decoding){ .prompts = 1, .length = (uint32_t)in->n, .ids = in->data };
	if (in->rank == 2 && in->n) {
		d->prompts = (uint32_t)in->shape[0];
		d->length = (uint32_t)in->shape[1];
	}
	d->mask = mask && mask->n == in->n ? mask->data : NULL;
	for (int i = 0; i < 2 && !greedy; i++) {
		snprintf(d->greedy_name, sizeof(d->greedy_name), i ? "out.%sgreedy_ids" : "out.%sgreedy_tokens", name);
		greedy = golden_tensor(&g->io, "I32", "%s", d->greedy_name);
	}
	d->n_greedy = greedy ? (uint32_t)(greedy->n / d->prompts) : 0;
	d->logits = calloc(in->n + 1, vocab * sizeof(float));
	d->steps = calloc((size_t)d->prompts * d->n_greedy + 1, vocab * sizeof(float));
	d->greedy = calloc((size_t)d->prompts * d->n_greedy + 1, sizeof(*d->greedy));
	if (!d->logits || !d->steps || !d->greedy)
		return -1;
	/* What the reference gives for padding is of no interest: those rows are as expected. */
	if (d->mask && want && want->n == in->n * vocab)
		memcpy(d->logits, want->data, want->n * sizeof(float));
	return 0;
}

static void decoding_close(struct decoding *d)
{
	free(d->logits);
	free(d->steps);
	free(d->greedy);
}

/* Prompt i alone, as far as it is no padding. 0 or -1. */
static int decoding_prompt(struct decoding *d, struct run *r, struct golden *g, uint32_t i)
{
	const size_t vocab = r->info.vocab, first = (size_t)i * d->length;
	int32_t *ids = calloc((size_t)d->length + 1, sizeof(*ids));
	uint32_t n = 0;
	int failed = !ids;

	for (uint32_t t = 0; ids && t < d->length; t++) {
		if (!d->mask || d->mask[first + t])
			ids[n++] = d->ids[first + t];
	}
	r->part.closed_taps = 0;
	failed = failed || run_begin(r) || run_step(r, g, ids, n);
	for (uint32_t t = 0, at = 0; !failed && t < d->length; t++) {
		if (!d->mask || d->mask[first + t])
			memcpy(d->logits + (first + t) * vocab, r->logits + at++ * vocab, vocab * sizeof(float));
	}
	r->part.closed_taps = 1;
	const size_t greedy = (size_t)i * d->n_greedy;

	failed = failed || (d->n_greedy && run_greedy(r, g, d->greedy + greedy, d->n_greedy, d->steps + greedy * vocab, 0) < 0);
	free(ids);
	return failed ? -1 : 0;
}

void decoder_run(struct golden *g, const char *model, const char *name, const char *compute)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "I32", "in.input_ids"), *greedy;
	struct decoding d = { 0 };
	char output[64];
	struct run r;

	if (!in || in->rank > 2) {
		golden_fail(g, "io.safetensors has no prompts in in.input_ids");
		return;
	}
	cJSON *options = cJSON_CreateObject();

	if (compute)
		cJSON_AddStringToObject(options, "compute", compute);
	int failed = run_open_with(&r, g, model, options) || decoding_open(&d, g, name, r.info.vocab);

	for (uint32_t i = 0; i < d.prompts && !failed; i++)
		failed = decoding_prompt(&d, &r, g, i);
	if (!failed) {
		/* What transformers gives after the last layer is normed. */
		const struct tap *tap = part_tap(&r.part, r.info.n_layers == 1 ? "final_normed" : "after_layer0");

		snprintf(output, sizeof(output), "out.%shidden_after_layer0", name);
		if (tap)
			golden_check(g, output, tap->data, tap->n);
		if (!name[0]) {
			part_check_taps(&r.part, g, "hidden_");
			part_check_taps(&r.part, g, "");
		}
		snprintf(output, sizeof(output), "out.%slogits", name);
		golden_check(g, output, d.logits, in->n * r.info.vocab);
		greedy = golden_tensor(&g->io, "I32", "%s", d.greedy_name);
		if (greedy)
			golden_check_ids(g, greedy->name, d.greedy, (size_t)d.prompts * d.n_greedy, greedy->data, greedy->n);
		snprintf(output, sizeof(output), "out.%sstep_logits", name);
		if (golden_tensor(&g->io, NULL, "%s", output))
			golden_check(g, output, d.steps, (size_t)d.prompts * d.n_greedy * r.info.vocab);
	}
	decoding_close(&d);
	run_close(&r);
	cJSON_Delete(options);
}

/* Some windows are ignored by other programs: those cases say what comes out then. */
static void decoder_run_full(struct golden *g)
{
	cJSON *config = golden_json(g->path, "config.json");
	char variant[PATH_MAX], *text;

	cJSON_DeleteItemFromObject(config, "sliding_window");
	text = cJSON_PrintUnformatted(config);
	if (text && !variant_make(g->path, text, NULL, variant)) {
		printf("  without its window:\n");
		decoder_run(g, variant, "full_attention.", "f32");
		variant_remove(variant);
	}
	free(text);
	cJSON_Delete(config);
}

void case_decoder(struct golden *g)
{
	char path[PATH_MAX + 64], variant[PATH_MAX];
	static const char *const files[] = { "model.safetensors", "model.safetensors.index.json" };
	int found = 0;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", g->path, files[i]);
		found |= !access(path, R_OK);
	}
	if (found)
		decoder_run(g, g->path, "", "f32");
	snprintf(path, sizeof(path), "%s/config.hub.json", g->path);
	if (!access(path, R_OK) && !variant_make(g->path, "config.hub.json", NULL, variant)) {
		printf("  with config.hub.json:\n");
		decoder_run(g, variant, "", "f32");
		variant_remove(variant);
	}
	if (golden_tensor(&g->io, NULL, "out.full_attention.logits"))
		decoder_run_full(g);
	found += decoder_ggufs(g);
	if (!found)
		golden_skip(g, "it has no weights");
}

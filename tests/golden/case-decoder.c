/* case-decoder.c - causal language models: all logits of a prompt, and greedy tokens step by step. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/golden/part.h"

static void decoder_greedy(struct golden *g, struct run *r)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "I32", "out.greedy_tokens");
	int32_t *ids = want ? calloc(want->n, sizeof(*ids)) : NULL;
	float *steps = want ? calloc(want->n * r->info.vocab, sizeof(float)) : NULL;

	if (ids && steps) {
		const int n = run_greedy(r, g, ids, (uint32_t)want->n, steps, 0);

		golden_check_ids(g, "out.greedy_tokens", ids, n > 0 ? (size_t)n : 0, want->data, want->n);
		if (n > 0 && golden_tensor(&g->io, NULL, "out.step_logits"))
			golden_check(g, "out.step_logits", steps, (size_t)n * r->info.vocab);
	}
	free(ids);
	free(steps);
}

static void decoder_run(struct golden *g, const char *model)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "I32", "in.input_ids");
	struct run r;

	if (!in) {
		golden_fail(g, "io.safetensors has no in.input_ids");
		return;
	}
	if (!run_open(&r, g, model) && !run_step(&r, g, in->data, (uint32_t)in->n, -1, NULL)) {
		r.part.closed_taps = 1;
		part_check_taps(&r.part, g, "hidden_");
		part_check_taps(&r.part, g, "");
		golden_check(g, "out.logits", r.logits, in->n * r.info.vocab);
		decoder_greedy(g, &r);
	}
	run_close(&r);
}

void case_decoder(struct golden *g)
{
	char path[PATH_MAX + 64], variant[PATH_MAX];

	snprintf(path, sizeof(path), "%s/model.safetensors", g->path);
	if (access(path, R_OK)) {
		golden_skip(g, "its weights are GGUF alone");
		return;
	}
	decoder_run(g, g->path);
	snprintf(path, sizeof(path), "%s/config.hub.json", g->path);
	if (!access(path, R_OK) && !variant_make(g->path, "config.hub.json", NULL, variant)) {
		printf("  with config.hub.json:\n");
		decoder_run(g, variant);
		variant_remove(variant);
	}
}

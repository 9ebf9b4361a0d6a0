/* case-llava.c - whole LLaVA bundles, from pixels and a prompt's ids to greedy tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden/pipeline.h"

/* Each picture of in.pixel_values. 0 or -1. */
static int llava_pictures(struct golden *g, struct pipeline *p, const struct golden_tensor *pixels)
{
	const size_t each = pixels->n / (pixels->shape[0] ? pixels->shape[0] : 1);

	for (size_t i = 0; i < pixels->shape[0]; i++) {
		const struct percept_media m = part_pixels((const float *)pixels->data + i * each, (uint32_t)pixels->shape[3],
							   (uint32_t)pixels->shape[2]);

		if (pipeline_picture(p, g, &m))
			return -1;
	}
	return 0;
}

static void llava_last_layer(struct golden *g, const struct pipeline *p)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "F32", "mid.text_after_last");
	char name[64];

	snprintf(name, sizeof(name), "after_layer%u", p->decoder.info.n_layers - 1);
	const struct tap *tap = part_tap(&p->decoder.part, name);

	if (want && tap)
		golden_compare(g, want->name, tap->data, tap->n, want->data, want->n);
}

static void llava_check(struct golden *g, struct pipeline *p)
{
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "out.greedy_ids");
	const size_t n = ids ? ids->n : 0;
	int32_t *got = calloc(n + 1, sizeof(*got));
	float *steps = calloc(n + 1, p->decoder.info.vocab * sizeof(float));

	p->decoder.part.closed_taps = 1;
	part_check_taps(&p->encoder, g, "");
	part_check_taps(&p->encoder, g, "vision_");
	golden_check(g, "mid.connector_input", p->features, p->n_features);
	golden_check(g, "mid.projected", p->embeddings, p->n_embeddings);
	part_check_taps(&p->decoder.part, g, "text_");
	llava_last_layer(g, p);
	golden_check(g, "out.logits", p->decoder.logits, (size_t)p->decoder.n * p->decoder.info.vocab);
	if (got && steps && n) {
		const int done = run_greedy(&p->decoder, g, got, (uint32_t)n, steps, 0);

		golden_check_ids(g, "out.greedy_ids", got, done > 0 ? (size_t)done : 0, ids->data, n);
		if (golden_tensor(&g->io, NULL, "out.step_logits"))
			golden_check(g, "out.step_logits", steps, n * p->decoder.info.vocab);
	}
	free(got);
	free(steps);
}

static void llava_run(struct golden *g, const char *model)
{
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "in.input_ids");
	const struct golden_tensor *pixels = golden_tensor(&g->io, "F32", "in.pixel_values");
	struct pipeline p;

	if (!pipeline_open(&p, g, model) && !llava_pictures(g, &p, pixels) &&
	    !pipeline_prompt(&p, g, ids->data, (uint32_t)ids->n))
		llava_check(g, &p);
	pipeline_close(&p);
}

void case_llava(struct golden *g)
{
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "in.input_ids");
	const struct golden_tensor *pixels = golden_tensor(&g->io, "F32", "in.pixel_values");
	cJSON *config = golden_json(g->path, "config.json");
	const char *tower = cJSON_GetStringValue(
		cJSON_GetObjectItem(cJSON_GetObjectItem(config, "vision_config"), "model_type"));
	char path[PATH_MAX + 64], variant[PATH_MAX];

	if (tower && strcmp(tower, "clip_vision_model") && strcmp(tower, "siglip_vision_model"))
		golden_skip(g, "no plugin for a picture tower of the type %s", tower);
	cJSON_Delete(config);
	if (g->skip[0])
		return;
	if (!ids || !pixels || pixels->rank != 4 || ids->rank != 2 || ids->shape[0] != 1) {
		golden_fail(g, "io.safetensors has not one prompt in in.input_ids and its pictures in in.pixel_values");
		return;
	}
	llava_run(g, g->path);
	snprintf(path, sizeof(path), "%s/config.hub.json", g->path);
	if (!access(path, R_OK) && !variant_make(g->path, "config.hub.json", NULL, variant)) {
		printf("  with config.hub.json:\n");
		llava_run(g, variant);
		variant_remove(variant);
	}
}

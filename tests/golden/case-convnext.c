/* case-convnext.c - ConvNeXt in Hugging Face's files: features are maps. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/golden/towers.h"

/* (places, channels) of each picture as (channels, places). */
static void convnext_check_map(struct golden *g, const char *name, const struct rows *features, size_t pictures, size_t channels)
{
	float *turned = calloc(features->n + 1, sizeof(*turned));
	const size_t each = pictures ? features->n / pictures : 0, places = channels ? each / channels : 0;

	for (size_t i = 0; turned && each && i < features->n; i++) {
		const size_t at = i % each;

		turned[i / each * each + at % channels * places + at / channels] = features->data[i];
	}
	golden_check(g, name, turned, features->n);
	free(turned);
}

static void convnext_run(struct golden *g, const char *model)
{
	const struct golden_tensor *pixels = golden_tensor(&g->io, "F32", "in.pixel_values");
	struct part p = { 0 };
	struct rows features = { 0 }, pooled = { 0 };
	struct percept_encoder_info info = { .size = sizeof(info) };

	if (!part_open(&p, g, "convnext", model, NULL, 1) && !towers_pictures(&p, g, &features, &pooled)) {
		part_encoder(&p)->info(p.instance, &info);
		part_check_taps(&p, g, "");
		convnext_check_map(g, "out.last_hidden_state", &features, pixels->shape[0], info.dim);
		towers_check_tap(&p, g, "pooled", "out.pooled");
		golden_check(g, "out.image_embeds", pooled.data, pooled.n);
	}
	part_close(&p);
	rows_free(&features);
	rows_free(&pooled);
}

void case_convnext(struct golden *g)
{
	char hub[PATH_MAX + 64], variant[PATH_MAX];

	convnext_run(g, g->path);
	snprintf(hub, sizeof(hub), "%s/config.hub.json", g->path);
	if (!access(hub, R_OK) && !variant_make(g->path, "config.hub.json", NULL, variant)) {
		printf("  with config.hub.json:\n");
		convnext_run(g, variant);
		variant_remove(variant);
	}
}

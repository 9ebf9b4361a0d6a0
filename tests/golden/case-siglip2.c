/* case-siglip2.c - SigLIP 2 with NaFlex: pictures given as flattened patches, with a mask and their shapes. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/golden/towers.h"

/* Patches [n][patch][patch][3], row by row, as planar pixels [3][rows * patch][cols * patch]; malloc'ed. */
static float *siglip2_planes(const float *patches, uint32_t rows, uint32_t cols, uint32_t patch)
{
	const size_t width = (size_t)cols * patch, height = (size_t)rows * patch, n = width * height * 3;
	float *planes = malloc((n + 1) * sizeof(*planes));

	for (size_t i = 0; planes && i < n; i++) {
		const size_t at = i / 3 % ((size_t)patch * patch), which = i / 3 / ((size_t)patch * patch);
		const size_t y = which / cols * patch + at / patch, x = which % cols * patch + at % patch;

		planes[(i % 3 * height + y) * width + x] = patches[i];
	}
	return planes;
}

/* 0 or -1. */
static int siglip2_pictures(struct part *p, struct golden *g, struct rows *pooled)
{
	const struct golden_tensor *pixels = golden_tensor(&g->io, "F32", "in.pixel_values");
	const struct golden_tensor *shapes = golden_tensor(&g->io, "I32", "in.spatial_shapes");
	uint32_t patch = 1;

	if (!pixels || !shapes || pixels->rank != 3 || shapes->n != 2 * pixels->shape[0]) {
		golden_fail(g, "io.safetensors has no in.pixel_values and in.spatial_shapes");
		return -1;
	}
	while ((uint64_t)3 * patch * patch < pixels->shape[2])
		patch++;
	for (size_t i = 0; i < pixels->shape[0]; i++) {
		const int32_t *shape = (const int32_t *)shapes->data + 2 * i;
		const uint32_t rows = (uint32_t)shape[0], cols = (uint32_t)shape[1];
		float *planes = (uint64_t)rows * cols <= pixels->shape[1] ?
				siglip2_planes((const float *)pixels->data + i * pixels->shape[1] * pixels->shape[2], rows, cols, patch) : NULL;
		struct percept_media m = part_pixels(planes, cols * patch, rows * patch);
		struct percept_features f = { .size = sizeof(f) };
		const int error = planes ? part_encoder(p)->encode(part_call(p), p->instance, &m, &f) : -1;

		free(planes);
		if (error) {
			part_failed(p, g, error);
			return -1;
		}
		rows_add(pooled, f.pooled, f.pooled_dim);
	}
	return 0;
}

static void siglip2_run(struct golden *g, const char *config)
{
	cJSON *json = golden_json(g->path, config);
	const cJSON *vocab = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "text_config"), "vocab_size");
	char variant[PATH_MAX], *tokenizer = towers_tokenizer(cJSON_IsNumber(vocab) ? (uint32_t)vocab->valueint : 256000, "<|%u|>");
	struct part p = { 0 };
	struct rows images = { 0 }, texts = { 0 };
	struct percept_encoder_info info = { .size = sizeof(info) };

	cJSON_Delete(json);
	if (variant_make(g->path, config, tokenizer, variant)) {
		golden_fail(g, "the folder cannot be linked to");
	} else {
		if (!part_open(&p, g, "siglip2", variant, NULL, 1) && !siglip2_pictures(&p, g, &images)) {
			const int with_texts = golden_tensor(&g->io, "I32", "in.input_ids") && !towers_texts(&p, g, &texts);

			part_encoder(&p)->info(p.instance, &info);
			golden_check(g, "out.image_pooled", images.data, images.n);
			golden_check(g, "out.pooled", images.data, images.n);
			towers_normalise(&images, info.pooled_dim);
			golden_check(g, "out.image_embeds", images.data, images.n);
			if (with_texts) {
				towers_check_tap(&p, g, "text_pooled", "out.text_pooled");
				towers_normalise(&texts, info.pooled_dim);
				golden_check(g, "out.text_embeds", texts.data, texts.n);
				towers_similarity(g, "model.safetensors", &images, &texts, info.pooled_dim, 1);
			}
		}
		part_close(&p);
		variant_remove(variant);
	}
	free(tokenizer);
	rows_free(&images);
	rows_free(&texts);
}

void case_siglip2(struct golden *g)
{
	char hub[PATH_MAX + 64];

	siglip2_run(g, "config.json");
	snprintf(hub, sizeof(hub), "%s/config.hub.json", g->path);
	if (!access(hub, R_OK)) {
		printf("  with config.hub.json:\n");
		siglip2_run(g, "config.hub.json");
	}
}

/* case-clip.c - the towers of CLIP and its relatives through their encoders. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden/towers.h"

/* The reference's "pooled" is before or after the projection, by its version: the number of values tells. */
static void clip_check_pooled(struct part *p, struct golden *g, const char *tap, const char *name, const struct rows *projected)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "F32", "%s", name);

	if (want && want->n == projected->n)
		golden_check(g, name, projected->data, projected->n);
	else
		towers_check_tap(p, g, tap, name);
}

/* The plugin of a model_type, by its beginning. */
static const char *clip_plugin(const char *type)
{
	static const char *const plugins[][2] = { { "dinov2", "dinov2" }, { "vit", "vit" }, { "siglip", "siglip" }, { "blip", "blip" },
						  { "instructblip", "blip" } };

	for (size_t i = 0; type && i < sizeof(plugins) / sizeof(*plugins); i++)
		if (!strncmp(type, plugins[i][0], strlen(plugins[i][0])))
			return plugins[i][1];
	return "clip";
}

static void clip_vision(struct golden *g, const char *model, const cJSON *options)
{
	struct part p;
	struct rows features = { 0 }, pooled = { 0 };

	cJSON *config = golden_json(model, "config.json");
	const char *plugin = clip_plugin(cJSON_GetStringValue(cJSON_GetObjectItem(config, "model_type")));

	if (!part_open(&p, g, plugin, model, options, 1) && !towers_pictures(&p, g, &features, &pooled)) {
		part_check_taps(&p, g, "");
		golden_check(g, "out.llava_feature", features.data, features.n);
		towers_check_tap(&p, g, part_tap(&p, "last_hidden_state") ? "last_hidden_state" : "final", "out.last_hidden_state");
		towers_check_tap(&p, g, "pooled", "out.pooler_output");
		towers_check_tap(&p, g, "pooled", "out.pooled");
		golden_check(g, "out.image_embeds", pooled.data, pooled.n);
	}
	part_close(&p);
	cJSON_Delete(config);
	rows_free(&features);
	rows_free(&pooled);
}

/* Whether the pictures are of another size than the tower's. */
static int clip_other_size(const struct golden *g)
{
	const struct golden_tensor *pixels = golden_tensor(&g->io, "F32", "in.pixel_values");
	cJSON *config = golden_json(g->path, "config.json");
	const cJSON *inner = cJSON_GetObjectItem(config, "vision_config");
	const cJSON *size = cJSON_GetObjectItem(inner ? inner : config, "image_size");
	const uint64_t side = cJSON_IsNumber(size) ? (uint64_t)size->valuedouble : 224;
	const int other = pixels && pixels->rank == 4 && (pixels->shape[2] != side || pixels->shape[3] != side);

	cJSON_Delete(config);
	return other;
}

void case_clip_vision(struct golden *g)
{
	cJSON *call = golden_json(g->path, "call.json"), *options = cJSON_CreateObject();
	char hub[PATH_MAX + 64], variant[PATH_MAX];

	if (cJSON_IsTrue(cJSON_GetObjectItem(call, "interpolate")) || clip_other_size(g))
		cJSON_AddStringToObject(options, "interpolate", "true");
	clip_vision(g, g->path, options);
	snprintf(hub, sizeof(hub), "%s/config.hub.json", g->path);
	if (!access(hub, R_OK) && !variant_make(g->path, "config.hub.json", NULL, variant)) {
		printf("  with config.hub.json:\n");
		clip_vision(g, variant, options);
		variant_remove(variant);
	}
	cJSON_Delete(call);
	cJSON_Delete(options);
}

static void clip_full(struct golden *g, const char *config)
{
	cJSON *json = golden_json(g->path, config);
	const cJSON *vocab = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "text_config"), "vocab_size");
	char variant[PATH_MAX], *tokenizer = towers_tokenizer(cJSON_IsNumber(vocab) ? (uint32_t)vocab->valueint : 49408, "<|%u|>");
	struct part p = { 0 };
	struct rows features = { 0 }, images = { 0 }, texts = { 0 };
	struct percept_encoder_info info = { .size = sizeof(info) };

	const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(json, "model_type"));
	const int siglip = type && !strcmp(type, "siglip");

	cJSON_Delete(json);
	if (variant_make(g->path, config, tokenizer, variant)) {
		golden_fail(g, "the folder cannot be linked to");
	} else {
		if (!part_open(&p, g, siglip ? "siglip" : "clip", variant, NULL, 1) && !towers_pictures(&p, g, &features, &images) &&
		    !towers_texts(&p, g, &texts)) {
			part_encoder(&p)->info(p.instance, &info);
			part_check_taps(&p, g, "image_");
			part_check_taps(&p, g, "");
			clip_check_pooled(&p, g, "pooled", "out.image_pooled", &images);
			clip_check_pooled(&p, g, "text_pooled", "out.text_pooled", &texts);
			towers_normalise(&images, info.pooled_dim);
			towers_normalise(&texts, info.pooled_dim);
			golden_check(g, "out.image_embeds", images.data, images.n);
			golden_check(g, "out.text_embeds", texts.data, texts.n);
			towers_similarity(g, "model.safetensors", &images, &texts, info.pooled_dim, siglip);
		}
		part_close(&p);
		variant_remove(variant);
	}
	free(tokenizer);
	rows_free(&features);
	rows_free(&images);
	rows_free(&texts);
}

void case_clip(struct golden *g)
{
	size_t n;
	char *hub = golden_read(g->path, "config.hub.json", &n);

	clip_full(g, "config.json");
	if (hub) {
		printf("  with config.hub.json:\n");
		clip_full(g, "config.hub.json");
	}
	free(hub);
}

/* case-openclip.c - towers in the files of other libraries than Hugging Face's: OpenCLIP's folders, and timm's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden/towers.h"

/* The plugin of OpenCLIP's picture tower. */
static const char *openclip_plugin(const cJSON *model)
{
	const char *timm = cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(model, "vision_cfg"), "timm_model_name"));

	return !timm ? "openclip" : strstr(timm, "convnext") ? "convnext" : strstr(timm, "vit_") ? "vit" : "eva";
}

static void openclip_run(struct golden *g, const char *plugin, const char *folder)
{
	struct part p = { 0 };
	struct rows features = { 0 }, images = { 0 }, texts = { 0 };
	struct percept_encoder_info info = { .size = sizeof(info) };

	if (!part_open(&p, g, plugin, folder, NULL, 1) && !towers_pictures(&p, g, &features, &images) && !towers_texts(&p, g, &texts)) {
		part_encoder(&p)->info(p.instance, &info);
		part_check_taps(&p, g, "");
		golden_check(g, "out.image_embeds", images.data, images.n);
		golden_check(g, "out.text_embeds", texts.data, texts.n);
		towers_normalise(&images, info.pooled_dim);
		towers_normalise(&texts, info.pooled_dim);
		towers_similarity(g, "open_clip_model.safetensors", &images, &texts, info.pooled_dim, 0);
	}
	part_close(&p);
	rows_free(&features);
	rows_free(&images);
	rows_free(&texts);
}

void case_openclip(struct golden *g)
{
	cJSON *json = golden_json(g->path, "open_clip_config.json");
	const cJSON *model = cJSON_GetObjectItem(json, "model_cfg"), *vocab = NULL;
	char variant[PATH_MAX];

	vocab = cJSON_GetObjectItem(cJSON_GetObjectItem(model, "text_cfg"), "vocab_size");
	char *tokenizer = towers_tokenizer(cJSON_IsNumber(vocab) ? (uint32_t)vocab->valueint : 49408, "<|%u|>");

	if (variant_make(g->path, NULL, tokenizer, variant)) {
		golden_fail(g, "the folder cannot be linked to");
	} else {
		openclip_run(g, openclip_plugin(model), variant);
		variant_remove(variant);
	}
	free(tokenizer);
	cJSON_Delete(json);
}

void case_eva(struct golden *g)
{
	struct part p = { 0 };
	struct rows features = { 0 }, pooled = { 0 };

	if (!part_open(&p, g, "eva", g->path, NULL, 1) && !towers_pictures(&p, g, &features, &pooled)) {
		part_check_taps(&p, g, "");
		towers_check_tap(&p, g, "last_hidden_state", "out.features");
		towers_check_tap(&p, g, "pooled", "out.pooled");
		golden_check(g, "out.image_embeds", pooled.data, pooled.n);
	}
	part_close(&p);
	rows_free(&features);
	rows_free(&pooled);
}

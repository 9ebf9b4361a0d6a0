/* case-clip.c - the towers of CLIP and its relatives through their encoders. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden/part.h"

/* Rows that grow: one a call. */
struct rows {
	float *data;
	size_t n;
};

static void rows_add(struct rows *r, const float *data, size_t n)
{
	float *all = data ? realloc(r->data, (r->n + n) * sizeof(float)) : NULL;

	if (!all)
		return;
	memcpy(all + r->n, data, n * sizeof(float));
	r->data = all;
	r->n += n;
}

/* Each picture of in.pixel_values by itself. 0 or -1. */
static int clip_pictures(struct part *p, struct golden *g, struct rows *features, struct rows *pooled)
{
	const struct golden_tensor *pixels = golden_tensor(&g->io, "F32", "in.pixel_values");

	if (!pixels || pixels->rank != 4) {
		golden_fail(g, "io.safetensors has no in.pixel_values");
		return -1;
	}
	const size_t each = pixels->n / pixels->shape[0];

	for (size_t i = 0; i < pixels->shape[0]; i++) {
		struct percept_media m = part_pixels((const float *)pixels->data + i * each, (uint32_t)pixels->shape[3],
						     (uint32_t)pixels->shape[2]);
		struct percept_features f = { .size = sizeof(f) };
		const int error = part_encoder(p)->encode(part_call(p), p->instance, &m, &f);

		if (error) {
			part_failed(p, g, error);
			return -1;
		}
		rows_add(features, f.data, (size_t)f.layout.items * f.layout.tokens * f.layout.dim);
		rows_add(pooled, f.pooled, f.pooled_dim);
	}
	return 0;
}

static void clip_check_tap(struct part *p, struct golden *g, const char *tap, const char *name)
{
	const struct tap *t = part_tap(p, tap);

	golden_check(g, name, t ? t->data : NULL, t ? t->n : 0);
}

/* The reference's "pooled" is before or after the projection, by its version: the number of values tells. */
static void clip_check_pooled(struct part *p, struct golden *g, const char *tap, const char *name, const struct rows *projected)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "F32", "%s", name);

	if (want && want->n == projected->n)
		golden_check(g, name, projected->data, projected->n);
	else
		clip_check_tap(p, g, tap, name);
}

static void clip_vision(struct golden *g, const char *model, const cJSON *options)
{
	struct part p;
	struct rows features = { 0 }, pooled = { 0 };

	cJSON *config = golden_json(model, "config.json");
	const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(config, "model_type"));
	const char *plugin = type && (!strcmp(type, "dinov2") || !strcmp(type, "vit")) ? type : "clip";

	if (!part_open(&p, g, plugin, model, options, 1) && !clip_pictures(&p, g, &features, &pooled)) {
		part_check_taps(&p, g, "");
		golden_check(g, "out.llava_feature", features.data, features.n);
		clip_check_tap(&p, g, part_tap(&p, "last_hidden_state") ? "last_hidden_state" : "final", "out.last_hidden_state");
		clip_check_tap(&p, g, "pooled", "out.pooler_output");
		clip_check_tap(&p, g, "pooled", "out.pooled");
		golden_check(g, "out.image_embeds", pooled.data, pooled.n);
	}
	part_close(&p);
	cJSON_Delete(config);
	free(features.data);
	free(pooled.data);
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

/* A tokenizer.json whose token i is written "<|i|>", so that ids can be given as text. */
static char *clip_tokenizer(uint32_t vocab)
{
	cJSON *root = cJSON_CreateObject(), *model = cJSON_AddObjectToObject(root, "model");
	cJSON *added = cJSON_AddArrayToObject(root, "added_tokens"), *ids = NULL;
	char name[32];

	cJSON_AddStringToObject(root, "version", "1.0");
	cJSON_AddStringToObject(model, "type", "BPE");
	ids = cJSON_AddObjectToObject(model, "vocab");
	cJSON_AddItemToObject(model, "merges", cJSON_CreateArray());
	cJSON *pre = cJSON_AddObjectToObject(root, "pre_tokenizer");

	cJSON_AddStringToObject(pre, "type", "ByteLevel");
	cJSON_AddBoolToObject(pre, "add_prefix_space", 0);
	cJSON_AddBoolToObject(pre, "use_regex", 1);
	cJSON *decoder = cJSON_AddObjectToObject(root, "decoder");

	cJSON_AddStringToObject(decoder, "type", "ByteLevel");
	for (uint32_t i = 0; i < vocab; i++) {
		static const char *const flags[] = { "single_word", "lstrip", "rstrip", "normalized" };
		cJSON *token = cJSON_CreateObject();

		snprintf(name, sizeof(name), "<|%u|>", i);
		cJSON_AddNumberToObject(ids, name, i);
		cJSON_AddNumberToObject(token, "id", i);
		cJSON_AddStringToObject(token, "content", name);
		for (size_t k = 0; k < 4; k++)
			cJSON_AddBoolToObject(token, flags[k], 0);
		cJSON_AddBoolToObject(token, "special", 1);
		cJSON_AddItemToArray(added, token);
	}
	char *text = cJSON_PrintUnformatted(root);

	cJSON_Delete(root);
	return text;
}

/* Each row of in.input_ids, as far as its mask goes. 0 or -1. */
static int clip_texts(struct part *p, struct golden *g, struct rows *out)
{
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "in.input_ids");
	const struct golden_tensor *mask = golden_tensor(&g->io, "I32", "in.attention_mask");
	struct percept_encoder_info info = { .size = sizeof(info) };

	if (!ids || ids->rank != 2 || ids->shape[1] > 1000 || (mask && mask->n != ids->n)) {
		golden_fail(g, "io.safetensors has no in.input_ids");
		return -1;
	}
	part_encoder(p)->info(p->instance, &info);
	for (size_t r = 0; r < ids->shape[0]; r++) {
		const size_t n = ids->shape[1];
		char text[20000] = "";
		const float *pooled = NULL;

		for (size_t i = 0, at = 0; i < n; i++) {
			if (!mask || ((const int32_t *)mask->data)[r * n + i])
				at += (size_t)sprintf(text + at, "<|%d|>", ((const int32_t *)ids->data)[r * n + i]);
		}
		const int error = part_encoder(p)->encode_text(part_call(p), p->instance, text, &pooled);

		if (error) {
			part_failed(p, g, error);
			return -1;
		}
		rows_add(out, pooled, info.pooled_dim);
	}
	return 0;
}

/* x / |x| of each row. */
static void clip_normalise(struct rows *r, size_t dim)
{
	for (size_t i = 0; dim && i + dim <= r->n; i += dim) {
		double sum = 0;

		for (size_t k = 0; k < dim; k++)
			sum += (double)r->data[i + k] * r->data[i + k];
		for (size_t k = 0; k < dim; k++)
			r->data[i + k] = (float)(r->data[i + k] / sqrt(sum));
	}
}

/* exp(logit_scale) * images texts^T, its transpose, and the softmax over texts; SigLIP: plus a bias, and the sigmoid. */
static void clip_similarity(struct golden *g, const struct rows *images, const struct rows *texts, size_t dim, int siglip)
{
	const size_t n = images->n / dim, m = texts->n / dim;
	struct golden_tensors weights;

	if (golden_tensors_open(&weights, g->path, "model.safetensors"))
		return;
	const struct golden_tensor *scale = golden_tensor(&weights, "F32", "logit_scale");
	const struct golden_tensor *bias = golden_tensor(&weights, "F32", "logit_bias");
	const double shift = bias ? *(const float *)bias->data : 0;
	float *all = scale ? calloc(3 * n * m, sizeof(float)) : NULL;

	for (size_t i = 0; all && i < n; i++) {
		double total = 0;

		for (size_t j = 0; j < m; j++) {
			double s = 0;

			for (size_t k = 0; k < dim; k++)
				s += (double)images->data[i * dim + k] * texts->data[j * dim + k];
			all[i * m + j] = all[n * m + j * n + i] = (float)(exp(*(const float *)scale->data) * s + shift);
			total += exp(all[i * m + j]);
		}
		for (size_t j = 0; j < m; j++)
			all[2 * n * m + i * m + j] = siglip ? 1 / (1 + expf(-all[i * m + j])) : (float)(exp(all[i * m + j]) / total);
	}
	golden_check(g, "out.logits_per_image", all, n * m);
	golden_check(g, "out.logits_per_text", all ? all + n * m : NULL, n * m);
	golden_check(g, "out.probs", all ? all + 2 * n * m : NULL, n * m);
	free(all);
	golden_tensors_close(&weights);
}

static void clip_full(struct golden *g, const char *config)
{
	cJSON *json = golden_json(g->path, config);
	const cJSON *vocab = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "text_config"), "vocab_size");
	char variant[PATH_MAX], *tokenizer = clip_tokenizer(cJSON_IsNumber(vocab) ? (uint32_t)vocab->valueint : 49408);
	struct part p = { 0 };
	struct rows features = { 0 }, images = { 0 }, texts = { 0 };
	struct percept_encoder_info info = { .size = sizeof(info) };

	const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(json, "model_type"));
	const int siglip = type && !strcmp(type, "siglip");

	cJSON_Delete(json);
	if (variant_make(g->path, config, tokenizer, variant)) {
		golden_fail(g, "the folder cannot be linked to");
	} else {
		if (!part_open(&p, g, siglip ? "siglip" : "clip", variant, NULL, 1) && !clip_pictures(&p, g, &features, &images) &&
		    !clip_texts(&p, g, &texts)) {
			part_encoder(&p)->info(p.instance, &info);
			part_check_taps(&p, g, "image_");
			part_check_taps(&p, g, "");
			clip_check_pooled(&p, g, "pooled", "out.image_pooled", &images);
			clip_check_pooled(&p, g, "text_pooled", "out.text_pooled", &texts);
			clip_normalise(&images, info.pooled_dim);
			clip_normalise(&texts, info.pooled_dim);
			golden_check(g, "out.image_embeds", images.data, images.n);
			golden_check(g, "out.text_embeds", texts.data, texts.n);
			clip_similarity(g, &images, &texts, info.pooled_dim, siglip);
		}
		part_close(&p);
		variant_remove(variant);
	}
	free(tokenizer);
	free(features.data);
	free(images.data);
	free(texts.data);
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

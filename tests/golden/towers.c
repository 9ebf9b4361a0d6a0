/* towers.c - what cases of picture and text towers share. */
#include "tests/golden/towers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rows_add(struct rows *r, const float *data, size_t n)
{
	float *all = data ? realloc(r->data, (r->n + n) * sizeof(float)) : NULL;

	if (!all)
		return;
	memcpy(all + r->n, data, n * sizeof(float));
	r->data = all;
	r->n += n;
}

void rows_free(struct rows *r)
{
	free(r->data);
}

int towers_pictures(struct part *p, struct golden *g, struct rows *features, struct rows *pooled)
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

void towers_check_tap(struct part *p, struct golden *g, const char *tap, const char *name)
{
	const struct tap *t = part_tap(p, tap);

	golden_check(g, name, t ? t->data : NULL, t ? t->n : 0);
}

char *towers_tokenizer(uint32_t vocab, const char *format)
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

		snprintf(name, sizeof(name), format, i);
		cJSON_AddNumberToObject(ids, name, i);
		cJSON_AddNumberToObject(token, "id", i);
		cJSON_AddStringToObject(token, "content", name);
		for (size_t k = 0; k < 4; k++)
			cJSON_AddBoolToObject(token, flags[k], 0);
		cJSON_AddBoolToObject(token, "special", format[0] == '<');
		cJSON_AddItemToArray(added, token);
	}
	char *text = cJSON_PrintUnformatted(root);

	cJSON_Delete(root);
	return text;
}

int towers_texts(struct part *p, struct golden *g, struct rows *out)
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

void towers_normalise(struct rows *r, size_t dim)
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
void towers_similarity(struct golden *g, const char *file, const struct rows *images, const struct rows *texts, size_t dim, int siglip)
{
	const size_t n = images->n / dim, m = texts->n / dim;
	struct golden_tensors weights;

	if (golden_tensors_open(&weights, g->path, file))
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

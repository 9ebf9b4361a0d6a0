/* case-e2e.c - goldens.json: pictures and questions to a bundled model, and its whole answers. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sdk/wire/place.h"
#include "tests/golden/pipeline.h"

enum { E2E_TOKENS = 512 };

/* The model that goldens.json names: beside the folder, in ../models, or where models are found. 0 or -1. */
static int e2e_model(const struct golden *g, const char *name, char path[PATH_MAX])
{
	static const char *const places[] = { "%s/%s", "%s/../%s", "%s/../models/%s", "%s/../../models/%s",
					      "%s/../../../models/%s" };
	char file[PATH_MAX + 32];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const int n = snprintf(path, PATH_MAX, places[i], g->path, name);

		if (n < 0 || n >= PATH_MAX)
			continue;
		snprintf(file, sizeof(file), "%s/config.json", path);
		if (!access(file, R_OK))
			return 0;
	}
	char *folders = place_model_path(NULL);
	const int error = folders ? place_find(folders, name, path) : -1;

	free(folders);
	return error ? -1 : 0;
}

/* A list of whole numbers, malloc'ed. */
static int32_t *e2e_ids(const cJSON *list, size_t *n)
{
	int32_t *ids = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*ids));
	const cJSON *id;

	*n = 0;
	if (!ids)
		return NULL;
	cJSON_ArrayForEach(id, list)
		ids[(*n)++] = id->valueint;
	return ids;
}

static void e2e_item(struct golden *g, struct pipeline *p, const struct golden_tensors *tensors, const cJSON *item)
{
	const int number = cJSON_GetObjectItem(item, "id") ? cJSON_GetObjectItem(item, "id")->valueint : 0;
	const struct golden_tensor *pixels = golden_tensor(tensors, "F32", "%02d.pixel_values", number);
	const struct golden_tensor *first = golden_tensor(tensors, "F32", "%02d.first_logits", number);
	size_t n_in, n_out;
	int32_t *in = e2e_ids(cJSON_GetObjectItem(item, "input_ids"), &n_in), got[E2E_TOKENS];
	int32_t *want = e2e_ids(cJSON_GetObjectItem(item, "output_ids"), &n_out);
	char name[64];
	int failed = 0;

	pipeline_begin(p);
	if (pixels && pixels->rank >= 3) {
		const uint64_t *shape = pixels->shape + pixels->rank - 2;
		const size_t each = 3 * shape[0] * shape[1];

		for (size_t i = 0; each && i + each <= pixels->n && !failed; i += each) {
			const struct percept_media m = part_pixels((const float *)pixels->data + i, (uint32_t)shape[1],
								   (uint32_t)shape[0]);

			failed = pipeline_picture(p, g, &m);
		}
	}
	if (!failed && in && want && n_out <= E2E_TOKENS && !pipeline_prompt(p, g, in, (uint32_t)n_in)) {
		snprintf(name, sizeof(name), "%02d first_logits", number);
		if (first)
			golden_compare(g, name, p->decoder.logits + (n_in - 1) * p->decoder.info.vocab, p->decoder.info.vocab,
				       first->data, first->n);
		snprintf(name, sizeof(name), "%02d output_ids", number);
		const int n = run_greedy(&p->decoder, g, got, (uint32_t)n_out, NULL, 1);

		golden_check_ids(g, name, got, n > 0 ? (size_t)n : 0, want, n_out);
	}
	free(in);
	free(want);
}

void case_e2e(struct golden *g)
{
	cJSON *json = golden_json(g->path, "goldens.json");
	const cJSON *note = cJSON_GetObjectItem(json, "note"), *item;
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(note, "model"));
	struct golden_tensors tensors = { 0 };
	struct pipeline p = { 0 };
	char model[PATH_MAX];

	/* goldens.json gives none: these are those of the other whole models, for the same arithmetic. */
	g->abs = 1e-4;
	g->rel = 4e-4;
	if (!name || e2e_model(g, name, model)) {
		golden_skip(g, "the model %s is not found", name ? name : "of goldens.json");
	} else if (golden_tensors_open(&tensors, g->path, "goldens.safetensors")) {
		golden_skip(g, "it has no goldens.safetensors");
	} else if (!pipeline_open(&p, g, model)) {
		p.encoder.closed_taps = p.connector.closed_taps = p.decoder.part.closed_taps = 1;
		cJSON_ArrayForEach(item, cJSON_GetObjectItem(json, "items"))
			e2e_item(g, &p, &tensors, item);
	}
	pipeline_close(&p);
	golden_tensors_close(&tensors);
	cJSON_Delete(json);
}

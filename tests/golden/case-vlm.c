/* case-vlm.c - whole vision-language models, from pictures and a prompt's ids to greedy tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden/pairs.h"
#include "tests/golden/picture.h"
#include "tests/golden/pipeline.h"
#include "tests/golden/qformer.h"

/* Pixels [pictures][3][height][width] that are one picture each, *shape being those four: what a processor makes of a picture that it does
 * not divide. Of [1][pictures][3][height][width], which may as well be divided, those of cases without files. NULL: there are none. */
static const struct golden_tensor *vlm_pixels(const struct golden *g, const uint64_t **shape)
{
	const struct golden_tensor *pixels = golden_tensor(&g->io, "F32", "in.pixel_values");
	const cJSON *files = cJSON_GetObjectItem(g->info, "images");
	const uint32_t rank = pixels ? pixels->rank : 0;

	if (rank != 4 && (rank != 5 || pixels->shape[0] != 1 || files))
		return NULL;
	*shape = pixels->shape + rank - 4;
	return (*shape)[1] == 3 && (!files || (uint64_t)cJSON_GetArraySize(files) == (*shape)[0]) ? pixels : NULL;
}

/* The case's picture files. 0 or -1. */
static int vlm_files(struct golden *g, struct pipeline *p)
{
	const cJSON *file;

	cJSON_ArrayForEach(file, cJSON_GetObjectItem(g->info, "images")) {
		struct percept_media media;
		int failed = !cJSON_IsString(file) || picture_open(&media, g->path, file->valuestring);

		if (failed) {
			golden_fail(g, "a picture of the case cannot be decoded");
			return -1;
		}
		failed = pipeline_picture(p, g, &media);
		picture_close(&media);
		if (failed)
			return -1;
	}
	return 0;
}

/* Features [pictures][rows][dim] in the pictures' place. 0 or -1. */
static int vlm_features(struct golden *g, struct pipeline *p, const struct golden_tensor *in)
{
	for (size_t i = 0; in->rank == 3 && i < in->shape[0]; i++) {
		const struct percept_features f = {
			.size = sizeof(f), .data = (const float *)in->data + i * in->shape[1] * in->shape[2],
			.layout = { .size = sizeof(f.layout), .items = 1, .tokens = (uint32_t)in->shape[1], .dim = (uint32_t)in->shape[2] },
		};

		if (pipeline_features(p, g, &f))
			return -1;
	}
	return 0;
}

static int vlm_pictures(struct golden *g, struct pipeline *p)
{
	const struct golden_tensor *features = golden_tensor(&g->io, "F32", "in.features");
	const uint64_t *shape = NULL;
	const struct golden_tensor *pixels = vlm_pixels(g, &shape);

	if (features)
		return vlm_features(g, p, features);
	for (size_t i = 0; pixels && i < shape[0]; i++) {
		const size_t each = pixels->n / shape[0];
		const struct percept_media m = part_pixels((const float *)pixels->data + i * each, (uint32_t)shape[3],
							   (uint32_t)shape[2]);

		if (pipeline_picture(p, g, &m))
			return -1;
	}
	return pixels ? 0 : vlm_files(g, p);
}

static void vlm_last_layer(struct golden *g, const struct pipeline *p)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "F32", "mid.text_after_last");
	char name[64];

	snprintf(name, sizeof(name), "after_layer%u", p->decoder.info.n_layers - 1);
	const struct tap *tap = part_tap(&p->decoder.part, name);

	if (want && tap)
		golden_compare(g, want->name, tap->data, tap->n, want->data, want->n);
}

static void vlm_check(struct golden *g, struct pipeline *p)
{
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "out.greedy_ids");
	const size_t n = ids ? ids->n : 0;
	int32_t *got = calloc(n + 1, sizeof(*got));
	float *steps = calloc(n + 1, p->decoder.info.vocab * sizeof(float));

	p->decoder.part.closed_taps = 1;
	part_check_taps(&p->encoder, g, "");
	part_check_taps(&p->encoder, g, "vision_");
	part_check_taps(&p->connector, g, "");
	/* An encoder that shows what the reference's connector takes gives its rows in another order, and a connector that shows what
	 * it projected puts them into another; what Q-Formers give is what the reference calls by the first name. */
	const struct tap *queries = part_tap(&p->connector, "queries");
	const int ordered = !part_tap(&p->encoder, "connector_input");

	if (ordered)
		golden_check(g, "mid.connector_input", queries ? queries->data : p->features, queries ? queries->n : p->n_features);
	if (ordered && !part_tap(&p->connector, "projected") && p->n_embeddings)
		golden_check(g, "mid.projected", p->embeddings, p->n_embeddings);
	part_check_taps(&p->decoder.part, g, "text_");
	/* What hooks show goes the decoder's way. */
	if (fusion_is(p))
		part_check_taps(&p->decoder.part, g, "");
	vlm_last_layer(g, p);
	golden_check(g, "out.logits", p->decoder.logits, (size_t)p->decoder.n * p->decoder.info.vocab);
	if (got && steps && n && !(run_encodes(&p->decoder) && run_start(&p->decoder, g))) {
		const int done = run_greedy(&p->decoder, g, got, (uint32_t)n, steps, 0);

		golden_check_ids(g, "out.greedy_ids", got, done > 0 ? (size_t)done : 0, ids->data, n);
		if (golden_tensor(&g->io, NULL, "out.step_logits"))
			golden_check(g, "out.step_logits", steps, n * p->decoder.info.vocab);
	}
	free(got);
	free(steps);
}

/* The rows' positions, and the next token's, where the case says them. */
static void vlm_positions(struct golden *g, const struct pipeline *p)
{
	const uint32_t n = p->decoder.n;
	struct golden_tensors file = { 0 };
	int32_t *got = calloc((size_t)n * 3 + 1, sizeof(*got));

	if (got && !golden_tensors_open(&file, g->path, "mrope.safetensors")) {
		const struct golden_tensor *want = golden_tensor(&file, "I32", "position_ids");
		const struct golden_tensor *delta = golden_tensor(&file, "I32", "rope_delta");
		const int32_t after = p->decoder.position - (int32_t)n;

		for (size_t i = 0; i < (size_t)n * 3; i++)
			got[i] = p->decoder.rows[i % n].position[i / n];
		if (want)
			golden_check_ids(g, "position_ids", got, (size_t)n * 3, want->data, want->n);
		if (delta)
			golden_check_ids(g, "rope_delta", &after, 1, delta->data, delta->n);
	}
	golden_tensors_close(&file);
	free(got);
}

/* What an encoder-decoder has decoded before its logits are looked at. 0 or -1. */
static int vlm_decoded(struct golden *g, struct pipeline *p)
{
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "in.decoder_input_ids");

	if (!run_encodes(&p->decoder))
		return 0;
	return ids ? run_step(&p->decoder, g, ids->data, (uint32_t)ids->n) : run_start(&p->decoder, g);
}

static void vlm_run(struct golden *g, const char *model)
{
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "in.input_ids");
	char text[QFORMER_TEXT_MAX];
	struct pipeline p;
	int failed = pipeline_open(&p, g, model);

	p.instruction = qformer_words(g, 0, text) ? text : NULL;
	if (!failed && !vlm_pictures(g, &p) && !pipeline_prompt(&p, g, ids->data, (uint32_t)ids->n)) {
		vlm_positions(g, &p);
		if (vlm_decoded(g, &p))
			golden_fail(g, "the decoder's rows could not be run");
		else
			vlm_check(g, &p);
	}
	pipeline_close(&p);
}

void case_vlm(struct golden *g)
{
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "in.input_ids");
	static const char *const files[] = { "config.json", "config.hub.json" };
	char path[PATH_MAX + 64], variant[PATH_MAX];

	if (golden_tensor(&g->io, NULL, "in.pixel_values_videos")) {
		golden_skip(g, "it is a case of video");
		return;
	}
	if (!ids || ids->rank != 2 || ids->shape[0] != 1) {
		golden_fail(g, "io.safetensors has not one prompt in in.input_ids");
		return;
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", g->path, files[i]);
		if (access(path, R_OK))
			continue;
		if (i)
			printf("  with %s:\n", files[i]);
		if (golden_tensor(&g->io, NULL, "in.qformer_input_ids") ? qformer_variant(g, files[i], variant) :
									  variant_make(g->path, files[i], NULL, variant)) {
			golden_fail(g, "the folder cannot be linked to");
			continue;
		}
		vlm_run(g, variant);
		variant_remove(variant);
	}
	pairs_run(g, vlm_run);
}

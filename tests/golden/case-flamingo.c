/* case-flamingo.c - Flamingo's parts by themselves: the resampler on features, and a block of gated cross-attention on hidden rows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden/part.h"

/* Features [1][pictures][frames][rows][dim]: all pictures in one call, `frames` pieces at a time. */
void case_resampler(struct golden *g)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "F32", "in.features");
	cJSON *options = cJSON_CreateObject();
	struct part p = { 0 };

	if (!in || in->rank != 5) {
		golden_fail(g, "io.safetensors has no in.features of pictures and frames");
		cJSON_Delete(options);
		return;
	}
	cJSON_AddNumberToObject(options, "frames", (double)in->shape[2]);
	if (!part_open(&p, g, "resampler", g->path, options, 1)) {
		struct percept_features f = {
			.size = sizeof(f),
			.layout = { .size = sizeof(f.layout), .items = (uint32_t)(in->shape[1] * in->shape[2]),
				    .tokens = (uint32_t)in->shape[3], .dim = (uint32_t)in->shape[4] },
		};
		const struct golden_tensor *want = golden_tensor(&g->io, "F32", "out.latents");
		float *all = calloc((want ? want->n : 0) + 1, sizeof(*all));
		size_t n = 0;

		for (size_t b = 0; b < in->shape[0] && all; b++) {
			struct percept_embeddings e = { .size = sizeof(e) };

			f.data = (const float *)in->data + b * (in->n / in->shape[0]);
			const int error = part_connector(&p)->connect(part_call(&p), p.instance, &f, NULL, &e);

			if (error)
				part_failed(&p, g, error);
			for (size_t i = 0; !error && i < (size_t)e.n * e.dim && want && n < want->n; i++)
				all[n++] = e.data[i];
		}
		part_check_taps(&p, g, "");
		golden_check(g, "out.latents", all, n);
		free(all);
	}
	part_close(&p);
	cJSON_Delete(options);
}

/* Prompts [prompts][rows][d_model] whose pictures [prompts][pictures][rows][dim] begin where in.media_locations says. */
struct crossing {
	const struct golden_tensor *hidden, *media, *places;
	uint32_t prompts, length, pictures;
	void **memories; /* [prompts * pictures] */
};

/* Remembers and binds all pictures. 0 or -1. */
static int crossing_bind(struct crossing *x, struct part *p, struct golden *g)
{
	const size_t each = x->media->n / x->media->shape[0] / x->media->shape[1];

	for (uint32_t i = 0; i < x->prompts * x->pictures; i++) {
		const struct percept_features f = {
			.size = sizeof(f), .data = (const float *)x->media->data + i * each,
			.layout = { .size = sizeof(f.layout), .items = 1, .tokens = (uint32_t)x->media->shape[2],
				    .dim = (uint32_t)x->media->shape[3] },
		};
		uint64_t bytes = 0;
		int error = part_fusion(p)->remember(part_call(p), p->instance, &f, &x->memories[i], &bytes);

		if (!error)
			error = part_fusion(p)->bind(part_call(p), p->instance, i / x->pictures, i % x->pictures + 1, x->memories[i]);
		if (error) {
			part_failed(p, g, error);
			return -1;
		}
	}
	return 0;
}

/* The block in front of layer 0 on rows [first, length) of each prompt; those before are of steps that are over. 0 or -1. */
static int crossing_run(const struct crossing *x, struct part *p, struct golden *g, uint32_t first, float *hidden)
{
	const uint32_t each = x->length - first, n = x->prompts * each;
	const size_t d = x->hidden->shape[2];
	struct percept_hooks hooks = { .size = sizeof(hooks) };
	struct percept_row *rows = calloc((size_t)n + 1, sizeof(*rows));
	int error = rows ? part_fusion(p)->hooks(part_call(p), p->instance, &hooks) : -1;

	for (uint32_t i = 0; rows && i < x->prompts * x->length; i++) {
		const uint32_t prompt = i / x->length, t = i % x->length;
		struct percept_row *row = t < first ? NULL : &rows[prompt * each + t - first];

		if (!row)
			continue;
		row->sequence = prompt;
		for (uint32_t k = 0; k <= t; k++)
			row->media_seen += ((const int32_t *)x->places->data)[prompt * x->length + k] != 0;
		memcpy(hidden + (prompt * each + t - first) * d, (const float *)x->hidden->data + i * d, d * sizeof(*hidden));
	}
	if (!error)
		error = hooks.before_layer(part_call(p), hooks.state, 0, rows, n, hidden);
	if (error)
		part_failed(p, g, error);
	free(rows);
	return error ? -1 : 0;
}

static void crossing_check(struct crossing *x, struct part *p, struct golden *g)
{
	float *hidden = calloc(x->hidden->n + 1, sizeof(*hidden));

	if (hidden && !crossing_bind(x, p, g) && !crossing_run(x, p, g, 0, hidden)) {
		part_check_taps(p, g, "");
		golden_check(g, "out.hidden", hidden, x->hidden->n);
		p->closed_taps = 1;
		if (golden_tensor(&g->io, "F32", "out.decode_step") && !crossing_run(x, p, g, x->length - 1, hidden))
			golden_check(g, "out.decode_step", hidden, x->prompts * x->hidden->shape[2]);
	}
	for (uint32_t i = 0; i < x->prompts * x->pictures; i++) {
		part_fusion(p)->bind(part_call(p), p->instance, i / x->pictures, i % x->pictures + 1, NULL);
		part_fusion(p)->forget(p->instance, x->memories[i]);
	}
	free(hidden);
}

void case_crossing(struct golden *g)
{
	struct crossing x = { .hidden = golden_tensor(&g->io, "F32", "in.hidden"), .media = golden_tensor(&g->io, "F32", "in.media"),
			      .places = golden_tensor(&g->io, "I32", "in.media_locations") };
	struct part p = { 0 };

	if (!x.hidden || x.hidden->rank != 3 || !x.media || x.media->rank != 4 || !x.places ||
	    x.places->n != x.hidden->shape[0] * x.hidden->shape[1]) {
		golden_fail(g, "io.safetensors has no in.hidden, in.media and in.media_locations that fit");
		return;
	}
	x.prompts = (uint32_t)x.hidden->shape[0];
	x.length = (uint32_t)x.hidden->shape[1];
	x.pictures = (uint32_t)x.media->shape[1];
	x.memories = calloc((size_t)x.prompts * x.pictures + 1, sizeof(*x.memories));
	if (x.memories && !part_open(&p, g, "gated_cross_attention", g->path, NULL, x.prompts))
		crossing_check(&x, &p, g);
	part_close(&p);
	free(x.memories);
}

/* case-image.c - pictures as encoders want them: resampling and whole preprocessing, by sdk/nn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/arena.h"
#include "sdk/nn/image.h"
#include "tests/golden/golden.h"

/* out.IMAGE.FILTER.HxW */
static int resize_parse(const char *name, char image[32], enum nn_filter *filter)
{
	static const struct {
		const char *name;
		enum nn_filter filter;
	} filters[] = { { "nearest", NN_NEAREST },   { "lanczos", NN_LANCZOS }, { "bilinear", NN_BILINEAR },
			{ "bicubic", NN_BICUBIC },   { "box", NN_BOX },         { "hamming", NN_HAMMING } };
	char how[32];

	if (sscanf(name, "out.%31[^.].%31[^.].", image, how) != 2)
		return -1;
	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		if (!strcmp(filters[i].name, how)) {
			*filter = filters[i].filter;
			return 0;
		}
	}
	return -1;
}

static void resize_one(struct golden *g, const struct golden_tensor *want)
{
	char image[32];
	enum nn_filter filter;
	const int known = !resize_parse(want->name, image, &filter) && want->rank == 3;
	const struct golden_tensor *in = known ? golden_tensor(&g->io, "U8", "in.%s", image) : NULL;
	struct nn c = { .arena = nn_arena_new(0), .threads = 1 };
	uint8_t *out = in ? malloc(want->n + 1) : NULL;
	int failed = !out || !c.arena;

	failed = failed || nn_image_resize(&c, in->data, (uint32_t)in->shape[1], (uint32_t)in->shape[0], out,
					   (uint32_t)want->shape[1], (uint32_t)want->shape[0], filter);
	golden_verdict(g, want->name, !failed && !memcmp(out, want->data, want->n));
	nn_arena_free(c.arena);
	free(out);
}

void case_resize(struct golden *g)
{
	for (size_t i = 0; i < g->io.n; i++) {
		if (!strncmp(g->io.all[i].name, "out.", 4))
			resize_one(g, &g->io.all[i]);
	}
}

void case_image(struct golden *g)
{
	struct nn_image_processor p;
	struct nn_error error = { 0 };

	if (nn_image_processor_load(&p, g->path, 224, &error)) {
		golden_fail(g, "%s", error.text);
		return;
	}
	for (size_t i = 0; i < g->io.n; i++) {
		const struct golden_tensor *in = &g->io.all[i];
		char name[160];

		if (strncmp(in->name, "in.", 3) || strcmp(in->type, "U8") || in->rank != 3)
			continue;
		struct nn c = { .arena = nn_arena_new(0), .threads = 1 };
		struct nn_error why = { 0 };
		uint32_t width = 0, height = 0;
		const float *pixels = nn_image_prepare(&c, &p, in->data, (uint32_t)in->shape[1], (uint32_t)in->shape[0], &width,
						       &height, &why);

		snprintf(name, sizeof(name), "out.%s.pixel_values", in->name + 3);
		if (pixels)
			golden_check(g, name, pixels, (size_t)3 * width * height);
		else
			golden_fail(g, "%s: %s", name, why.text);
		nn_arena_free(c.arena);
	}
}

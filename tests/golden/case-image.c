/* case-image.c - pictures as encoders want them: resampling and whole preprocessing, by sdk/nn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/arena.h"
#include "sdk/nn/tiles.h"
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

/* Planar pieces, whatever leading sides of 1 the reference gives them. Llama 3.2 Vision's has as many as there can be: behind the
 * picture's tiles zeros. */
static void image_pixel_values(struct golden *g, const char *name, const struct nn_tiles *t)
{
	const struct golden_tensor *want = golden_tensor(&g->io, NULL, "%s", name);
	const size_t n = (size_t)t->n * 3 * t->width * t->height;
	float *all = t->shape && want->n > n ? calloc(want->n, sizeof(*all)) : NULL;

	if (all)
		memcpy(all, t->pixels, n * sizeof(*all));
	golden_check(g, name, all ? all : t->pixels, all ? want->n : n);
	free(all);
}

static void image_sizes(struct golden *g, const char *name, const struct nn_tiles *t)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "I32", "%s", name);
	const int32_t got[] = { (int32_t)t->original_height, (int32_t)t->original_width };

	golden_check_ids(g, name, got, 2, want->data, want->n);
}

/* One number for the picture. */
static void image_number(struct golden *g, const char *name, uint32_t number)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "I32", "%s", name);
	const int32_t got = (int32_t)number;

	if (want)
		golden_check_ids(g, name, &got, 1, want->data, want->n);
}

/* Idefics3 says 0 x 0 where a picture is not divided. */
static void image_rows(struct golden *g, const char *name, const struct nn_tiles *t)
{
	image_number(g, name, t->n > 1 ? t->grid_rows : 0);
}

static void image_cols(struct golden *g, const char *name, const struct nn_tiles *t)
{
	image_number(g, name, t->n > 1 ? t->grid_cols : 0);
}

static void image_crops(struct golden *g, const char *name, const struct nn_tiles *t)
{
	image_number(g, name, t->n - 1);
}

static void image_patches(struct golden *g, const char *name, const struct nn_tiles *t)
{
	image_number(g, name, t->n);
}

static void image_shape(struct golden *g, const char *name, const struct nn_tiles *t)
{
	image_number(g, name, t->shape);
}

/* 1 for each of the picture's tiles, 0 for the others that there can be. */
static void image_tiles_mask(struct golden *g, const char *name, const struct nn_tiles *t)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "I32", "%s", name);
	int same = want && want->n >= t->n;

	for (size_t i = 0; same && i < want->n; i++)
		same = ((const int32_t *)want->data)[i] == (i < t->n);
	golden_verdict(g, name, same);
}

/* Pieces are whole: nothing of them is padding. */
static void image_attention_mask(struct golden *g, const char *name, const struct nn_tiles *t)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "I32", "%s", name);
	const size_t n = (size_t)t->n * t->width * t->height;
	int whole = want && want->n == n;

	for (size_t i = 0; whole && i < n; i++)
		whole = ((const int32_t *)want->data)[i] == 1;
	golden_verdict(g, name, whole);
}

/* What a processor returns for the picture "in.X" as "out.X.NAME", where the case has it. */
static const struct {
	const char *name;
	void (*check)(struct golden *g, const char *name, const struct nn_tiles *t);
} image_outputs[] = {
	{ "pixel_values", image_pixel_values },
	{ "image_sizes", image_sizes },
	{ "rows", image_rows },
	{ "cols", image_cols },
	{ "num_crops", image_crops },
	{ "num_patches", image_patches },
	{ "pixel_attention_mask", image_attention_mask },
	{ "aspect_ratio_ids", image_shape },
	{ "aspect_ratio_mask", image_tiles_mask },
	{ "num_tiles", image_patches },
};

static void image_one(struct golden *g, const struct nn_image_processor *p, const struct golden_tensor *in)
{
	struct nn c = { .arena = nn_arena_new(0), .threads = 1 };
	struct nn_error why = { 0 };
	struct nn_tiles tiles = { 0 };
	char name[192];

	if (!c.arena || nn_tiles_prepare(&c, p, in->data, (uint32_t)in->shape[1], (uint32_t)in->shape[0], NULL, &tiles, &why))
		golden_fail(g, "%s: %s", in->name, why.text);
	for (size_t i = 0; tiles.pixels && i < sizeof(image_outputs) / sizeof(image_outputs[0]); i++) {
		snprintf(name, sizeof(name), "out.%s.%s", in->name + 3, image_outputs[i].name);
		if (golden_tensor(&g->io, NULL, "%s", name))
			image_outputs[i].check(g, name, &tiles);
	}
	nn_arena_free(c.arena);
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

		if (!strncmp(in->name, "in.", 3) && !strcmp(in->type, "U8") && in->rank == 3)
			image_one(g, &p, in);
	}
}

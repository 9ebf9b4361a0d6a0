/* case-flex.c - SigLIP 2's pictures: flattened patches, padded, with a mask and the shape. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/arena.h"
#include "sdk/nn/tiles.h"
#include "tests/golden/golden.h"

/* [patches][patch][patch][3], zeros behind. */
static void flex_check_pixels(struct golden *g, const char *name, const struct nn_tiles *t, uint32_t patch)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "F32", "%s", name);
	const size_t area = (size_t)patch * patch, cols = t->width / patch, n = (size_t)3 * t->width * t->height;
	float *got = want && n <= want->n ? calloc(want->n, sizeof(*got)) : NULL;

	for (size_t i = 0; got && i < n; i++) {
		const size_t at = i / 3 % area, which = i / 3 / area;
		const size_t y = which / cols * patch + at / patch, x = which % cols * patch + at % patch;

		got[i] = t->pixels[(i % 3 * t->height + y) * t->width + x];
	}
	golden_check(g, name, got, want ? want->n : 0);
	free(got);
}

static void flex_check_rest(struct golden *g, const char *picture, const struct nn_tiles *t, uint32_t patch)
{
	const int32_t shape[] = { (int32_t)(t->height / patch), (int32_t)(t->width / patch) };
	const struct golden_tensor *shapes = golden_tensor(&g->io, "I32", "out.%s.spatial_shapes", picture);
	const struct golden_tensor *mask = golden_tensor(&g->io, "I32", "out.%s.pixel_attention_mask", picture);
	int32_t *seen = mask ? calloc(mask->n + 1, sizeof(*seen)) : NULL;

	if (shapes)
		golden_check_ids(g, shapes->name, shape, 2, shapes->data, shapes->n);
	for (size_t i = 0; seen && i < mask->n; i++)
		seen[i] = i < (size_t)shape[0] * (size_t)shape[1];
	if (seen)
		golden_check_ids(g, mask->name, seen, mask->n, mask->data, mask->n);
	free(seen);
}

void case_flex(struct golden *g)
{
	struct nn_image_processor p;
	struct nn_error error = { 0 };

	if (nn_image_processor_load(&p, g->path, 0, &error) || !p.flex_patch) {
		golden_fail(g, "%s", error.code ? error.text : "its processor is of another kind");
		return;
	}
	for (size_t i = 0; i < g->io.n; i++) {
		const struct golden_tensor *in = &g->io.all[i];
		struct nn c = { .arena = nn_arena_new(0), .threads = 1 };
		struct nn_tiles t = { 0 };
		char name[192];

		if (c.arena && !strncmp(in->name, "in.", 3) && !strcmp(in->type, "U8") && in->rank == 3) {
			if (nn_tiles_prepare(&c, &p, in->data, (uint32_t)in->shape[1], (uint32_t)in->shape[0], NULL, &t, &error)) {
				golden_fail(g, "%s", error.text);
			} else {
				snprintf(name, sizeof(name), "out.%s.pixel_values", in->name + 3);
				flex_check_pixels(g, name, &t, p.flex_patch);
				flex_check_rest(g, in->name + 3, &t, p.flex_patch);
			}
		}
		nn_arena_free(c.arena);
	}
}

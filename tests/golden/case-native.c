/* case-native.c - pictures at their own resolution: patches window by window, and the grid that they are. */
#include <stdio.h>
#include <string.h>

#include "sdk/nn/arena.h"
#include "sdk/nn/ops.h"
#include "sdk/nn/tiles.h"
#include "tests/golden/golden.h"

static void native_check(struct golden *g, struct nn *c, const struct nn_native *native, const struct nn_tiles *t, const char *picture)
{
	const struct nn_windows how = { .frames = 1, .height = t->height, .width = t->width, .patch = native->patch,
					.depth = native->depth, .merge = native->merge };
	const int32_t grid[] = { 1, (int32_t)(t->height / native->patch), (int32_t)(t->width / native->patch) };
	const struct nn_tensor y = nn_window_patches(c, t->pixels, &how, 0, (size_t)grid[1] * (size_t)grid[2]);
	const struct golden_tensor *want = golden_tensor(&g->io, "I32", "out.%s.image_grid_thw", picture);
	char name[192];

	snprintf(name, sizeof(name), "out.%s.pixel_values", picture);
	golden_check(g, name, y.data, y.rows * y.cols);
	snprintf(name, sizeof(name), "out.%s.image_grid_thw", picture);
	if (want)
		golden_check_ids(g, name, grid, 3, want->data, want->n);
}

void case_native(struct golden *g)
{
	struct nn_image_processor p;
	struct nn_error error = { 0 };

	if (nn_image_processor_load(&p, g->path, 0, &error) || !p.native.patch) {
		golden_fail(g, "%s", error.code ? error.text : "its processor is of another kind");
		return;
	}
	for (size_t i = 0; i < g->io.n; i++) {
		const struct golden_tensor *in = &g->io.all[i];
		struct nn c = { .arena = nn_arena_new(0), .threads = 1 };
		struct nn_tiles t = { 0 };

		if (c.arena && !strncmp(in->name, "in.", 3) && !strcmp(in->type, "U8") && in->rank == 3) {
			if (nn_tiles_prepare(&c, &p, in->data, (uint32_t)in->shape[1], (uint32_t)in->shape[0], NULL, &t, &error))
				golden_fail(g, "%s: %s", in->name, error.text);
			else
				native_check(g, &c, &p.native, &t, in->name + 3);
		}
		nn_arena_free(c.arena);
	}
}

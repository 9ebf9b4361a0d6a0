/* test-look.c - which part of a picture each of its embeddings stands for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "daemon/engine/look.h"

static struct percept_layout single(uint32_t rows, uint32_t cols, uint32_t width, uint32_t height)
{
	return (struct percept_layout){ .size = sizeof(struct percept_layout), .items = 1, .tokens = rows * cols, .dim = 8, .rows = rows,
					.cols = cols, .grid_rows = 1, .grid_cols = 1, .width = width, .height = height };
}

static struct percept_layout tiled(uint32_t rows, uint32_t cols, uint32_t overview, uint32_t width, uint32_t height)
{
	struct percept_layout l = single(6, 6, width, height);

	l.grid_rows = rows;
	l.grid_cols = cols;
	l.items = rows * cols + (overview != PERCEPT_OVERVIEW_NONE);
	l.has_overview = overview;
	return l;
}

/* The areas [n][4] of a layout's embeddings, malloc'ed; NULL where they are not known. */
static float *areas_of(struct percept_layout layout, uint32_t n)
{
	struct look_image image = { .layout = layout };
	float *areas = calloc((size_t)n + 1, 4 * sizeof(*areas));

	assert_int_equal(look_views(&image), 0);
	const int unknown = look_map(&image, "some", n, areas);

	assert_int_equal(unknown, image.unmapped[0] != 0);
	free(image.views);
	if (unknown) {
		free(areas);
		return NULL;
	}
	return areas;
}

static void expect(const float *areas, size_t i, double left, double top, double right, double bottom)
{
	const double want[] = { left, top, right, bottom };

	for (int k = 0; k < 4; k++)
		if (fabs(areas[4 * i + (size_t)k] - want[k]) > 1e-3)
			fail_msg("embedding %zu: %g instead of %g", i, (double)areas[4 * i + (size_t)k], want[k]);
}

static void patches_lie_row_by_row(void **state)
{
	float *areas = areas_of(single(4, 5, 100, 80), 20);

	expect(areas, 0, 0, 0, 20, 20);
	expect(areas, 6, 20, 20, 40, 40);
	expect(areas, 19, 80, 60, 100, 80);
	free(areas);
}

static void a_class_token_has_no_place(void **state)
{
	struct percept_layout l = single(4, 5, 100, 80);

	l.has_class = 1;
	l.tokens = 21;
	float *areas = areas_of(l, 21);

	expect(areas, 0, 0, 0, 0, 0);
	expect(areas, 1, 0, 0, 20, 20);
	free(areas);
	/* A connector may drop it. */
	areas = areas_of(l, 20);
	expect(areas, 0, 0, 0, 20, 20);
	free(areas);
}

static void joined_patches_are_larger(void **state)
{
	float *areas = areas_of(single(6, 8, 80, 60), 12);

	expect(areas, 0, 0, 0, 20, 20);
	expect(areas, 5, 20, 20, 40, 40);
	free(areas);
	/* What is left over at the edges is a smaller area. */
	areas = areas_of(single(5, 5, 50, 50), 9);
	expect(areas, 8, 40, 40, 50, 50);
	free(areas);
}

static void a_line_may_have_a_token_behind_it(void **state)
{
	for (uint32_t n = 23; n <= 24; n++) {
		float *areas = areas_of(single(4, 5, 100, 80), n);

		expect(areas, 4, 80, 0, 100, 20);
		expect(areas, 5, 0, 0, 0, 0);
		expect(areas, 6, 0, 20, 20, 40);
		expect(areas, 22, 80, 60, 100, 80);
		free(areas);
	}
}

static void tiles_lie_over_the_picture(void **state)
{
	/* The whole picture last, each tile's 6 x 6 patches joined to 3 x 3. */
	float *areas = areas_of(tiled(2, 3, PERCEPT_OVERVIEW_LAST, 300, 200), 7 * 9);

	expect(areas, 0, 0, 0, 100 / 3.0, 100 / 3.0);
	expect(areas, 9, 100, 0, 100 + 100 / 3.0, 100 / 3.0);
	expect(areas, 3 * 9, 0, 100, 100 / 3.0, 100 + 100 / 3.0);
	expect(areas, 6 * 9, 0, 0, 100, 200 / 3.0);
	expect(areas, 6 * 9 + 8, 200, 400 / 3.0, 300, 200);
	free(areas);
}

static void padding_of_tiles_lies_beyond_the_picture(void **state)
{
	struct look_image image = { .layout = tiled(2, 2, PERCEPT_OVERVIEW_FIRST, 300, 150), .tile_width = 60, .tile_height = 60 };

	/* 120 x 120 pixels of tiles, of which the picture is 120 x 60 in the middle. */
	image.layout.unpadded_width = 120;
	image.layout.unpadded_height = 60;
	assert_int_equal(look_views(&image), 0);
	expect(image.views, 0, 0, 0, 300, 150);
	expect(image.views, 1, 0, -75, 150, 75);
	expect(image.views, 4, 150, 75, 300, 225);
	free(image.views);
}

/* LLaVA-NeXT: 12 x 12 patches of four tiles, of a picture twice as wide as it is high 6 lines are left, each with a newline. */
static void the_unpadded_grid_is_the_picture(void **state)
{
	float *areas = areas_of(tiled(2, 2, PERCEPT_OVERVIEW_FIRST, 240, 120), 36 + 6 * 13);

	expect(areas, 0, 0, 0, 40, 20);
	expect(areas, 35, 200, 100, 240, 120);
	expect(areas, 36, 0, 0, 20, 20);
	expect(areas, 36 + 11, 220, 0, 240, 20);
	expect(areas, 36 + 12, 0, 0, 0, 0);
	expect(areas, 36 + 13, 0, 20, 20, 40);
	expect(areas, 36 + 6 * 13 - 2, 220, 100, 240, 120);
	free(areas);
}

static void what_has_no_place_is_said(void **state)
{
	struct percept_layout none = single(4, 4, 100, 100);

	assert_null(areas_of(single(4, 4, 100, 100), 7));
	assert_null(areas_of(single(4, 4, 100, 100), 0));
	assert_null(areas_of(tiled(2, 2, PERCEPT_OVERVIEW_FIRST, 240, 120), 32));
	none.rows = none.cols = 0;
	assert_null(areas_of(none, 16));
	none = single(4, 4, 0, 0);
	free(areas_of(none, 16));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patches_lie_row_by_row),
		cmocka_unit_test(a_class_token_has_no_place),
		cmocka_unit_test(joined_patches_are_larger),
		cmocka_unit_test(a_line_may_have_a_token_behind_it),
		cmocka_unit_test(tiles_lie_over_the_picture),
		cmocka_unit_test(padding_of_tiles_lies_beyond_the_picture),
		cmocka_unit_test(the_unpadded_grid_is_the_picture),
		cmocka_unit_test(what_has_no_place_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test-native.c - pictures at their own resolution: sizes as the reference has them, the forms of its file, and a request's bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sdk/nn/ops.h"
#include "sdk/nn/tiles.h"
#include "tests/text/golden.h"

#define NATIVE "{\"image_processor_type\": \"Qwen2VLImageProcessor\", "

static struct nn_image_processor native_parse(const char *json)
{
	struct nn_image_processor p;
	struct nn_error error = {0};

	assert_int_equal(nn_image_processor_parse(&p, json, strlen(json), 0, &error), 0);
	return p;
}

static uint32_t native_number(const cJSON *object, const char *name)
{
	return (uint32_t)cJSON_GetObjectItem(object, name)->valuedouble;
}

static void sizes_are_the_references(void **state)
{
	cJSON *cases = golden_json(golden_path("img_qwen2vl/smart_resize.json")), *one;
	int n = 0;

	cJSON_ArrayForEach(one, cases) {
		const cJSON *out = cJSON_GetObjectItem(one, "out");
		struct nn_image_processor p = native_parse(NATIVE "\"merge_size\": 1}");
		struct nn_error error = {0};
		struct nn_tiles t;

		p.native.patch = native_number(one, "factor");
		p.native.least = native_number(one, "min_pixels");
		p.native.most = native_number(one, "max_pixels");
		assert_int_equal(nn_tiles_plan(&p, native_number(one, "width"), native_number(one, "height"), NULL, &t, &error), 0);
		assert_int_equal(t.height, cJSON_GetArrayItem(out, 0)->valueint);
		assert_int_equal(t.width, cJSON_GetArrayItem(out, 1)->valueint);
		n++;
	}
	assert_true(n > 100);
	cJSON_Delete(cases);
}

/* The names that files of different ages give the bounds; an own key counts before one of "size". */
static void bounds_have_several_names(void **state)
{
	static const struct {
		const char *json;
		uint64_t least, most;
	} cases[] = {
		{NATIVE "\"merge_size\": 2}", 3136, 1003520},
		{NATIVE "\"min_pixels\": 100, \"max_pixels\": 12845056}", 100, 12845056},
		{NATIVE "\"size\": {\"shortest_edge\": 200, \"longest_edge\": 90000}}", 200, 90000},
		{NATIVE "\"size\": {\"min_pixels\": 300, \"max_pixels\": 80000}}", 300, 80000},
		{NATIVE "\"min_pixels\": 400, \"size\": {\"shortest_edge\": 200, \"longest_edge\": 90000}}", 400, 90000},
		{NATIVE "\"max_pixels\": null, \"size\": {\"longest_edge\": 90000}}", 3136, 90000},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct nn_image_processor p = native_parse(cases[i].json);

		assert_int_equal(p.native.least, cases[i].least);
		assert_int_equal(p.native.most, cases[i].most);
	}
}

static void odd_files_are_refused(void **state)
{
	static const struct {
		const char *json, *word;
	} cases[] = {
		{NATIVE "\"patch_size\": 0}", "patch_size"},
		{NATIVE "\"patch_size\": 1e9}", "patch_size"},
		{NATIVE "\"patch_size\": [14, 14]}", "patch_size"},
		{NATIVE "\"merge_size\": -2}", "merge_size"},
		{NATIVE "\"merge_size\": 1.5}", "merge_size"},
		{NATIVE "\"temporal_patch_size\": 0}", "temporal_patch_size"},
		{NATIVE "\"min_pixels\": 0}", "min_pixels"},
		{NATIVE "\"min_pixels\": -1}", "min_pixels"},
		{NATIVE "\"max_pixels\": 1e300}", "max_pixels"},
		{NATIVE "\"max_pixels\": \"many\"}", "max_pixels"},
		{NATIVE "\"size\": {\"longest_edge\": 0}}", "size"},
		{NATIVE "\"size\": {\"shortest_edge\": []}}", "size"},
		{NATIVE "\"image_std\": [1, 0, 1]}", "image_std"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct nn_image_processor p;
		struct nn_error error = {0};

		if (!nn_image_processor_parse(&p, cases[i].json, strlen(cases[i].json), 0, &error) ||
		    !strstr(error.text, cases[i].word))
			fail_msg("case %zu: %s", i, error.text);
	}
}

/* Whole windows within the bound, or a sentence. */
static void a_request_bounds_pixels(void **state)
{
	struct nn_image_processor p = native_parse(NATIVE "\"patch_size\": 7, \"min_pixels\": 3136, \"max_pixels\": 200000}");
	uint32_t refused = 0, taken = 0;

	for (uint32_t i = 0; i < 4000; i++) {
		const uint32_t width = 1 + i * 37 % 900, height = 1 + i * 101 % 700;
		const struct nn_tiles_ask ask = {.pixels = (uint64_t)(1 + i % 40) * 14 * 14, .detail = i % 3};
		struct nn_error error = {0};
		struct nn_tiles t;

		if (nn_tiles_plan(&p, width, height, &ask, &t, &error)) {
			assert_true(error.text[0] && error.code < 0);
			refused++;
			continue;
		}
		assert_true(t.n == 1 && t.width && t.height && t.width % 14 == 0 && t.height % 14 == 0);
		assert_true((uint64_t)t.width * t.height <= ask.pixels);
		taken++;
	}
	assert_true(taken > 3000 && refused > 10);
}

static void detail_low_is_less(void **state)
{
	const struct nn_image_processor p = native_parse(NATIVE "\"max_pixels\": 12845056}");
	const struct nn_tiles_ask low = {.detail = PERCEPT_DETAIL_LOW}, high = {.detail = PERCEPT_DETAIL_HIGH};
	struct nn_tiles a, b, c;

	assert_int_equal(nn_tiles_details(&p), 1u << PERCEPT_DETAIL_LOW | 1u << PERCEPT_DETAIL_HIGH);
	assert_int_equal(nn_tiles_plan(&p, 4000, 3000, NULL, &a, NULL), 0);
	assert_int_equal(nn_tiles_plan(&p, 4000, 3000, &low, &b, NULL), 0);
	assert_int_equal(nn_tiles_plan(&p, 4000, 3000, &high, &c, NULL), 0);
	assert_true((uint64_t)b.width * b.height <= 256 * 28 * 28);
	assert_true(a.width == c.width && a.height == c.height && a.width > 3000);
}

static void thin_and_huge_pictures_are_refused(void **state)
{
	struct nn_image_processor p = native_parse(NATIVE "\"min_pixels\": 1e15, \"max_pixels\": 8e15}");
	struct nn_error error = {0};
	struct nn_tiles t;

	assert_true(nn_tiles_plan(&p, 30, 30, NULL, &t, &error) < 0 && strstr(error.text, "too large"));
	p.native.least = 3136;
	error = (struct nn_error){0};
	assert_true(nn_tiles_plan(&p, 20000, 20000, NULL, &t, &error) < 0 && strstr(error.text, "too large"));
	error = (struct nn_error){0};
	assert_true(nn_tiles_plan(&p, 2010, 10, NULL, &t, &error) < 0 && strstr(error.text, "200 times"));
	assert_int_equal(nn_tiles_plan(&p, 2000, 10, NULL, &t, &error), 0);
	p.do_resize = 0;
	error = (struct nn_error){0};
	assert_true(nn_tiles_plan(&p, 29, 28, NULL, &t, &error) < 0 && strstr(error.text, "whole windows"));
	assert_int_equal(nn_tiles_plan(&p, 56, 28, NULL, &t, &error), 0);
}

/* Patches of two windows of four, two frames deep; the second frame of a picture is the first. */
static void patches_lie_window_by_window(void **state)
{
	const struct nn_windows how = {.frames = 1, .height = 4, .width = 8, .patch = 2, .depth = 2, .merge = 2};
	struct nn c = {.arena = nn_arena_new(0), .threads = 1};
	float pixels[3 * 4 * 8];

	for (int i = 0; i < 3 * 4 * 8; i++)
		pixels[i] = (float)i;
	struct nn_tensor all = nn_window_patches(&c, pixels, &how, 0, 8), part = nn_window_patches(&c, pixels, &how, 3, 2);
	static const float corners[] = {0, 2, 16, 18, 4, 6, 20, 22};

	for (size_t i = 0; i < 8; i++) {
		const float *row = all.data + i * all.stride;

		assert_true(row[0] == corners[i] && row[1] == corners[i] + 1 && row[2] == corners[i] + 8);
		assert_true(row[4] == row[0] && row[8] == row[0] + 32 && row[16] == row[0] + 64);
	}
	assert_memory_equal(part.data, all.data + 3 * all.stride, 24 * sizeof(float));
	assert_int_equal(c.error, 0);
	assert_null(nn_window_patches(&c, pixels, &(struct nn_windows){.frames = 1, .height = 4, .width = 6, .patch = 2, .depth = 2,
				      .merge = 2}, 0, 1).data);
	assert_true(c.error < 0);
	nn_arena_free(c.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_the_references),
		cmocka_unit_test(bounds_have_several_names),
		cmocka_unit_test(odd_files_are_refused),
		cmocka_unit_test(a_request_bounds_pixels),
		cmocka_unit_test(detail_low_is_less),
		cmocka_unit_test(thin_and_huge_pictures_are_refused),
		cmocka_unit_test(patches_lie_window_by_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

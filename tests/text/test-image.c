/* test-image.c - pictures are resized and prepared as Pillow and the reference processors do it. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sdk/nn/tiles.h"
#include "tests/text/golden.h"

static struct nn test_begin(size_t limit)
{
	struct nn c = {.arena = nn_arena_new(limit), .threads = 1};

	assert_non_null(c.arena);
	return c;
}

static const struct {
	const char *name;
	enum nn_filter filter;
} test_filters[] = {{"nearest", NN_NEAREST}, {"bilinear", NN_BILINEAR}, {"bicubic", NN_BICUBIC}, {"lanczos", NN_LANCZOS},
		    {"box", NN_BOX},         {"hamming", NN_HAMMING}};

static void test_resize_goldens(void **state)
{
	struct nn c = test_begin(0);
	char *file = golden_read(golden_path("img_resize/io.safetensors"), NULL), name[128];
	cJSON *jobs = golden_json(golden_path("img_resize/jobs.json"));
	const cJSON *job;
	int n = 0;

	cJSON_ArrayForEach(job, jobs)
	{
		const char *id = cJSON_GetObjectItem(job, "id")->valuestring;
		const char *filter = cJSON_GetObjectItem(job, "filter")->valuestring;
		size_t in[4], out[4], f = 0;

		snprintf(name, sizeof(name), "in.%s", cJSON_GetObjectItem(job, "in")->valuestring);
		const uint8_t *src = golden_tensor(file, name, in);

		snprintf(name, sizeof(name), "out.%s", id);
		const uint8_t *want = golden_tensor(file, name, out);
		uint8_t *got = malloc(out[0] * out[1] * 3);

		while (strcmp(test_filters[f].name, filter))
			f++;
		assert_int_equal(nn_image_resize(&c, src, (uint32_t)in[1], (uint32_t)in[0], got, (uint32_t)out[1],
						 (uint32_t)out[0], test_filters[f].filter), 0);
		if (memcmp(got, want, out[0] * out[1] * 3))
			fail_msg("%s differs", id);
		free(got);
		n++;
	}
	assert_true(n >= 36);
	cJSON_Delete(jobs);
	free(file);
	nn_arena_free(c.arena);
}

static void test_one_processor(const char *folder)
{
	char path[256], name[128];
	struct nn_image_processor p;
	struct nn_error error = {0};

	if (nn_image_processor_load(&p, golden_path(folder), 0, &error))
		fail_msg("%s: %s", folder, error.text);
	snprintf(path, sizeof(path), "%s/io.safetensors", folder);
	char *file = golden_read(golden_path(path), NULL);

	snprintf(path, sizeof(path), "%s/case.json", folder);
	cJSON *json = golden_json(golden_path(path));
	const cJSON *input;

	cJSON_ArrayForEach(input, cJSON_GetObjectItem(json, "inputs"))
	{
		struct nn c = test_begin(0);
		size_t in[6] = {0}, out[6] = {0};
		struct nn_tiles tiles;
		const uint8_t *rgb = golden_tensor(file, input->string, in);

		snprintf(name, sizeof(name), "out.%s.pixel_values", input->string + 3);
		const float *want = golden_tensor(file, name, out);

		if (nn_tiles_prepare(&c, &p, rgb, (uint32_t)in[1], (uint32_t)in[0], NULL, &tiles, &error))
			fail_msg("%s: %s", name, error.text);
		const size_t n = (size_t)tiles.n * 3 * tiles.width * tiles.height;
		size_t wanted = 1;

		for (size_t i = 0; i < 6 && out[i]; i++)
			wanted *= out[i];
		if (wanted != n)
			fail_msg("%s: %u pieces of %u x %u", name, tiles.n, tiles.width, tiles.height);
		for (size_t i = 0; i < n; i++) { /* the case's tolerance: two roundings of float32 */
			const float *got = tiles.pixels;
			float value;

			memcpy(&value, (const char *)want + i * sizeof(value), sizeof(value));
			if (!(fabsf(got[i] - value) <= 2e-6f + 2e-6f * fabsf(value)))
				fail_msg("%s %s: element %zu is %g, not %g", folder, name, i, got[i], value);
		}
		nn_arena_free(c.arena);
	}
	cJSON_Delete(json);
	free(file);
}

static void test_processor_goldens(void **state)
{
	static const char *const folders[] = {"img_clip", "img_clip_padcrop", "img_llava_pad", "img_siglip", "img_blip",
					      "img_convnext", "img_llava_next"};

	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
		test_one_processor(folders[i]);
}

/* Any size to any size with every filter: a picture of one colour keeps it. */
static void test_flat(void **state)
{
	static const uint32_t sides[] = {1, 2, 3, 17, 64, 300};
	enum { SIDES = 6, MOST = 300 * 300 * 3 };
	uint8_t *src = malloc(MOST), *dst = malloc(MOST);

	memset(src, 201, MOST);
	for (size_t f = 0; f < 6; f++) {
		struct nn c = test_begin(0);

		for (size_t i = 0; i < SIDES * SIDES * SIDES; i++) {
			uint32_t sw = sides[i % SIDES], sh = sides[i / SIDES % SIDES], d = sides[i / SIDES / SIDES];

			memset(dst, 0, (size_t)d * d * 3);
			assert_int_equal(nn_image_resize(&c, src, sw, sh, dst, d, d, test_filters[f].filter), 0);
			assert_memory_equal(dst, src, (size_t)d * d * 3);
		}
		nn_arena_free(c.arena);
	}
	free(src);
	free(dst);
}

/* A line of 100,000 pixels: the crop alone is computed, within a small arena. */
static void test_thin(void **state)
{
	enum { LONG = 100000 };
	struct nn c = test_begin(64 << 20);
	struct nn_image_processor p;
	struct nn_error error = {0};
	uint8_t *line = calloc(LONG, 3);
	struct nn_tiles t;

	assert_int_equal(nn_image_processor_load(&p, "/nonexistent", 336, &error), 0);
	assert_int_equal(p.shortest_edge, 336);
	assert_int_equal(p.crop_width, 336);
	assert_int_equal(nn_tiles_prepare(&c, &p, line, LONG, 1, NULL, &t, &error), 0);
	assert_int_equal(t.width, 336);
	assert_int_equal(t.height, 336);
	assert_int_equal(nn_tiles_prepare(&c, &p, line, 1, LONG, NULL, &t, &error), 0);
	p.do_center_crop = 0;
	assert_true(nn_tiles_prepare(&c, &p, line, LONG, 1, NULL, &t, &error) < 0);
	assert_int_equal(error.code, -EINVAL);
	assert_non_null(strstr(error.text, "100000 x 1"));
	nn_arena_free(c.arena);
	free(line);
}

static void test_bad_sizes(void **state)
{
	uint8_t pixel[3] = {0}, out[3];
	struct nn_image_processor p;
	struct nn_error error = {0};
	struct nn c = test_begin(0);
	struct nn_tiles t;

	assert_int_equal(nn_image_resize(&c, pixel, 0, 1, out, 1, 1, NN_BICUBIC), -EINVAL);
	c.error = 0;
	assert_int_equal(nn_image_resize(&c, pixel, 1, 1, out, 1, 0, NN_BICUBIC), -EINVAL);
	c.error = 0;
	assert_int_equal(nn_image_resize(&c, pixel, 1, 1, out, 1, 1, (enum nn_filter)9), -EINVAL);
	c.error = 0;
	nn_image_processor_load(&p, "/nonexistent", 0, NULL);
	assert_true(nn_tiles_prepare(&c, &p, pixel, 0, 1, NULL, &t, &error) < 0);
	assert_int_equal(error.code, -EINVAL);
	nn_arena_free(c.arena);
}

static int test_always(void *arg)
{
	return 1;
}

static void test_stop_and_memory(void **state)
{
	enum { SIDE = 600 };
	struct nn_image_processor p;
	uint8_t *rgb = calloc(SIDE * SIDE, 3);
	struct nn_error error = {0};
	struct nn_tiles t;

	nn_image_processor_load(&p, "/nonexistent", 224, NULL);
	struct nn c = test_begin(0);

	c.stopped = test_always;
	assert_true(nn_tiles_prepare(&c, &p, rgb, SIDE, SIDE, NULL, &t, &error) < 0);
	assert_int_equal(c.error, -ECANCELED);
	nn_arena_free(c.arena);
	c = test_begin(1 << 16);
	error = (struct nn_error){0};
	assert_true(nn_tiles_prepare(&c, &p, rgb, SIDE, SIDE, NULL, &t, &error) < 0);
	assert_int_equal(error.code, -ENOMEM);
	nn_arena_free(c.arena);
	free(rgb);
}

#define TEST_SPLIT "{\"image_processor_type\": \"SmolVLMImageProcessor\", "
#define TEST_CROPS "{\"image_processor_type\": \"Gemma3ImageProcessor\", "
#define TEST_TILING "{\"image_processor_type\": \"GotOcr2ImageProcessor\", "
#define TEST_NEXT "{\"image_processor_type\": \"LlavaNextImageProcessor\", "

static void test_config_refusals(void **state)
{
	static const struct {
		const char *json, *word;
	} cases[] = {
		{"", "not a JSON object"},
		{"[]", "not a JSON object"},
		{"{\"size\": 0}", "size"},
		{"{\"size\": \"big\"}", "size"},
		{"{\"size\": {\"height\": 3}}", "size"},
		{"{\"size\": {\"shortest_edge\": 1e9}}", "size"},
		{"{\"crop_size\": -1}", "crop_size"},
		{"{\"crop_size\": {\"height\": 3, \"width\": 0.5}}", "crop_size"},
		{"{\"resample\": 6}", "resample"},
		{"{\"resample\": \"x\"}", "resample"},
		{"{\"do_resize\": 1}", "do_resize"},
		{"{\"image_mean\": [1, 2]}", "image_mean"},
		{"{\"image_mean\": [1, 2, null]}", "image_mean"},
		{"{\"image_std\": [1, 0, 1]}", "image_std"},
		{"{\"image_std\": [1, 1e300, 1]}", "image_std"},
		{"{\"rescale_factor\": []}", "rescale_factor"},
		{"{\"image_processor_type\": \"ConvNextImageProcessor\", \"crop_pct\": 0}", "crop_pct"},
		{TEST_NEXT "\"image_grid_pinpoints\": []}", "1 to 64 pairs"},
		{TEST_NEXT "\"image_grid_pinpoints\": \"big\"}", "1 to 64 pairs"},
		{TEST_NEXT "\"image_grid_pinpoints\": [[224]]}", "pairs of height and width"},
		{TEST_NEXT "\"image_grid_pinpoints\": [224, 224]}", "pairs of height and width"},
		{TEST_NEXT "\"image_grid_pinpoints\": [[0, 224]]}", "1 to 16384"},
		{TEST_NEXT "\"image_grid_pinpoints\": [[-224, 224]]}", "1 to 16384"},
		{TEST_NEXT "\"image_grid_pinpoints\": [[448, 225]]}", "multiples of the crop size"},
		{TEST_NEXT "\"image_grid_pinpoints\": [[1792, 1792]]}", "at most 63 tiles"},
		{TEST_NEXT "\"image_grid_pinpoints\": [[14336, 14336]]}", "at most 63 tiles"},
		{TEST_NEXT "\"size\": 16384}", "size"},
		{TEST_SPLIT "\"max_image_size\": {\"longest_edge\": 0}}", "max_image_size"},
		{TEST_SPLIT "\"max_image_size\": {}}", "max_image_size"},
		{TEST_SPLIT "\"max_image_size\": -28}", "max_image_size"},
		{TEST_SPLIT "\"size\": {\"longest_edge\": 1e6}}", "size"},
		{TEST_SPLIT "\"size\": {\"height\": 3}}", "size"},
		{TEST_SPLIT "\"size\": 28}", "size"},
		{TEST_SPLIT "\"do_image_splitting\": 1}", "do_image_splitting"},
		{TEST_CROPS "\"pan_and_scan_min_crop_size\": 0}", "pan_and_scan_min_crop_size"},
		{TEST_CROPS "\"pan_and_scan_max_num_crops\": 64}", "pan_and_scan_max_num_crops"},
		{TEST_CROPS "\"pan_and_scan_max_num_crops\": -1}", "pan_and_scan_max_num_crops"},
		{TEST_CROPS "\"pan_and_scan_min_ratio_to_activate\": \"x\"}", "pan_and_scan_min_ratio_to_activate"},
		{TEST_TILING "\"max_patches\": 0}", "max_patches"},
		{TEST_TILING "\"max_patches\": 1000000}", "max_patches"},
		{TEST_TILING "\"min_patches\": 1.5}", "min_patches"},
		{TEST_TILING "\"size\": {\"height\": 16384, \"width\": 16384}}", "size"},
		{TEST_TILING "\"size\": {\"shortest_edge\": 20}}", "size"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *folder = golden_folder();
		struct nn_image_processor p;
		struct nn_error error = {0};

		golden_folder_write(folder, "preprocessor_config.json", cases[i].json);
		int failed = nn_image_processor_load(&p, folder, 224, &error);

		golden_folder_remove(folder);
		if (!failed || !strstr(error.text, cases[i].word))
			fail_msg("case %zu: %d %s", i, failed, error.text);
	}
}

/* LLaVA-NeXT: what a request asks for chooses among the pinpoints. */
static void test_anyres_asks(void **state)
{
	static const struct {
		struct nn_tiles_ask ask;
		uint32_t n, rows, cols;
	} cases[] = {
		{{0}, 5, 2, 2},
		{{.detail = PERCEPT_DETAIL_HIGH}, 5, 2, 2},
		{{.detail = PERCEPT_DETAIL_LOW}, 1, 1, 1},
		{{.pieces = 5}, 5, 2, 2},
		{{.pieces = 4}, 3, 1, 2},
		{{.pieces = 3}, 3, 1, 2},
		{{.pieces = 2}, 1, 1, 1},
		{{.pieces = 1}, 1, 1, 1},
	};
	struct nn_image_processor p;
	struct nn_error error = {0};

	assert_int_equal(nn_image_processor_load(&p, golden_path("img_llava_next"), 0, &error), 0);
	assert_int_equal(nn_tiles_most(&p), 5);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct nn_tiles t;

		assert_int_equal(nn_tiles_plan(&p, 70, 48, &cases[i].ask, &t, &error), 0);
		assert_int_equal(t.n, cases[i].n);
		assert_int_equal(t.grid_rows, cases[i].rows);
		assert_int_equal(t.grid_cols, cases[i].cols);
		assert_int_equal(t.overview, t.n > 1 ? PERCEPT_OVERVIEW_FIRST : PERCEPT_OVERVIEW_NONE);
		assert_null(t.pixels);
	}
}

/* What a request asks for chooses among the divisions of the other kinds. */
static void test_division_asks(void **state)
{
	static const struct {
		const char *folder;
		struct nn_tiles_ask ask;
		uint32_t width, height, n, rows, cols;
	} cases[] = {
		{"img_smolvlm", {0}, 60, 64, 17, 4, 4},
		{"img_smolvlm", {.detail = PERCEPT_DETAIL_HIGH}, 60, 64, 17, 4, 4},
		{"img_smolvlm", {.detail = PERCEPT_DETAIL_LOW}, 60, 64, 1, 1, 1},
		{"img_smolvlm", {.pieces = 16}, 60, 64, 10, 3, 3},
		{"img_smolvlm", {.pieces = 9}, 60, 64, 5, 2, 2},
		{"img_smolvlm", {.pieces = 1}, 60, 64, 1, 1, 1},
		{"img_smolvlm_nosplit", {0}, 60, 64, 1, 1, 1},
		{"img_gemma3", {0}, 91, 37, 3, 1, 2},
		{"img_gemma3", {.detail = PERCEPT_DETAIL_LOW}, 91, 37, 1, 1, 1},
		{"img_gemma3", {.pieces = 3}, 91, 37, 3, 1, 2},
		{"img_gemma3", {.pieces = 1}, 91, 37, 1, 1, 1},
		{"img_gemma3", {0}, 50, 50, 1, 1, 1},
		{"img_internvl", {0}, 91, 37, 9, 2, 4},
		{"img_internvl", {.detail = PERCEPT_DETAIL_LOW}, 91, 37, 1, 1, 1},
		{"img_internvl", {.pieces = 4}, 91, 37, 3, 1, 2},
		{"img_internvl", {.pieces = 1}, 91, 37, 1, 1, 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct nn_image_processor p;
		struct nn_error error = {0};
		struct nn_tiles t;

		assert_int_equal(nn_image_processor_load(&p, golden_path(cases[i].folder), 0, &error), 0);
		assert_int_equal(nn_tiles_plan(&p, cases[i].width, cases[i].height, &cases[i].ask, &t, &error), 0);
		if (t.n != cases[i].n || t.grid_rows != cases[i].rows || t.grid_cols != cases[i].cols)
			fail_msg("case %zu: %u pieces, %u x %u", i, t.n, t.grid_rows, t.grid_cols);
		assert_true(t.n <= nn_tiles_most(&p));
	}
}

/* Pictures of a line are divided or refused with a sentence, and nothing is read outside. */
static void test_division_thin(void **state)
{
	static const char *const folders[] = {"img_smolvlm", "img_smolvlm_nosplit", "img_idefics3", "img_gemma3", "img_internvl"};
	enum { LONG = 20000 };
	uint8_t *line = calloc(LONG, 3);

	for (size_t i = 0; i < 2 * sizeof(folders) / sizeof(*folders); i++) {
		struct nn c = test_begin(16 << 20);
		struct nn_image_processor p;
		struct nn_error error = {0};
		struct nn_tiles t;

		assert_int_equal(nn_image_processor_load(&p, golden_path(folders[i / 2]), 0, &error), 0);
		if (nn_tiles_prepare(&c, &p, line, i % 2 ? 1 : LONG, i % 2 ? LONG : 1, NULL, &t, &error))
			assert_true(error.text[0]);
		else
			assert_non_null(t.pixels);
		nn_arena_free(c.arena);
	}
	free(line);
}

/* Pictures of a line: whole tiles are padding, and nothing is read outside. */
static void test_anyres_thin(void **state)
{
	enum { LONG = 20000 };
	struct nn_image_processor p;
	struct nn_error error = {0};
	uint8_t *line = calloc(LONG, 3);

	assert_int_equal(nn_image_processor_load(&p, golden_path("img_llava_next"), 0, &error), 0);
	for (uint32_t i = 0; i < 2; i++) {
		struct nn c = test_begin(16 << 20);
		struct nn_tiles t;

		assert_int_equal(nn_tiles_prepare(&c, &p, line, i ? 1 : LONG, i ? LONG : 1, NULL, &t, &error), 0);
		assert_int_equal(t.n, 3);
		nn_arena_free(c.arena);
	}
	free(line);
}

/* Old files: plain numbers, and a processor_config.json that holds the processor. */
static void test_config_forms(void **state)
{
	struct nn_image_processor p;
	char *folder = golden_folder();

	golden_folder_write(folder, "processor_config.json", "{\"image_processor\": {\"feature_extractor_type\": "
			    "\"CLIPFeatureExtractor\", \"size\": 98, \"crop_size\": 90, \"resample\": 2}}");
	assert_int_equal(nn_image_processor_load(&p, folder, 0, NULL), 0);
	assert_int_equal(p.shortest_edge, 98);
	assert_int_equal(p.crop_height, 90);
	assert_int_equal(p.filter, NN_BILINEAR);
	golden_folder_write(folder, "preprocessor_config.json", "{\"image_processor_type\": \"SiglipImageProcessor\", "
			    "\"size\": 98}");
	assert_int_equal(nn_image_processor_load(&p, folder, 0, NULL), 0);
	assert_int_equal(p.shortest_edge, 0);
	assert_int_equal(p.height, 98);
	assert_int_equal(p.do_center_crop, 0);
	assert_true(p.mean[0] == 0.5f);
	golden_folder_remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resize_goldens),  cmocka_unit_test(test_processor_goldens),
		cmocka_unit_test(test_flat),            cmocka_unit_test(test_thin),
		cmocka_unit_test(test_bad_sizes),       cmocka_unit_test(test_stop_and_memory),
		cmocka_unit_test(test_division_asks),   cmocka_unit_test(test_division_thin),
		cmocka_unit_test(test_config_refusals), cmocka_unit_test(test_config_forms),
		cmocka_unit_test(test_anyres_asks),     cmocka_unit_test(test_anyres_thin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

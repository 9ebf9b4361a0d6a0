/* fuzz-image.c - five bytes of sizes and filter, a preprocessor_config.json, then behind a NUL pixels. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/tiles.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_HEADER = 5, FUZZ_MEMORY = 64 << 20 };

static void fuzz_resize(const uint8_t *data, const uint8_t *rgb, uint32_t width, uint32_t height)
{
	struct nn c = {.arena = nn_arena_new(FUZZ_MEMORY), .threads = 1};
	uint8_t *out = malloc((size_t)(data[2] + 1) * (data[3] + 1) * 3);

	if (c.arena && out)
		nn_image_resize(&c, rgb, width, height, out, data[2], data[3], (enum nn_filter)(data[4] % 8));
	free(out);
	nn_arena_free(c.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < FUZZ_HEADER)
		return 0;
	const uint8_t *nul = memchr(data + FUZZ_HEADER, 0, size - FUZZ_HEADER), *end = nul ? nul : data + size;
	uint32_t width = data[0], height = data[1];
	size_t need = (size_t)width * height * 3, have = nul ? (size_t)(data + size - nul - 1) : 0;
	uint8_t *rgb = calloc(need + 1, 1);
	const struct nn_tiles_ask ask = {.detail = data[2] % 3, .pieces = data[3], .pixels = (uint64_t)data[3] * 50};
	struct nn_image_processor p;
	struct nn_error error = {0};
	struct nn_tiles tiles;

	if (!rgb)
		return 0;
	if (have)
		memcpy(rgb, nul + 1, have < need ? have : need);
	fuzz_resize(data, rgb, width, height);
	if (!nn_image_processor_parse(&p, (const char *)data + FUZZ_HEADER, (size_t)(end - data) - FUZZ_HEADER, 28, &error)) {
		struct nn c = {.arena = nn_arena_new(FUZZ_MEMORY), .threads = 1};

		if (c.arena && nn_tiles_prepare(&c, &p, rgb, width, height, &ask, &tiles, &error) && !error.code)
			abort();
		nn_arena_free(c.arena);
	} else if (!error.code || !error.text[0]) {
		abort();
	}
	free(rgb);
	return 0;
}

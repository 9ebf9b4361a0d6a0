/* look-read.c - the answer to image.look, taken apart; nothing in it is believed. */
#include "sdk/tool/look.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { READ_MOST = 1 << 24 };

/* Where in the tail `name` lies, if it is there and has `n` bytes; else NULL. */
static const void *read_range(const struct percept_answer *answer, const cJSON *object, const char *name, size_t n)
{
	const cJSON *range = cJSON_GetObjectItemCaseSensitive(object, name);
	const cJSON *at = cJSON_GetArrayItem(range, 0), *bytes = cJSON_GetArrayItem(range, 1);
	if (!cJSON_IsNumber(at) || !cJSON_IsNumber(bytes) || at->valuedouble < 0 || bytes->valuedouble != (double)n ||
	    at->valuedouble > (double)answer->tail_bytes || (double)n > (double)answer->tail_bytes - at->valuedouble)
		return NULL;
	return (const char *)answer->tail + (size_t)at->valuedouble;
}

/* The floats `name`, copied, NaN and infinity made 0; NULL if they are not there or memory is out. */
static float *read_floats(const struct percept_answer *answer, const cJSON *object, const char *name, size_t n)
{
	const void *bytes = read_range(answer, object, name, n * sizeof(float));
	float *copy = bytes ? malloc(n ? n * sizeof *copy : 1) : NULL;
	for (size_t i = 0; copy && i < n; i++) {
		memcpy(&copy[i], (const char *)bytes + i * sizeof *copy, sizeof *copy);
		if (!isfinite(copy[i]))
			copy[i] = 0;
	}
	return copy;
}

static uint32_t read_count(const cJSON *object, const char *name)
{
	const double n = json_number(object, name);
	return n >= 0 && n <= READ_MOST ? (uint32_t)n : 0;
}

int look_read(const struct tool *tool, const struct percept_answer *answer, struct look *look)
{
	*look = (struct look){.result = cJSON_Parse(answer->result), .overview = -1};
	look->image = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(look->result, "images"), 0);
	look->tokens = cJSON_GetObjectItemCaseSensitive(look->result, "tokens");
	const char *overview = json_text(look->image, "overview");
	look->width = read_count(look->image, "width");
	look->height = read_count(look->image, "height");
	look->tiles = read_count(look->image, "tiles");
	look->tile_width = read_count(look->image, "tile_width");
	look->tile_height = read_count(look->image, "tile_height");
	look->grid_rows = read_count(look->image, "grid_rows");
	look->grid_cols = read_count(look->image, "grid_cols");
	look->n_tokens = read_count(look->image, "tokens");
	look->answer = (uint32_t)cJSON_GetArraySize(look->tokens);
	if (!look->image || !look->tiles)
		return tool_say(tool, TOOL_FAILED, "The daemon's answer tells of no picture: it and this program are of different "
				"versions.");
	if (strcmp(overview, "first") == 0)
		look->overview = 0;
	else if (strcmp(overview, "last") == 0)
		look->overview = (int)look->tiles - 1;
	if ((double)look->tiles * look->tile_width * look->tile_height <= READ_MOST && look->tile_width && look->tile_height)
		look->pixels = read_range(answer, look->image, "pixels", (size_t)look->tiles * look->tile_width * look->tile_height * 3);
	look->views = read_floats(answer, look->image, "views", (size_t)4 * look->tiles);
	look->areas = read_floats(answer, look->image, "areas", (size_t)4 * look->n_tokens);
	look->attention = read_floats(answer, look->result, "attention", (size_t)look->answer * look->n_tokens);
	return 0;
}

void look_fini(struct look *look)
{
	cJSON_Delete(look->result);
	free(look->views);
	free(look->areas);
	free(look->attention);
}

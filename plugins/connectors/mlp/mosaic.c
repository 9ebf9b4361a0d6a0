/* mosaic.c - tiles become one picture of rows again, without its padding. */
#include "plugins/connectors/mlp/mosaic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/checkpoint.h"

int mosaic_named(const cJSON *config, int has_newline, struct nn_error *error)
{
	static const struct {
		const char *name;
		enum mosaic_merge merge;
	} names[] = { { "flat", MOSAIC_FLAT }, { "spatial", MOSAIC_SPATIAL }, { "spatial_unpad", MOSAIC_UNPAD_DOWN } };
	const char *aspect = nn_config_string(config, "image_aspect_ratio", NULL);
	const char *name = nn_config_string(config, "mm_patch_merge_type", NULL);

	/* LLaVA's own code merges only what it prepared as tiles. */
	if (aspect && strncmp(aspect, "anyres", 6))
		return MOSAIC_FLAT;
	if (!name)
		return has_newline ? MOSAIC_UNPAD : MOSAIC_FLAT;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i].name, name) && (names[i].merge < MOSAIC_UNPAD || has_newline))
			return (int)names[i].merge;
	nn_fail(error, -ENOTSUP, "config.json: features cannot be merged as mm_patch_merge_type \"%.64s\" says%s.", name,
		has_newline ? "" : ", without an image_newline in the files");
	return -1;
}

/* int(round(x, 7)) of Hugging Face's code; int(x) of LLaVA's own. */
static uint32_t mosaic_whole(enum mosaic_merge merge, double x)
{
	char text[64];

	if (merge == MOSAIC_UNPAD_DOWN)
		return (uint32_t)x;
	snprintf(text, sizeof(text), "%.7f", x);
	return (uint32_t)strtod(text, NULL);
}

/* The rows and columns of the mosaic that are not padding: [from, to). */
struct mosaic_part {
	uint32_t top, bottom, left, right;
};

static struct mosaic_part mosaic_unpad(enum mosaic_merge merge, const struct percept_layout *l, uint32_t rows, uint32_t cols)
{
	struct mosaic_part part = { 0, rows, 0, cols };

	if ((double)l->width / l->height > (double)cols / rows) {
		part.top = (rows - mosaic_whole(merge, l->height * ((double)cols / l->width))) / 2;
		part.bottom = rows - part.top;
	} else {
		part.left = (cols - mosaic_whole(merge, l->width * ((double)rows / l->height))) / 2;
		part.right = cols - part.left;
	}
	return part;
}

/* One row more of an order. */
static void mosaic_put(uint32_t *order, uint64_t *n, uint32_t row)
{
	if (order)
		order[*n] = row;
	++*n;
}

static void mosaic_piece(uint32_t piece, const struct percept_layout *l, uint32_t *order, uint64_t *n)
{
	for (uint32_t i = 0; i < l->tokens; i++)
		mosaic_put(order, n, piece * l->tokens + i);
}

static void mosaic_tiles(enum mosaic_merge merge, const struct percept_layout *l, uint32_t first, uint32_t *order, uint64_t *n)
{
	const uint32_t rows = l->grid_rows * l->rows, cols = l->grid_cols * l->cols;
	const struct mosaic_part all = { 0, rows, 0, cols }, part = merge >= MOSAIC_UNPAD ? mosaic_unpad(merge, l, rows, cols) : all;

	for (uint32_t y = part.top; y < part.bottom; y++) {
		for (uint32_t x = part.left; x < part.right; x++) {
			const uint32_t tile = first + y / l->rows * l->grid_cols + x / l->cols;

			mosaic_put(order, n, tile * l->tokens + y % l->rows * l->cols + x % l->cols);
		}
		if (merge >= MOSAIC_UNPAD)
			mosaic_put(order, n, MOSAIC_NEWLINE);
	}
}

/* Whether the pieces are the tiles of a grid, with or without an overview. */
static int mosaic_is_grid(const struct percept_layout *l)
{
	const uint64_t tiles = (uint64_t)l->grid_rows * l->grid_cols + (l->has_overview != PERCEPT_OVERVIEW_NONE);

	return tiles == l->items && l->rows && l->cols && (uint64_t)l->rows * l->cols == l->tokens && l->width && l->height;
}

uint32_t mosaic_order(enum mosaic_merge merge, const struct percept_layout *l, uint32_t *order)
{
	const uint64_t all = (uint64_t)l->items * l->tokens;
	uint64_t n = 0;

	if (!all || all > INT32_MAX / 2)
		return 0;
	if (l->items == 1 || merge == MOSAIC_FLAT) {
		for (uint32_t i = 0; i < l->items; i++)
			mosaic_piece(i, l, order, &n);
		if (merge >= MOSAIC_UNPAD)
			mosaic_put(order, &n, MOSAIC_NEWLINE);
		return (uint32_t)n;
	}
	if (!mosaic_is_grid(l))
		return 0;
	if (l->has_overview == PERCEPT_OVERVIEW_FIRST)
		mosaic_piece(0, l, order, &n);
	mosaic_tiles(merge, l, l->has_overview == PERCEPT_OVERVIEW_FIRST, order, &n);
	if (l->has_overview == PERCEPT_OVERVIEW_LAST)
		mosaic_piece(l->items - 1, l, order, &n);
	return (uint32_t)n;
}

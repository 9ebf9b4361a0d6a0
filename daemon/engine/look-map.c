/* look-map.c - which part of a picture each of its embeddings stands for, by the layout of its features. */
#include "daemon/engine/look.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MAP_POOL_MOST 16 /* patches that one row joins, in a direction */

struct map {
	struct look_image *image;
	const struct percept_layout *layout;
	uint32_t n;    /* embeddings */
	float *areas;  /* [n][4] */
};

/* ---- what each tile shows ---- */

static void map_set(float *area, double left, double top, double right, double bottom)
{
	area[0] = (float)left;
	area[1] = (float)top;
	area[2] = (float)right;
	area[3] = (float)bottom;
}

static int map_is_overview(const struct percept_layout *l, uint32_t tile)
{
	return (l->has_overview == PERCEPT_OVERVIEW_FIRST && tile == 0) ||
	       (l->has_overview == PERCEPT_OVERVIEW_LAST && tile + 1 == l->items);
}

/* Tiles lie row by row over the picture, which is in the middle of them if it was padded. */
static void map_view(const struct look_image *image, uint32_t tile, float *view)
{
	const struct percept_layout *l = &image->layout;
	const uint32_t at = tile - (l->has_overview == PERCEPT_OVERVIEW_FIRST ? 1 : 0);
	const double width = image->tile_width ? image->tile_width : l->cols, height = image->tile_height ? image->tile_height : l->rows;
	const double all_w = width * l->grid_cols, all_h = height * l->grid_rows;
	const int padded = image->tile_width && l->unpadded_width && l->unpadded_height && l->unpadded_width <= all_w &&
			   l->unpadded_height <= all_h;
	const double w = padded ? l->unpadded_width : all_w, h = padded ? l->unpadded_height : all_h;

	if (map_is_overview(l, tile) || l->grid_cols * l->grid_rows <= 1 || w <= 0 || h <= 0) {
		map_set(view, 0, 0, l->width, l->height);
		return;
	}
	const double x = (at % l->grid_cols) * width - (all_w - w) / 2, y = (at / l->grid_cols) * height - (all_h - h) / 2;

	map_set(view, x / w * l->width, y / h * l->height, (x + width) / w * l->width, (y + height) / h * l->height);
}

int look_views(struct look_image *image)
{
	const uint32_t n = image->layout.items;

	if (image->views && image->tiles == n)
		return 0;
	free(image->views);
	image->views = calloc((size_t)n + 1, 4 * sizeof(float));
	for (uint32_t i = 0; image->views && i < n; i++)
		map_view(image, i, image->views + (size_t)4 * i);
	return image->views ? 0 : -ENOMEM;
}

/* ---- what each embedding stands for ---- */

/* Cell (r, c) of a grid of rows x cols, each of `pool` patches of the tile's own grid. */
static void map_cell(const struct map *m, const float *view, uint32_t pool, uint32_t r, uint32_t c, float *area)
{
	const double rows = m->layout->rows, cols = m->layout->cols, w = view[2] - view[0], h = view[3] - view[1];

	map_set(area, view[0] + fmin(c * pool, cols) / cols * w, view[1] + fmin(r * pool, rows) / rows * h,
		view[0] + fmin((c + 1) * pool, cols) / cols * w, view[1] + fmin((r + 1) * pool, rows) / rows * h);
}

/* Every tile gives `lead` rows without a place, its grid in rows of `line` of which the first are cells, and what is left. */
struct map_shape {
	uint32_t pool, lead, line, each;
};

static void map_tiles(const struct map *m, const struct map_shape *s)
{
	const uint32_t rows = (m->layout->rows + s->pool - 1) / s->pool, cols = (m->layout->cols + s->pool - 1) / s->pool;

	for (uint32_t i = 0; i < m->layout->items; i++)
		for (uint32_t k = 0; k < rows * cols; k++) {
			const uint64_t at = (uint64_t)i * s->each + s->lead + (uint64_t)(k / cols) * s->line + k % cols;

			if (at < m->n)
				map_cell(m, m->image->views + (size_t)4 * i, s->pool, k / cols, k % cols, m->areas + 4 * at);
		}
}

/* All rows; the grid alone; pooled grids; those with a token behind each line, and those of which the last is without. */
static int map_by_tile(const struct map *m)
{
	const struct percept_layout *l = m->layout;
	const uint32_t tile = m->n / l->items, has_class = l->has_class != 0;

	if (m->n == (uint64_t)l->items * l->tokens && l->tokens >= has_class + l->rows * l->cols) {
		map_tiles(m, &(struct map_shape){ 1, has_class, l->cols, l->tokens });
		return 1;
	}
	for (uint32_t pool = 1; pool <= MAP_POOL_MOST; pool++) {
		const uint32_t rows = (l->rows + pool - 1) / pool, cols = (l->cols + pool - 1) / pool;
		const uint32_t line = tile == rows * cols ? cols : cols + 1;

		if ((uint64_t)tile * l->items != m->n ||
		    (tile != rows * cols && tile != rows * (cols + 1) && (l->items > 1 || tile != rows * (cols + 1) - 1)))
			continue;
		map_tiles(m, &(struct map_shape){ pool, 0, line, tile });
		return 1;
	}
	return 0;
}

/* LLaVA-NeXT (Liu 2024): the grid of all tiles loses the lines and columns that are padding, by the picture's shape. */
static void map_unpad(const struct percept_layout *l, uint32_t *rows, uint32_t *cols)
{
	const double picture = (double)l->width / l->height, grid = (double)*cols / *rows;

	if (picture > grid) {
		const uint32_t kept = (uint32_t)(l->height * ((double)*cols / l->width) + 1e-7), pad = kept < *rows ? (*rows - kept) / 2 : 0;

		*rows -= 2 * pad;
	} else {
		const uint32_t kept = (uint32_t)(l->width * ((double)*rows / l->height) + 1e-7), pad = kept < *cols ? (*cols - kept) / 2 : 0;

		*cols -= 2 * pad;
	}
}

/* The overview's rows, then those of all tiles as one grid, each line perhaps with a token behind it. */
static int map_as_one(const struct map *m)
{
	const struct percept_layout *l = m->layout;
	const uint32_t base = l->rows * l->cols;
	uint32_t rows = l->rows * l->grid_rows, cols = l->cols * l->grid_cols;

	if (l->has_overview != PERCEPT_OVERVIEW_FIRST || l->items < 2 || !l->width || !l->height || !rows || !cols)
		return 0;
	map_unpad(l, &rows, &cols);
	const uint32_t line = m->n == base + (uint64_t)rows * (cols + 1) ? cols + 1 : cols;

	if (m->n != base + (uint64_t)rows * line)
		return 0;
	for (uint32_t k = 0; k < base; k++)
		map_cell(m, m->image->views, 1, k / l->cols, k % l->cols, m->areas + (size_t)4 * k);
	for (uint32_t k = 0; k < rows * cols; k++) {
		const double w = (double)l->width / cols, h = (double)l->height / rows;
		const uint32_t r = k / cols, c = k % cols;

		map_set(m->areas + 4 * (base + (size_t)r * line + c), c * w, r * h, (c + 1) * w, (r + 1) * h);
	}
	return 1;
}

int look_map(struct look_image *image, const char *connector, uint32_t n, float *areas)
{
	const struct percept_layout *l = &image->layout;
	const struct map m = { image, l, n, areas };

	if (!l->rows || !l->cols || !l->items || !image->views) {
		snprintf(image->unmapped, sizeof(image->unmapped), "The encoder's features are no grid over the picture.");
		return 1;
	}
	if (n && (map_by_tile(&m) || map_as_one(&m)))
		return 0;
	snprintf(image->unmapped, sizeof(image->unmapped), "What part of the picture each of connector %s's tokens stands for is not known.",
		 connector);
	return 1;
}

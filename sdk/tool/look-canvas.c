/* look-canvas.c - pictures of what an encoder saw, and of attention over them. */
#include "sdk/tool/look.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CANVAS_GAP = 4, CANVAS_MOST = 2048, CANVAS_LEAST = 448, CANVAS_GREY = 96 };

static int canvas_new(struct look_canvas *canvas, size_t width, size_t height)
{
	canvas->width = (uint32_t)width;
	canvas->height = (uint32_t)height;
	canvas->rgb = malloc(width * height * 3 + 1);
	if (!canvas->rgb)
		return -ENOMEM;
	memset(canvas->rgb, CANVAS_GREY, width * height * 3);
	return 0;
}

static void canvas_put(struct look_canvas *canvas, const struct look *look, uint32_t tile, size_t x, size_t y)
{
	const size_t line = (size_t)look->tile_width * 3;
	for (size_t i = 0; i < look->tile_height; i++)
		memcpy(canvas->rgb + ((y + i) * canvas->width + x) * 3, look->pixels + (tile * look->tile_height + i) * line, line);
}

int look_draw_tiles(const struct look *look, struct look_canvas *canvas)
{
	const uint32_t whole = look->overview >= 0, grid = look->tiles - whole;
	uint32_t cols = look->grid_cols;
	*canvas = (struct look_canvas){0};
	if (!look->pixels)
		return 0;
	if ((uint64_t)look->grid_rows * look->grid_cols != grid)
		cols = (uint32_t)ceil(sqrt(grid));
	const uint32_t rows = cols ? (grid + cols - 1) / cols : 0, side = cols + whole, lines = rows ? rows : 1;
	const size_t wide = look->tile_width + CANVAS_GAP, high = look->tile_height + CANVAS_GAP;
	if (canvas_new(canvas, side * wide - CANVAS_GAP, lines * high - CANVAS_GAP))
		return -ENOMEM;
	const int first = look->overview == 0;
	for (uint32_t i = 0; i < grid; i++)
		canvas_put(canvas, look, i + (uint32_t)(whole && first), (i % cols + (uint32_t)(whole && first)) * wide, i / cols * high);
	if (whole)
		canvas_put(canvas, look, (uint32_t)look->overview, first ? 0 : cols * wide, 0);
	return 0;
}

/* Pixels of the canvas for one of the picture: what the finest tile has, within bounds. */
static double canvas_scale(const struct look *look)
{
	double scale = 0;
	for (uint32_t i = 0; look->views && i < look->tiles; i++) {
		const float *v = look->views + (size_t)4 * i;
		if (v[2] > v[0])
			scale = fmax(scale, look->tile_width / (double)(v[2] - v[0]));
	}
	const double most = CANVAS_MOST / fmax(look->width, look->height);
	return scale > 0 && scale < most ? scale : most;
}

static void canvas_view(struct look_canvas *canvas, const struct look *look, uint32_t tile, double scale)
{
	const float *v = look->views + (size_t)4 * tile;
	const uint8_t *pixels = look->pixels + (size_t)tile * look->tile_height * look->tile_width * 3;
	for (uint32_t y = 0; y < canvas->height; y++) {
		const double at_y = ((y + 0.5) / scale - v[1]) / (v[3] - v[1]) * look->tile_height;
		if (!(at_y >= 0 && at_y < look->tile_height))
			continue;
		for (uint32_t x = 0; x < canvas->width; x++) {
			const double at_x = ((x + 0.5) / scale - v[0]) / (v[2] - v[0]) * look->tile_width;
			if (at_x >= 0 && at_x < look->tile_width)
				memcpy(canvas->rgb + ((size_t)y * canvas->width + x) * 3,
				       pixels + ((size_t)at_y * look->tile_width + (size_t)at_x) * 3, 3);
		}
	}
}

int look_draw_picture(const struct look *look, struct look_canvas *canvas)
{
	*canvas = (struct look_canvas){0};
	if (!look->pixels || !look->views || !look->width || !look->height)
		return 0;
	const double scale = canvas_scale(look);
	if (canvas_new(canvas, (size_t)fmax(1, round(look->width * scale)), (size_t)fmax(1, round(look->height * scale))))
		return -ENOMEM;
	/* The finer tiles over the whole picture's. */
	if (look->overview >= 0)
		canvas_view(canvas, look, (uint32_t)look->overview, scale);
	for (uint32_t i = 0; i < look->tiles; i++)
		if ((int64_t)i != look->overview)
			canvas_view(canvas, look, i, scale);
	return 0;
}

/* A token's attention is spread evenly over its area. */
static void heat_add(float *heat, const struct look_canvas *canvas, const struct look *look, const float *area, double attention)
{
	const double sx = (double)canvas->width / look->width, sy = (double)canvas->height / look->height;
	const double x0 = fmax(area[0] * sx, 0), x1 = fmin(area[2] * sx, canvas->width);
	const double y0 = fmax(area[1] * sy, 0), y1 = fmin(area[3] * sy, canvas->height);
	const double size = (double)(area[2] - area[0]) * (area[3] - area[1]);
	if (!(size > 0))
		return;
	for (uint32_t y = (uint32_t)round(y0); y < (uint32_t)round(fmax(y1, 0)); y++)
		for (uint32_t x = (uint32_t)round(x0); x < (uint32_t)round(fmax(x1, 0)); x++)
			heat[(size_t)y * canvas->width + x] += (float)(attention / size);
}

int look_draw_heat(const struct look *look, int64_t token, const struct look_canvas *canvas, float *heat)
{
	const size_t n = (size_t)canvas->width * canvas->height;
	float most = 0;
	memset(heat, 0, n * sizeof *heat);
	for (uint32_t k = 0; k < look->n_tokens; k++) {
		double sum = 0;
		for (uint32_t t = 0; t < look->answer; t++)
			if (token < 0 || token == t)
				sum += look->attention[(size_t)t * look->n_tokens + k];
		heat_add(heat, canvas, look, look->areas + (size_t)4 * k, sum);
	}
	for (size_t i = 0; i < n; i++)
		most = fmaxf(most, heat[i]);
	for (size_t i = 0; i < n && most > 0; i++)
		heat[i] /= most;
	return most > 0;
}

void look_lay_heat(struct look_canvas *canvas, const float *heat)
{
	/* From nothing over violet and red to yellow. */
	static const double stops[][3] = {{0, 0, 0}, {90, 20, 140}, {220, 40, 50}, {255, 150, 20}, {255, 245, 120}};
	enum { LAST = sizeof stops / sizeof *stops - 1 };
	for (size_t i = 0; i < (size_t)canvas->width * canvas->height; i++) {
		uint8_t *p = canvas->rgb + 3 * i;
		const double at = sqrt(heat[i]) * LAST, grey = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
		const int stop = at < LAST ? (int)at : LAST - 1;
		for (int c = 0; c < 3; c++) {
			const double hot = stops[stop][c] + (stops[stop + 1][c] - stops[stop][c]) * (at - stop);
			const double kept = 0.35 * p[c] + 0.25 * grey;
			p[c] = (uint8_t)fmin(kept + hot * 0.65 * at / LAST + hot * 0.15, 255);
		}
	}
}

int look_enlarge(struct look_canvas *canvas)
{
	const uint32_t longest = canvas->width > canvas->height ? canvas->width : canvas->height;
	const uint32_t times = longest ? (CANVAS_LEAST + longest - 1) / longest : 1;
	struct look_canvas large;
	if (times <= 1)
		return 0;
	if (canvas_new(&large, (size_t)canvas->width * times, (size_t)canvas->height * times))
		return -ENOMEM;
	for (size_t y = 0; y < large.height; y++)
		for (size_t x = 0; x < large.width; x++)
			memcpy(large.rgb + (y * large.width + x) * 3, canvas->rgb + (y / times * canvas->width + x / times) * 3, 3);
	free(canvas->rgb);
	*canvas = large;
	return 0;
}

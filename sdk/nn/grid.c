/* grid.c - pictures as rows: patches, and position tables for other sizes. */
#include "sdk/nn/ops.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Rows of patches of pieces [n][3][height][width]. */
struct grid_patches {
	const float *pixels;
	struct nn_tensor y;
	size_t height, width, patch;
};

static void grid_patch_rows(void *arg, size_t begin, size_t end)
{
	const struct grid_patches *g = arg;
	const size_t patch = g->patch, across = g->width / patch, each = g->height / patch * across;

	for (size_t i = begin; i < end; i++) {
		const float *piece = g->pixels + i / each * 3 * g->height * g->width;
		const size_t top = i % each / across * patch, left = i % across * patch;
		float *to = g->y.data + i * g->y.stride;

		for (size_t plane = 0; plane < 3; plane++)
			for (size_t row = 0; row < patch; row++, to += patch)
				memcpy(to, piece + (plane * g->height + top + row) * g->width + left, patch * sizeof(float));
	}
}

struct nn_tensor nn_tile_patches(struct nn *c, const float *pixels, uint32_t n, uint32_t height, uint32_t width, uint32_t patch)
{
	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	const size_t down = patch ? height / patch : 0, across = patch ? width / patch : 0;

	if (!down || !across) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	struct grid_patches g = { .pixels = pixels, .y = nn_new(c, n * down * across, (size_t)3 * patch * patch),
				  .height = height, .width = width, .patch = patch };

	if (g.y.data)
		nn_split(c, g.y.rows, 64, grid_patch_rows, &g);
	return g.y;
}

struct nn_tensor nn_patches(struct nn *c, const float *pixels, uint32_t height, uint32_t width, uint32_t patch)
{
	return nn_tile_patches(c, pixels, 1, height, width, patch);
}

/* Rows `first` ... of the patches of frames. */
struct grid_windows {
	const float *pixels;
	const struct nn_windows *how;
	struct nn_tensor y;
	size_t first;
};

static void grid_window_rows(void *arg, size_t begin, size_t end)
{
	const struct grid_windows *g = arg;
	const struct nn_windows *how = g->how;
	const size_t patch = how->patch, merge = how->merge, across = how->width / patch / merge, unit = merge * merge;
	const size_t each = (size_t)how->height / patch / merge * across * unit, plane = (size_t)how->height * how->width;

	for (size_t i = begin; i < end; i++) {
		const size_t at = g->first + i, window = at % each / unit, inside = at % unit;
		const size_t top = (window / across * merge + inside / merge) * patch;
		const size_t left = (window % across * merge + inside % merge) * patch;
		float *to = g->y.data + i * g->y.stride;

		for (size_t colour = 0; colour < 3; colour++) {
			for (size_t k = 0; k < how->depth; k++) {
				const size_t frame = at / each * how->depth + k, last = how->frames - 1;
				const float *from = g->pixels + ((frame < last ? frame : last) * 3 + colour) * plane + left;

				for (size_t row = 0; row < patch; row++, to += patch)
					memcpy(to, from + (top + row) * how->width, patch * sizeof(float));
			}
		}
	}
}

struct nn_tensor nn_window_patches(struct nn *c, const float *pixels, const struct nn_windows *how, size_t first, size_t count)
{
	const uint64_t side = (uint64_t)how->patch * how->merge;

	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	if (!side || !how->depth || !how->frames || !how->width || !how->height || how->width % side || how->height % side) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	struct grid_windows g = { .pixels = pixels, .how = how, .first = first,
				  .y = nn_new(c, count, (size_t)3 * how->depth * how->patch * how->patch) };

	if (g.y.data)
		nn_split(c, count, 64, grid_window_rows, &g);
	return g.y;
}

/* Keys 1981, "Cubic convolution interpolation for digital image processing", a = -0.75: the weights of the four neighbours
 * at distances 1 + t, t, 1 - t, 2 - t. */
static void grid_weights(float t, float w[4])
{
	const float a = -0.75f;
	float far1 = t + 1, far2 = 2 - t, u = 1 - t;

	w[0] = ((a * far1 - 5 * a) * far1 + 8 * a) * far1 - 4 * a;
	w[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
	w[2] = ((a + 2) * u - (a + 3)) * u * u + 1;
	w[3] = ((a * far2 - 5 * a) * far2 + 8 * a) * far2 - 4 * a;
}

/* Where output `i` of `n_new` lies among n: the neighbours' indices, held inside, and their weights. */
static void grid_place(size_t i, size_t n, size_t n_new, size_t index[4], float w[4])
{
	float at = ((float)i + 0.5f) * ((float)n / (float)n_new) - 0.5f;
	float whole = floorf(at);

	grid_weights(at - whole, w);
	for (int j = 0; j < 4; j++) {
		long k = (long)whole - 1 + j;

		index[j] = k < 0 ? 0 : (size_t)k >= n ? n - 1 : (size_t)k;
	}
}

struct grid {
	struct nn_tensor x, y;
	size_t rows, cols, new_rows, new_cols;
};

static void grid_resize_rows(void *arg, size_t begin, size_t end)
{
	const struct grid *g = arg;

	for (size_t i = begin; i < end; i++) {
		size_t ri[4], ci[4];
		float rw[4], cw[4], *y = g->y.data + i * g->y.stride;

		grid_place(i / g->new_cols, g->rows, g->new_rows, ri, rw);
		grid_place(i % g->new_cols, g->cols, g->new_cols, ci, cw);
		memset(y, 0, g->y.cols * sizeof(*y));
		for (int r = 0; r < 4; r++) {
			const float *x[4];

			for (int j = 0; j < 4; j++)
				x[j] = g->x.data + (ri[r] * g->cols + ci[j]) * g->x.stride;
			for (size_t k = 0; k < g->y.cols; k++)
				y[k] += rw[r] * (cw[0] * x[0][k] + cw[1] * x[1][k] + cw[2] * x[2][k] + cw[3] * x[3][k]);
		}
	}
}

struct nn_tensor nn_resize_grid(struct nn *c, struct nn_tensor table, uint32_t rows, uint32_t cols, uint32_t new_rows,
				uint32_t new_cols)
{
	struct grid g = { .x = table, .rows = rows, .cols = cols, .new_rows = new_rows, .new_cols = new_cols };

	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	if (!rows || !cols || !new_rows || !new_cols || table.rows != (size_t)rows * cols) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	g.y = nn_new(c, (size_t)new_rows * new_cols, table.cols);
	nn_split(c, g.y.rows, 16, grid_resize_rows, &g);
	return g.y;
}

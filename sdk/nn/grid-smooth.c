/* grid-smooth.c - position tables for other sizes, as torch's interpolate(antialias=True, align_corners=False) makes them: each axis by
 * itself, columns first, weights over all old places that a new one covers. */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "sdk/nn/ops.h"

/* Keys 1981 with a = -0.5, of a distance. */
static float smooth_cubic(float x)
{
	const float a = -0.5f;

	x = fabsf(x);
	if (x < 1)
		return ((a + 2) * x - (a + 3)) * x * x + 1;
	return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static float smooth_linear(float x)
{
	x = fabsf(x);
	return x < 1 ? 1 - x : 0;
}

/* A kernel and how far it reaches. */
struct smooth {
	float (*weight)(float distance);
	float reach;
};
static const struct smooth smooth_by_cubic = { smooth_cubic, 2 }, smooth_by_linear = { smooth_linear, 1 };

/* One axis: from `n` places to `n_new`; an element of `n` is `each` floats, `lines` such axes lie behind each other. */
struct smooth_axis {
	const struct smooth *by;
	const float *x;
	float *y;
	size_t n, n_new, each;
};

/* Old places [*first, *first + *count) and their weights, which add up to 1. */
static void smooth_place(const struct smooth_axis *a, size_t i, size_t *first, size_t *count, float *w)
{
	const float scale = (float)a->n / (float)a->n_new, wide = scale > 1 ? scale : 1;
	const float reach = a->by->reach * wide, centre = scale * ((float)i + 0.5f);
	const long low = (long)(centre - reach + 0.5f), high = (long)(centre + reach + 0.5f);
	float sum = 0;

	*first = low < 0 ? 0 : (size_t)low;
	*count = (high > (long)a->n ? a->n : (size_t)high) - *first;
	for (size_t k = 0; k < *count; k++) {
		w[k] = a->by->weight(((float)(*first + k) - centre + 0.5f) / wide);
		sum += w[k];
	}
	for (size_t k = 0; k < *count && sum != 0; k++)
		w[k] /= sum;
}

/* Line `line`, new place `i`. */
static void smooth_one(const struct smooth_axis *a, size_t line, size_t i, float *w)
{
	size_t first, count;
	float *y = a->y + (line * a->n_new + i) * a->each;

	smooth_place(a, i, &first, &count, w);
	memset(y, 0, a->each * sizeof(*y));
	for (size_t k = 0; k < count; k++) {
		const float *x = a->x + (line * a->n + first + k) * a->each;

		for (size_t j = 0; j < a->each; j++)
			y[j] += w[k] * x[j];
	}
}

static struct nn_tensor smooth_resize(struct nn *c, const struct smooth *by, struct nn_tensor table, uint32_t rows, uint32_t cols,
				      uint32_t new_rows, uint32_t new_cols)
{
	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	if (!rows || !cols || !new_rows || !new_cols || table.rows != (size_t)rows * cols || table.stride != table.cols) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	struct nn_tensor half = nn_new(c, (size_t)rows * new_cols, table.cols), y = nn_new(c, (size_t)new_rows * new_cols, table.cols);
	float *w = nn_memory(c, (rows > cols ? rows : cols) + 1, sizeof(*w));
	const struct smooth_axis across = { by, table.data, half.data, cols, new_cols, table.cols };
	const struct smooth_axis down = { by, half.data, y.data, rows, new_rows, new_cols * table.cols };

	if (!half.data || !y.data || !w)
		return (struct nn_tensor){ 0 };
	for (size_t i = 0; i < half.rows; i++)
		smooth_one(&across, i / new_cols, i % new_cols, w);
	for (size_t i = 0; i < new_rows; i++)
		smooth_one(&down, 0, i, w);
	return y;
}

struct nn_tensor nn_resize_grid_smooth(struct nn *c, struct nn_tensor table, uint32_t rows, uint32_t cols, uint32_t new_rows,
				       uint32_t new_cols)
{
	return smooth_resize(c, &smooth_by_cubic, table, rows, cols, new_rows, new_cols);
}

struct nn_tensor nn_resize_grid_linear(struct nn *c, struct nn_tensor table, uint32_t rows, uint32_t cols, uint32_t new_rows,
				       uint32_t new_cols)
{
	return smooth_resize(c, &smooth_by_linear, table, rows, cols, new_rows, new_cols);
}

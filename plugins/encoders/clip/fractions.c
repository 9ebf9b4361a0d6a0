/* fractions.c - positions of a picture of any size as NaViT has them (Dehghani 2023), in Idefics3's form: a patch's row and column as
 * fractions of the picture's sides find their places in the table. All in float32, rounded as the reference rounds, which for some
 * grids (19, 25, 29 ...) gives two neighbours one place. */
#include "plugins/encoders/clip/clip.h"

#include <math.h>
#include <string.h>

/* Where place k + 1 of `side` begins. The reference counts (k + 1) / side in runs of eight, the last up to fifteen one by one. */
static float fractions_border(uint32_t k, uint32_t side)
{
	const double step = 1.0 / side;
	const uint32_t n = (uint32_t)ceil((1.0 - step) / step), run = k < n / 16 * 16 ? k % 8 : 0;
	const float base = (float)(step + step * (k - run));

	return run ? (float)(base + run * step) : base;
}

/* The place among `side` of patch i of `n`. */
static uint32_t fractions_place(uint32_t i, uint32_t n, uint32_t side)
{
	const double step = 1.0 / side;
	const uint32_t borders = (uint32_t)ceil((1.0 - step) / step);
	const float most = (float)(1.0 - 1e-6), at = (float)i * (1.0f / (float)n), x = at < most ? at : most;
	uint32_t place = 0;

	while (place < borders && fractions_border(place, side) <= x)
		place++;
	return place < side ? place : side - 1;
}

struct nn_tensor fractions_positions(struct nn *c, struct nn_tensor table, uint32_t side, uint32_t rows, uint32_t cols)
{
	struct nn_tensor y = nn_new(c, (size_t)rows * cols, table.cols);
	uint32_t *across = nn_memory(c, cols, sizeof(*across));

	if (!y.data || !across)
		return (struct nn_tensor){ 0 };
	for (uint32_t i = 0; i < cols; i++)
		across[i] = fractions_place(i, cols, side);
	for (uint32_t row = 0; row < rows; row++) {
		const size_t down = (size_t)fractions_place(row, rows, side) * side;

		for (uint32_t i = 0; i < cols; i++)
			memcpy(y.data + ((size_t)row * cols + i) * y.stride, table.data + (down + across[i]) * table.stride,
			       table.cols * sizeof(float));
	}
	return y;
}

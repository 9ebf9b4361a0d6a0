/* turns.c - rotary positions of a grid of patches, by its rows and columns (Fang 2023, EVA-02). */
#include <math.h>

#include "plugins/encoders/clip/clip.h"

/* Where patch i of n lies on the axis of the grid that the tower was trained with. */
static float turns_place(const struct turns *t, uint32_t i, uint32_t n, uint32_t trained)
{
	const float at = (float)i + t->offset;

	return trained ? at / (float)n * (float)trained : at;
}

/* One patch's angles: a half for each axis, which has n bands. */
static void turns_row(const struct turns *t, const float *bands, uint32_t n, float y, float x, float *cosine, float *sine)
{
	const float first = t->across ? x : y, second = t->across ? y : x;

	for (uint32_t i = 0; i < 2 * n; i++) {
		const float angle = (i < n ? first : second) * bands[i];

		cosine[i] = cosf(angle);
		sine[i] = sinf(angle);
	}
}

const struct nn_rotary *turns_of(struct nn *c, const struct vision *v, uint32_t rows, uint32_t cols, uint32_t n)
{
	const struct turns *t = &v->turns;
	const uint32_t head = v->tower.d_model / v->tower.n_heads, half = head / 2, quarter = head / 4;
	const size_t each = v->n_prefix + (size_t)rows * cols;
	struct nn_rotary *r = t->on ? nn_memory(c, 1, sizeof(*r)) : NULL;
	struct nn_tensor cosine = r ? nn_new(c, n * each, half) : (struct nn_tensor){ 0 };
	struct nn_tensor sine = r ? nn_new(c, n * each, half) : (struct nn_tensor){ 0 };
	float *bands = r ? nn_memory(c, half, sizeof(*bands)) : NULL;

	if (!cosine.data || !sine.data || !bands)
		return NULL;
	for (uint32_t i = 0; i < 2 * quarter; i++)
		bands[i] = 1 / powf(t->base, ((float)(i % quarter) + (i < quarter ? 0 : t->between)) / (float)quarter);
	for (size_t i = 0; i < cosine.rows; i++) {
		float *cos_row = cosine.data + i * half, *sin_row = sine.data + i * half;
		const uint32_t at = (uint32_t)(i % each);

		if (at >= v->n_prefix) {
			const uint32_t patch = at - v->n_prefix;

			turns_row(t, bands, quarter, turns_place(t, patch / cols, rows, t->rows),
				  turns_place(t, patch % cols, cols, t->cols), cos_row, sin_row);
			continue;
		}
		for (uint32_t k = 0; k < half; k++)
			cos_row[k] = 1, sin_row[k] = 0;
	}
	*r = (struct nn_rotary){ cosine.data, sine.data, head, !t->half };
	return r;
}

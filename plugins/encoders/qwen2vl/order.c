/* order.c - where patches lie: connector's windows, the tower's windows of these, and the angles of rows and columns. */
#include "plugins/encoders/qwen2vl/qwen2vl.h"

#include <math.h>

/* The part of the grid of connector's windows that see each other. */
struct order_block {
	uint32_t top, left, height, width;
};

static uint32_t order_least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* A block's patches, connector's window by window, as rows from `at` on. Returns the row behind them. */
static uint32_t order_put(const struct qwen2vl *v, const struct order_block *b, struct qwen2vl_order *o, uint32_t at)
{
	const uint32_t m = v->merge, across = o->cols / m, begin = at;

	for (uint32_t i = 0; i < b->height * b->width; i++) {
		const uint32_t y = b->top + i / b->width, x = b->left + i % b->width;

		for (uint32_t k = 0; k < m * m; k++, at++) {
			o->from[at] = (y * across + x) * m * m + k;
			o->to[at] = (y * m + k / m) * o->cols + x * m + k % m;
		}
	}
	for (uint32_t i = begin; o->first && i < at; i++) {
		o->first[i] = begin;
		o->visible[i] = at;
	}
	return at;
}

/* Su 2021, for two axes: the first half of a head's pairs turns by the patch's row, the second by its column. */
static void order_angles(const struct qwen2vl *v, const struct qwen2vl_order *o, float *cosine, float *sine)
{
	const size_t half = o->rotary.dim / 2, quarter = half / 2, n = (size_t)o->rows * o->cols;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < half; k++) {
			const uint32_t at = k < quarter ? o->to[i] / o->cols : o->to[i] % o->cols;
			const float angle = (float)at * v->inv_freq[k % quarter];

			cosine[i * half + k] = cosf(angle);
			sine[i * half + k] = sinf(angle);
		}
	}
}

int qwen2vl_arrange(struct nn *c, const struct qwen2vl *v, uint32_t rows, uint32_t cols, struct qwen2vl_order *o)
{
	const size_t n = (size_t)rows * cols, head = v->tower.d_model / v->tower.n_heads;
	const uint32_t down = rows / v->merge, across = cols / v->merge;
	const uint32_t high = v->window ? v->window : down, wide = v->window ? v->window : across;
	float *cosine = nn_memory(c, n * head / 2, sizeof(float)), *sine = nn_memory(c, n * head / 2, sizeof(float));
	uint32_t at = 0;

	*o = (struct qwen2vl_order){ .rows = rows, .cols = cols, .from = nn_memory(c, n, sizeof(uint32_t)),
				     .to = nn_memory(c, n, sizeof(uint32_t)), .rotary = { cosine, sine, (uint32_t)head, 0 } };
	if (v->window) {
		o->first = nn_memory(c, n, sizeof(uint32_t));
		o->visible = nn_memory(c, n, sizeof(uint32_t));
	}
	for (uint32_t top = 0; !c->error && top < down; top += order_least(high, down - top)) {
		for (uint32_t left = 0; left < across; left += order_least(wide, across - left)) {
			const struct order_block b = { top, left, order_least(high, down - top), order_least(wide, across - left) };

			at = order_put(v, &b, o, at);
		}
	}
	if (!c->error)
		order_angles(v, o, cosine, sine);
	return c->error;
}

/* page.c - writing keys and values into pages. */
#include "sdk/nn/page.h"

#include <errno.h>
#include <math.h>
#include <string.h>

size_t nn_page_bytes(const struct nn_page_shape *shape)
{
	return page_head_bytes(shape) * shape->kv_heads;
}

/* x [n] to 8 bits; returns the scale. */
static float page_quantise(int8_t *q, const float *x, size_t n)
{
	float most = 0;

	for (size_t i = 0; i < n; i++)
		most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
	float scale = most / 127, inverse = scale > 0 ? 1 / scale : 0;

	if (!isfinite(inverse) || !isfinite(most))
		inverse = 0;
	for (size_t i = 0; i < n; i++)
		q[i] = (int8_t)lrintf(x[i] * inverse);
	return scale;
}

/* One position of a panel: x [n] as kept in the page, and what it was scaled by. `numbers` has room for KERNEL_PANEL. */
static void page_narrow(struct nn *c, const struct nn_page_shape *shape, void *numbers, float *scale, const float *x, size_t n)
{
	memset(numbers, 0, KERNEL_PANEL * page_element(shape));
	if (shape->type == NN_PAGE_F32)
		memcpy(numbers, x, n * sizeof(*x));
	else if (shape->type == NN_PAGE_F16)
		kernels_of(c)->narrow(numbers, x, n);
	else
		*scale = page_quantise(numbers, x, n);
}

#define PAGE_TURN(name, number)                                                 \
	static void name(void *panel, const void *numbers, uint32_t slot, size_t n) \
	{                                                                       \
		number *to = (number *)panel + slot;                            \
		const number *from = numbers;                                   \
                                                                                \
		for (size_t i = 0; i < n; i++)                                  \
			to[i * NN_PAGE] = from[i];                              \
	}
PAGE_TURN(page_turn_32, uint32_t)
PAGE_TURN(page_turn_16, uint16_t)
PAGE_TURN(page_turn_8, uint8_t)

/* x [n] to position `slot` of the panels at `panel` and their scales. */
static void page_put(struct nn *c, const struct nn_page_shape *shape, const struct page_panel *panel, uint32_t slot,
		     const float *x, size_t n)
{
	static void (*const turn[])(void *, const void *, uint32_t, size_t) = {
		[NN_PAGE_F32] = page_turn_32, [NN_PAGE_F16] = page_turn_16, [NN_PAGE_Q8] = page_turn_8 };
	size_t bytes = KERNEL_PANEL * page_element(shape), width = n < KERNEL_PANEL ? n : KERNEL_PANEL;
	_Alignas(64) float numbers[KERNEL_PANEL];
	float scale = 0;

	page_narrow(c, shape, numbers, &scale, x, width);
	if (panel->by_row)
		memcpy((char *)panel->data + slot * bytes, numbers, bytes);
	else
		turn[shape->type](panel->data, numbers, slot, width);
	if (panel->scale)
		panel->scale[slot] = scale;
}

void nn_page_write(struct nn *c, void *page, const struct nn_page_shape *shape, uint32_t slot, const float *k, const float *v)
{
	for (size_t h = 0; h < shape->kv_heads; h++, k += shape->dk, v += shape->dv) {
		const void *head = page_head(shape, page, h);

		for (size_t i = 0; i < shape->dk; i += NN_PAGE) {
			struct page_panel panel = page_keys(shape, head, i / NN_PAGE);

			page_put(c, shape, &panel, slot, k + i, shape->dk - i);
		}
		for (size_t i = 0; i < shape->dv; i += KERNEL_PANEL) {
			struct page_panel panel = page_values(shape, head, i / KERNEL_PANEL);

			page_put(c, shape, &panel, slot, v + i, shape->dv - i);
		}
	}
}

struct page_rows {
	struct nn *c;
	const struct nn_page_shape *shape;
	void *const *const *pages;
	const uint32_t *position;
	struct nn_tensor k, v;
};

static void page_write_some(void *arg, size_t begin, size_t end)
{
	const struct page_rows *p = arg;

	for (size_t t = begin; t < end; t++)
		nn_page_write(p->c, p->pages[t][p->position[t] / NN_PAGE], p->shape, p->position[t] % NN_PAGE,
			      p->k.data + t * p->k.stride, p->v.data + t * p->v.stride);
}

void nn_page_write_rows(struct nn *c, const struct nn_page_shape *shape, void *const *const *pages, const uint32_t *position,
			struct nn_tensor k, struct nn_tensor v)
{
	struct page_rows p = { c, shape, pages, position, k, v };

	if (nn_stopped(c))
		return;
	kernels_of(c);
	if (k.rows != v.rows || k.cols != (size_t)shape->kv_heads * shape->dk || v.cols != (size_t)shape->kv_heads * shape->dv)
		c->error = -EINVAL;
	else
		nn_split(c, k.rows, 8192 / (k.cols + 1) + 1, page_write_some, &p);
}

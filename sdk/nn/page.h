/* page.h - the layout of a page of keys and values. Only files of sdk/nn include this.
 *
 * For each head: keys, transposed, [dk, made even][NN_PAGE]; values in panels [NN_PAGE][KERNEL_PANEL] of their columns. Both are the
 * panels that the products of attention take. In 8 bits scales follow: of keys [dk / 32][NN_PAGE], of values
 * [panel][NN_PAGE], one for each 32 numbers of one position.
 */
#ifndef NN_PAGE_H
#define NN_PAGE_H

#include "sdk/nn/kernels.h"
#include "sdk/nn/ops.h"

_Static_assert((int)NN_PAGE == (int)KERNEL_PANEL, "a page of keys is a panel");

/* A panel of a page. */
struct page_panel {
	void *data;
	float *scale; /* of 8 bits; NULL: none */
	int by_row;   /* a scale is a row's, and rows are positions; else a column's */
};

static inline size_t page_value_panels(const struct nn_page_shape *shape)
{
	return (shape->dv + KERNEL_PANEL - 1) / KERNEL_PANEL;
}

static inline size_t page_key_panels(const struct nn_page_shape *shape)
{
	return (shape->dk + NN_PAGE - 1) / NN_PAGE;
}

/* Bytes of a number. */
static inline size_t page_element(const struct nn_page_shape *shape)
{
	return shape->type == NN_PAGE_F32 ? 4 : shape->type == NN_PAGE_F16 ? 2 : 1;
}

/* Where the values of a head begin; its scales; its end. */
static inline size_t page_values_at(const struct nn_page_shape *shape)
{
	return (shape->dk + 1) / 2 * 2 * NN_PAGE * page_element(shape);
}

static inline size_t page_scales_at(const struct nn_page_shape *shape)
{
	return page_values_at(shape) + page_value_panels(shape) * NN_PAGE * KERNEL_PANEL * page_element(shape);
}

static inline size_t page_head_bytes(const struct nn_page_shape *shape)
{
	size_t scales = shape->type == NN_PAGE_Q8 ? page_key_panels(shape) + page_value_panels(shape) : 0;

	return page_scales_at(shape) + scales * NN_PAGE * sizeof(float);
}

static inline void *page_head(const struct nn_page_shape *shape, void *page, size_t head)
{
	return (char *)page + head * page_head_bytes(shape);
}

/* The scales of a head's panel, of which the keys' are the first. */
static inline float *page_scales(const struct nn_page_shape *shape, const void *head, size_t panel)
{
	return shape->type == NN_PAGE_Q8 ? (float *)((char *)head + page_scales_at(shape)) + panel * NN_PAGE : NULL;
}

/* The panel of 32 of a head's keys' numbers. */
static inline struct page_panel page_keys(const struct nn_page_shape *shape, const void *head, size_t panel)
{
	return (struct page_panel){ (char *)head + panel * NN_PAGE * NN_PAGE * page_element(shape),
				    page_scales(shape, head, panel), 0 };
}

/* The panel of 32 of a head's values' numbers. */
static inline struct page_panel page_values(const struct nn_page_shape *shape, const void *head, size_t panel)
{
	return (struct page_panel){ (char *)head + page_values_at(shape) + panel * NN_PAGE * KERNEL_PANEL * page_element(shape),
				    page_scales(shape, head, page_key_panels(shape) + panel), 1 };
}

#endif

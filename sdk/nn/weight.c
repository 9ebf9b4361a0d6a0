/* weight.c - a weight's values, whatever type its file gives them: read, cut, turned. */
#include "sdk/nn/checkpoint.h"

#include <string.h>

#include "sdk/nn/half.h"

int nn_weight_usable(const struct nn_weight *w)
{
	return w->type <= NN_BF16 || (w->type == NN_BLOCKS && w->format);
}

size_t nn_weight_row_bytes(const struct nn_weight *w)
{
	if (w->type == NN_BLOCKS)
		return w->cols / w->format->elements * w->format->bytes;
	return w->cols * (w->type == NN_F32 ? sizeof(float) : sizeof(uint16_t));
}

void nn_weight_read(const struct nn_weight *w, size_t first, size_t rows, float *f)
{
	const unsigned char *data = (const unsigned char *)w->data + first * nn_weight_row_bytes(w);

	if (w->type == NN_BLOCKS)
		nn_blocks_expand(w->format, data, rows * (w->cols / w->format->elements), f);
	else
		half_to_f32(f, data, rows * w->cols, w->type);
}

const float *nn_weight_f32(struct nn_checkpoint *cp, struct nn_weight *w)
{
	size_t n = w->rows * w->cols, bytes;

	if (w->f32 || !nn_weight_usable(w))
		return w->f32;
	float *f = __builtin_mul_overflow(n, sizeof(float), &bytes) ? NULL : nn_checkpoint_alloc(cp, bytes);

	if (!f)
		return NULL;
	nn_weight_read(w, 0, w->rows, f);
	w->f32 = f;
	return f;
}

/* A weight of rank 2 that shares the name and the type of `w`. */
static struct nn_weight *weight_new(struct nn_checkpoint *cp, const struct nn_weight *w, size_t rows, size_t cols)
{
	struct nn_weight *made = nn_checkpoint_alloc(cp, sizeof(*made));

	if (!made)
		return NULL;
	*made = (struct nn_weight){
		.name = w->name, .type = w->type, .format = w->format, .rank = 2, .shape = { rows, cols }, .rows = rows,
		.cols = cols, .file = w->file,
	};
	return made;
}

struct nn_weight *nn_weight_rows(struct nn_checkpoint *cp, const struct nn_weight *w, size_t first, size_t rows, size_t cols)
{
	const size_t split = !cols || !w->cols || w->cols % cols ? 1 : w->cols / cols, each = w->cols / split;

	if (!nn_weight_usable(w) || first > w->rows || rows > w->rows - first || (cols && each != cols) ||
	    (w->type == NN_BLOCKS && each % w->format->elements))
		return NULL;
	struct nn_weight *made = weight_new(cp, w, rows * split, each);

	if (!made)
		return NULL;
	made->data = (const unsigned char *)w->data + first * nn_weight_row_bytes(w);
	made->bytes = rows * nn_weight_row_bytes(w);
	return made;
}

struct nn_weight *nn_weight_transposed(struct nn_checkpoint *cp, const struct nn_weight *w)
{
	const size_t size = w->type == NN_F32 ? sizeof(float) : sizeof(uint16_t);
	struct nn_weight *made = w->type <= NN_BF16 ? weight_new(cp, w, w->cols, w->rows) : NULL;
	unsigned char *data = made ? nn_checkpoint_alloc(cp, w->bytes) : NULL;
	const unsigned char *from = w->data;

	if (!data)
		return NULL;
	for (size_t r = 0; r < w->rows; r++)
		for (size_t i = 0; i < w->cols; i++, from += size)
			memcpy(data + (i * w->rows + r) * size, from, size);
	made->data = data;
	made->bytes = w->bytes;
	return made;
}

/* depthwise.c - convolution of each channel by itself, rows of pixels spread over the threads. */
#include <errno.h>
#include <string.h>

#include "sdk/nn/kernels.h"
#include "sdk/nn/ops.h"

enum { DEPTHWISE_EDGE = KERNEL_DEPTH / 2 };

struct depthwise {
	const struct nn_kernels *kernels;
	struct nn_tensor x, y;
	const float *padded; /* (height, width + 2 * DEPTHWISE_EDGE, channels) */
	const float *w, *b;
	size_t height, width;
};

static void depthwise_rows(void *arg, size_t begin, size_t end)
{
	const struct depthwise *d = arg;
	const size_t line = (d->width + 2 * DEPTHWISE_EDGE) * d->x.cols;

	for (size_t y = begin; y < end; y++) {
		struct kernel_depthwise k = { .out = d->y.data + y * d->width * d->y.cols, .w = d->w, .b = d->b, .cols = d->width,
					      .channels = d->x.cols };

		for (size_t r = 0; r < KERNEL_DEPTH; r++)
			k.rows[r] = y + r >= DEPTHWISE_EDGE && y + r < d->height + DEPTHWISE_EDGE ?
				    d->padded + (y + r - DEPTHWISE_EDGE) * line : NULL;
		d->kernels->depthwise(&k);
	}
}

struct nn_tensor nn_depthwise(struct nn *c, struct nn_tensor x, uint32_t height, uint32_t width, const float *w, const float *b)
{
	const size_t n = x.cols, edge = DEPTHWISE_EDGE * n, line = (width + (size_t)2 * DEPTHWISE_EDGE) * n;

	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	if (!height || !width || x.rows != (size_t)height * width || x.stride != n) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	struct nn_tensor y = nn_new(c, x.rows, n);
	struct nn_arena_mark mark = nn_arena_mark(c->arena);
	float *padded = nn_memory(c, (size_t)height * line, sizeof(*padded));
	struct depthwise d = { kernels_of(c), x, y, padded, w, b, height, width };

	for (size_t i = 0; padded && i < height; i++) {
		memset(padded + i * line, 0, edge * sizeof(*padded));
		memcpy(padded + i * line + edge, x.data + i * width * n, width * n * sizeof(*padded));
		memset(padded + i * line + edge + width * n, 0, edge * sizeof(*padded));
	}
	if (padded && y.data)
		nn_split(c, height, 1, depthwise_rows, &d);
	nn_arena_release(c->arena, mark);
	return c->error ? (struct nn_tensor){ 0 } : y;
}

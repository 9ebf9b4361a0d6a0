/* conv.c - pictures as rows of channels: depthwise convolution, pooling. */
#include "sdk/nn/ops.h"

#include <errno.h>

struct conv {
	struct nn_tensor x, y;
	const float *weights, *bias;
	size_t rows, cols, out_cols;
	uint32_t kernel, stride;
};

/* y [channels] += w * x. */
static void conv_add(float *y, const float *w, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] += w[i] * x[i];
}

static void conv_depthwise_rows(void *arg, size_t begin, size_t end)
{
	const struct conv *v = arg;
	const size_t n = v->x.cols;
	const int64_t edge = v->kernel / 2;

	for (size_t i = begin; i < end; i++) {
		const int64_t top = (int64_t)(i / v->out_cols * v->stride) - edge, left = (int64_t)(i % v->out_cols * v->stride) - edge;
		float *y = v->y.data + i * v->y.stride;

		for (size_t k = 0; k < n; k++)
			y[k] = v->bias ? v->bias[k] : 0;
		for (size_t tap = 0; tap < (size_t)v->kernel * v->kernel; tap++) {
			const int64_t row = top + (int64_t)(tap / v->kernel), col = left + (int64_t)(tap % v->kernel);

			if (row >= 0 && row < (int64_t)v->rows && col >= 0 && col < (int64_t)v->cols)
				conv_add(y, v->weights + tap * n, v->x.data + ((size_t)row * v->cols + (size_t)col) * v->x.stride, n);
		}
	}
}

struct nn_tensor nn_channel_conv(struct nn *c, struct nn_tensor x, uint32_t rows, uint32_t cols, const float *weights,
			      const float *bias, const struct nn_kernel *kernel)
{
	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	if (!rows || !cols || x.rows != (size_t)rows * cols || !kernel->stride || kernel->side % 2 == 0) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	const size_t out_rows = (rows - 1) / kernel->stride + 1, out_cols = (cols - 1) / kernel->stride + 1;
	struct conv v = { .x = x, .y = nn_new(c, out_rows * out_cols, x.cols), .weights = weights, .bias = bias, .rows = rows,
			  .cols = cols, .out_cols = out_cols, .kernel = kernel->side, .stride = kernel->stride };

	if (v.y.data)
		nn_split(c, v.y.rows, 8, conv_depthwise_rows, &v);
	return v.y;
}

struct nn_tensor nn_pool_grid(struct nn *c, struct nn_tensor x, uint32_t rows, uint32_t cols, uint32_t out_rows, uint32_t out_cols)
{
	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	if (!rows || !cols || x.rows != (size_t)rows * cols || !out_rows || !out_cols) {
		c->error = -EINVAL;
		return (struct nn_tensor){ 0 };
	}
	struct nn_tensor y = nn_new(c, (size_t)out_rows * out_cols, x.cols);

	for (size_t i = 0; i < y.rows; i++) {
		const uint64_t row = i / out_cols, col = i % out_cols;
		const size_t top = row * rows / out_rows, bottom = ((row + 1) * rows + out_rows - 1) / out_rows;
		const size_t left = col * cols / out_cols, right = ((col + 1) * cols + out_cols - 1) / out_cols;
		const float part = 1.0f / (float)((bottom - top) * (right - left));
		float *to = y.data + i * y.stride;

		for (size_t k = 0; k < y.cols; k++)
			to[k] = 0;
		for (size_t r = top; r < bottom; r++)
			for (size_t s = left; s < right; s++)
				for (size_t k = 0; k < y.cols; k++)
					to[k] += x.data[(r * cols + s) * x.stride + k];
		for (size_t k = 0; k < y.cols; k++)
			to[k] *= part;
	}
	return y;
}

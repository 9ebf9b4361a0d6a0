/* forward.c - ConvNeXt (Liu 2022) and its second version (Woo 2023): a map of pixels is (rows * cols, channels) throughout. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plugins/encoders/convnext/convnext.h"

struct map {
	struct nn_tensor x;
	uint32_t rows, cols;
};

uint32_t convnext_stride(const struct convnext *k, uint32_t layer)
{
	return k->patch << (layer > 1 ? layer - 1 : 0);
}

uint32_t convnext_dim(const struct convnext *k, uint32_t layer)
{
	return k->stages[layer ? layer - 1 : 0].dim;
}

static void convnext_scale(struct nn_tensor x, const float *scale)
{
	for (size_t i = 0; scale && x.data && i < x.rows; i++)
		for (size_t j = 0; j < x.cols; j++)
			x.data[i * x.stride + j] *= scale[j];
}

/* Global response normalisation: x += w (x n) + b, n = |x| of a channel over all pixels by the mean of those. (Woo 2023, section 4) */
static void convnext_responses(struct nn *c, struct nn_tensor x, const struct norm *grn)
{
	double *n = grn->w && x.data ? nn_memory(c, x.cols, sizeof(*n)) : NULL, mean = 0;

	for (size_t j = 0; n && j < x.cols; j++) {
		n[j] = 0;
		for (size_t i = 0; i < x.rows; i++)
			n[j] += (double)x.data[i * x.stride + j] * x.data[i * x.stride + j];
		n[j] = sqrt(n[j]);
		mean += n[j] / (double)x.cols;
	}
	for (size_t i = 0; n && i < x.rows; i++)
		for (size_t j = 0; j < x.cols; j++) {
			float *at = &x.data[i * x.stride + j];

			*at += grn->w[j] * (*at * (float)(n[j] / (mean + 1e-6))) + grn->b[j];
		}
}

/* x += scale * fc2(responses(act(fc1(norm(depthwise x))))) */
static void convnext_block(struct nn *c, const struct convnext *k, const struct convnext_block *b, const struct map *m)
{
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);
	struct nn_tensor y = nn_depthwise(c, m->x, m->rows, m->cols, b->dw, b->dw_bias);

	y = nn_gemm(c, nn_layer_norm(c, y, b->norm.w, b->norm.b, k->eps), b->fc1.w, b->fc1.b);
	nn_activate(c, y, k->activation);
	convnext_responses(c, y, &b->grn);
	y = nn_gemm(c, y, b->fc2.w, b->fc2.b);
	convnext_scale(y, b->scale);
	nn_add_to(c, m->x, y);
	nn_arena_release(c->arena, mark);
}

/* Normed, and each 2 x 2 pixels as one row, through the stage's matrix. A last odd row or column is left out. */
static struct map convnext_down(struct nn *c, const struct convnext *k, const struct convnext_stage *s, struct map m)
{
	const struct map half = { .rows = m.rows / 2, .cols = m.cols / 2 };
	const size_t d = m.x.cols;
	struct nn_tensor x = nn_layer_norm(c, m.x, s->norm.w, s->norm.b, k->eps);
	struct nn_tensor four = nn_new(c, (size_t)half.rows * half.cols, 4 * d);

	for (size_t i = 0; x.data && four.data && i < four.rows; i++) {
		const float *from = x.data + (i / half.cols * 2 * m.cols + i % half.cols * 2) * d;

		memcpy(four.data + i * four.stride, from, 2 * d * sizeof(float));
		memcpy(four.data + i * four.stride + 2 * d, from + m.cols * d, 2 * d * sizeof(float));
	}
	return (struct map){ nn_gemm(c, four, s->down.w, s->down.b), half.rows, half.cols };
}

static struct map convnext_stem(struct nn *c, struct percept_call *call, const struct convnext *k, const float *pixels, uint32_t height,
				uint32_t width)
{
	const struct convnext_stage *s = &k->stages[0];
	struct nn_tensor x = nn_gemm(c, nn_patches(c, pixels, height, width, k->patch), s->down.w, s->down.b);

	x = nn_layer_norm(c, x, s->norm.w, s->norm.b, k->eps);
	tower_observe(c, call, "stem", x);
	tower_observe(c, call, "patch_embedding", x);
	return (struct map){ x, height / k->patch, width / k->patch };
}

static struct nn_tensor convnext_mean(struct nn *c, struct nn_tensor x)
{
	struct nn_tensor y = nn_new(c, 1, x.cols);

	for (size_t j = 0; y.data && x.data && j < x.cols; j++) {
		double sum = 0;

		for (size_t i = 0; i < x.rows; i++)
			sum += x.data[i * x.stride + j];
		y.data[j] = (float)(sum / (double)x.rows);
	}
	return y;
}

/* The mean, normed (or the other way round), and projected. */
static struct nn_tensor convnext_pool(struct nn *c, struct percept_call *call, const struct convnext *k, struct nn_tensor x)
{
	struct nn_tensor y = k->own_norm ? convnext_mean(c, nn_layer_norm(c, x, k->last.w, k->last.b, k->last_eps)) :
					   nn_layer_norm(c, convnext_mean(c, x), k->last.w, k->last.b, k->last_eps);

	tower_observe(c, call, "pooled", y);
	return head_of(c, &k->head, y);
}

struct nn_tensor convnext_forward(struct nn *c, struct percept_call *call, const struct convnext *k, const float *pixels,
				  uint32_t height, uint32_t width, struct nn_tensor *pooled)
{
	struct map m = convnext_stem(c, call, k, pixels, height, width);
	struct nn_tensor kept = k->layer ? (struct nn_tensor){ 0 } : nn_copy(c, m.x);
	char name[32];

	for (uint32_t i = 0; i < CONVNEXT_STAGES && !nn_stopped(c); i++) {
		if (i)
			m = convnext_down(c, k, &k->stages[i], m);
		for (uint32_t j = 0; j < k->stages[i].n_blocks && !nn_stopped(c); j++)
			convnext_block(c, k, &k->stages[i].blocks[j], &m);
		call->host->progress(call, i + 1, CONVNEXT_STAGES);
		snprintf(name, sizeof(name), "stage%u", i);
		tower_observe(c, call, name, m.x);
		snprintf(name, sizeof(name), "after_stage%u", i);
		tower_observe(c, call, name, m.x);
		if (k->layer == i + 1)
			kept = m.x;
	}
	*pooled = convnext_pool(c, call, k, m.x);
	return kept;
}

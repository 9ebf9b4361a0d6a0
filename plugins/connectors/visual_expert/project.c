/* project.c - a picture's features to what enters the prompt. */
#include "plugins/connectors/visual_expert/visual_expert.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "sdk/nn/part.h"

enum { PROJECT_BLOCK = 2 /* patches a side that the convolution takes */ };

/* Rows and columns of an item's patches; a square where the layout does not say. 0 or a negative errno after percept_fail(). */
static int project_grid(struct percept_call *call, const struct percept_layout *l, uint32_t *rows, uint32_t *cols)
{
	*rows = l->rows;
	*cols = l->cols;
	if (!l->rows && !l->cols)
		*rows = *cols = (uint32_t)sqrt((double)l->tokens);
	if ((uint64_t)*rows * *cols != l->tokens || *rows < PROJECT_BLOCK || *cols < PROJECT_BLOCK)
		return percept_fail(call, -EINVAL, "The visual expert joins patches by fours, and %u rows of features are no grid of %u x %u.",
				    l->tokens, *rows, *cols);
	return 0;
}

uint32_t project_rows(struct percept_call *call, const struct visual_expert *v, const struct percept_layout *l)
{
	uint64_t n = (uint64_t)l->items * l->tokens;
	uint32_t rows, cols;

	if (l->dim != v->in_dim) {
		percept_fail(call, -EINVAL, "The visual expert takes features of %u values and was given %u.", v->in_dim, l->dim);
		return 0;
	}
	if (n && v->conv) {
		if (project_grid(call, l, &rows, &cols))
			return 0;
		n = (uint64_t)l->items * (rows / PROJECT_BLOCK) * (cols / PROJECT_BLOCK);
	}
	if (!n || n > EXPERT_ROWS_MAX) {
		percept_fail(call, -EINVAL, "%u pieces of %u feature rows are out of the visual expert's range.", l->items, l->tokens);
		return 0;
	}
	return (uint32_t)n;
}

static void project_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x)
{
	if (call->host->observe && !c->error)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

/* (rows / 2 * cols / 2, in_dim): each 2 x 2 patches of x (rows * cols, in_dim) become one; what is left of odd sides is left out. */
static struct nn_tensor project_conv(struct nn *c, const struct visual_expert *v, struct nn_tensor x, uint32_t rows, uint32_t cols)
{
	const uint32_t down = rows / PROJECT_BLOCK, across = cols / PROJECT_BLOCK, each = PROJECT_BLOCK * PROJECT_BLOCK;
	struct nn_tensor blocks = nn_new(c, (size_t)down * across, x.cols * each);

	/* The kernel's columns are channels, and within one its places. */
	for (size_t i = 0; blocks.data && i < blocks.rows * each; i++) {
		const size_t block = i / each, place = i % each;
		const size_t row = block / across * PROJECT_BLOCK + place / PROJECT_BLOCK;
		const size_t col = block % across * PROJECT_BLOCK + place % PROJECT_BLOCK;
		const float *from = x.data + (row * cols + col) * x.stride;

		for (size_t k = 0; k < x.cols; k++)
			blocks.data[block * blocks.stride + k * each + place] = from[k];
	}
	return nn_gemm(c, blocks, v->conv, v->conv_bias);
}

static struct nn_tensor project_glu(struct nn *c, const struct glu *g, struct nn_tensor x)
{
	struct nn_tensor h = nn_layer_norm(c, nn_gemm(c, x, g->in, NULL), g->norm_w, g->norm_b, g->norm_eps);

	nn_activate(c, h, NN_GELU_ERF);
	struct nn_tensor gate = nn_gemm(c, h, g->gate, NULL);

	return nn_gemm(c, nn_gate(c, gate, nn_gemm(c, h, g->up, NULL), NN_SILU), g->down, NULL);
}

/* Item after item, so that an item's rows do not depend on the others. */
static int project_items(struct nn *c, struct percept_call *call, const struct visual_expert *v, const struct percept_features *f, float *data)
{
	const struct percept_layout *l = &f->layout;
	uint32_t rows = 0, cols = 0;

	if (v->conv && project_grid(call, l, &rows, &cols))
		return -EINVAL;
	for (uint32_t i = 0; i < l->items && !nn_stopped(c); i++) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		struct nn_tensor x = nn_view((float *)f->data + (size_t)i * l->tokens * l->dim, l->tokens, l->dim);

		if (v->conv)
			x = project_conv(c, v, x, rows, cols);
		x = project_glu(c, &v->glu, x);
		project_observe(c, call, "projected", x);
		data = nn_part_copy(c, x, data);
		nn_arena_release(c->arena, mark);
	}
	return c->error;
}

int project_features(struct percept_call *call, const struct visual_expert *v, const struct percept_features *f, float *data)
{
	const size_t d = v->d_model, n = project_rows(call, v, &f->layout);
	struct nn c = { .error = -ENOMEM };

	if (!n)
		return -EINVAL;
	struct nn_arena *arena = nn_arena_new(0);

	if (arena) {
		nn_begin(&c, call, arena);
		project_items(&c, call, v, f, data + d);
	}
	nn_arena_free(arena);
	if (c.error)
		return percept_fail(call, c.error, "The projection %s.", c.error == -ECANCELED ? "was cancelled" : "failed: memory is out");
	memcpy(data, v->begin, d * sizeof(float));
	memcpy(data + (n + 1) * d, v->end, d * sizeof(float));
	project_observe(&c, call, "image_embeds", nn_view(data, n + EXPERT_AROUND, d));
	return 0;
}

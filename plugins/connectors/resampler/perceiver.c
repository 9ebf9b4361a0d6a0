/* perceiver.c - the forward pass of a perceiver resampler. L latents, S rows of a picture. */
#include "plugins/connectors/resampler/perceiver.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void perceiver_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x)
{
	if (call->host->observe && x.data && !c->error && x.stride == x.cols)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

static struct nn_tensor perceiver_normed(struct nn *c, const struct perceiver *p, struct nn_tensor x, const struct perceiver_norm *norm)
{
	return nn_layer_norm(c, x, norm->w, norm->b, p->norm_eps);
}

/* Each head of x (rows, heads * head_dim) normed by itself. */
static struct nn_tensor perceiver_heads(struct nn *c, const struct perceiver *p, struct nn_tensor x, const struct perceiver_norm *norm)
{
	if (!norm->w || !x.data)
		return x;
	const struct nn_tensor heads = nn_view(x.data, x.rows * p->n_heads, p->head_dim);

	return nn_view(perceiver_normed(c, p, heads, norm).data, x.rows, x.cols);
}

/* (S + L, dim): the picture's rows, and the latents behind them. */
static struct nn_tensor perceiver_join(struct nn *c, struct nn_tensor media, struct nn_tensor latents)
{
	struct nn_tensor y = nn_new(c, media.rows + latents.rows, latents.cols);

	for (size_t i = 0; y.data && media.data && latents.data && i < y.rows; i++)
		memcpy(y.data + i * y.stride, i < media.rows ? media.data + i * media.stride :
		       latents.data + (i - media.rows) * latents.stride, y.cols * sizeof(float));
	return y;
}

static struct nn_tensor perceiver_attention(struct nn *c, const struct perceiver *p, const struct perceiver_layer *l,
					    struct nn_tensor x, struct nn_tensor latents)
{
	const struct nn_attention how = { .heads = p->n_heads, .kv_heads = p->n_heads, .scale = 1 / sqrtf((float)p->head_dim) };
	struct nn_tensor n = perceiver_normed(c, p, latents, &l->latents);
	struct nn_tensor all = perceiver_join(c, perceiver_normed(c, p, x, &l->media), n);
	struct nn_tensor q = perceiver_heads(c, p, nn_gemm(c, n, l->q, NULL), &l->q_norm);
	struct nn_tensor k = perceiver_heads(c, p, nn_gemm(c, all, l->k, NULL), &l->k_norm);

	return nn_gemm(c, nn_attention(c, q, k, nn_gemm(c, all, l->v, NULL), &how), l->out, NULL);
}

static struct nn_tensor perceiver_feed(struct nn *c, const struct perceiver *p, const struct perceiver_layer *l, struct nn_tensor latents)
{
	struct nn_tensor h = nn_gemm(c, perceiver_normed(c, p, latents, &l->feed), l->up, NULL);

	nn_activate(c, h, p->activation);
	return nn_gemm(c, h, l->down, NULL);
}

/* x with what says which frame of a picture, and which picture of a prompt, a row is of. */
static struct nn_tensor perceiver_placed(struct nn *c, const struct perceiver *p, struct nn_tensor x, uint32_t frames, uint32_t time)
{
	if (!p->frames && !p->times)
		return x;
	struct nn_tensor y = nn_copy(c, x);
	const size_t each = frames ? x.rows / frames : x.rows;

	for (uint32_t i = 0; p->frames && i < frames; i++)
		for (size_t r = 0; y.data && r < each; r++)
			nn_add_to(c, nn_rows(y, i * each + r, 1), nn_view((float *)p->frames + (size_t)i * p->dim, 1, p->dim));
	for (size_t r = 0; p->times && y.data && r < y.rows; r++)
		nn_add_to(c, nn_rows(y, r, 1), nn_view((float *)p->times + (size_t)time * p->dim, 1, p->dim));
	return y;
}

struct nn_tensor perceiver_forward(struct nn *c, struct percept_call *call, const struct perceiver *p, struct nn_tensor x,
				   uint32_t frames, uint32_t time)
{
	struct nn_tensor latents = nn_copy(c, nn_view((float *)p->latents, p->n_latents, p->dim));

	x = perceiver_placed(c, p, x, frames, time);
	for (uint32_t i = 0; i < p->n_layers && !nn_stopped(c); i++) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		struct nn_tensor y = perceiver_attention(c, p, &p->layers[i], x, latents);

		if (!i)
			perceiver_observe(c, call, "layer0_attention", y);
		nn_add_to(c, latents, y);
		y = perceiver_feed(c, p, &p->layers[i], latents);
		if (!i)
			perceiver_observe(c, call, "layer0_ff", y);
		nn_add_to(c, latents, y);
		nn_arena_release(c->arena, mark);
	}
	return perceiver_normed(c, p, latents, &p->norm);
}

const char *perceiver_fault(const struct perceiver *p, const struct percept_layout *l, char text[256])
{
	if (l->dim != p->dim)
		snprintf(text, 256, "The resampler takes features of %u values and was given %u.", p->dim, l->dim);
	else if (!l->items || !l->tokens || (uint64_t)l->items * l->tokens > PERCEIVER_ROWS_MAX)
		snprintf(text, 256, "%u pieces of %u feature rows are out of the resampler's range.", l->items, l->tokens);
	else if (p->n_frames && l->items > p->n_frames)
		snprintf(text, 256, "The resampler was trained for %u frames and was given %u.", p->n_frames, l->items);
	else
		return NULL;
	return text;
}

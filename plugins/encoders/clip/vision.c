/* vision.c - the picture tower: patches, a class token, positions, blocks; a hidden state is the feature. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { VISION_BATCH = 4096 /* rows at once, about */ };

/* Pieces [first, first + n) of a picture; at most `most` go at once. */
struct vision_part {
	uint32_t first, n, most;
};

/* (rows * cols, d_model): the position table, resized where the picture is not of the model's size. */
static struct nn_tensor vision_positions(struct nn *c, const struct vision *v, uint32_t rows, uint32_t cols)
{
	static struct nn_tensor (*const resize[])(struct nn *, struct nn_tensor, uint32_t, uint32_t, uint32_t, uint32_t) = {
		[VISION_CUBIC] = nn_resize_grid, [VISION_SMOOTH] = nn_resize_grid_smooth, [VISION_LINEAR] = nn_resize_grid_linear,
	};
	struct nn_tensor table = nn_view((float *)v->positions, (size_t)v->side * v->side, v->tower.d_model);

	if (v->positions && clip_kind.fractions)
		return fractions_positions(c, table, v->side, rows, cols);
	if (!v->positions || (rows == v->side && cols == v->side))
		return table;
	return resize[v->resize](c, table, v->side, v->side, rows, cols);
}

/* (n * (prefix + patches), d_model): pieces one after the other, with their positions, and normed where the tower has a norm for
 * that. */
static struct nn_tensor vision_embed(struct nn *c, const struct vision *v, const struct nn_tiles *tiles, struct vision_part part,
				     struct percept_call *call)
{
	const uint32_t rows = tiles->height / v->patch, cols = tiles->width / v->patch;
	const size_t d = v->tower.d_model, first = v->n_prefix, patches = (size_t)rows * cols, each = first + patches;
	const float *pixels = tiles->pixels + (size_t)part.first * 3 * tiles->width * tiles->height;
	struct nn_tensor x = nn_new(c, part.n * each, d), positions = vision_positions(c, v, rows, cols);
	struct nn_tensor p = nn_gemm(c, nn_tile_patches(c, pixels, part.n, tiles->height, tiles->width, v->patch), v->patches,
				     v->patch_bias);

	tower_observe(c, call, "patch_embedding", p);
	for (size_t i = 0; x.data && p.data && i < x.rows; i++) {
		const size_t at = i % each;
		const float *from = at >= first ? p.data + (i / each * patches + at - first) * p.stride : v->prefix + at * d;

		memcpy(x.data + i * x.stride, from, d * sizeof(float));
	}
	for (size_t i = 0; v->positions && i < part.n; i++)
		nn_add_to(c, nn_rows(x, i * each + first, patches), positions);
	tower_observe(c, call, "embeddings", x);
	return v->pre.w ? tower_normed(c, &v->tower, x, &v->pre) : x;
}

/* The rows behind `layer` blocks of a part of the pieces, to where they belong in the maps that are of that layer: without registers,
 * and the class token where it is not kept. */
static void vision_keep(struct nn *c, const struct vision *v, struct nn_tensor x, uint32_t layer, struct vision_part part,
			const struct percept_features *f)
{
	if (v->choice.norm && layer == v->tower.n_layers)
		x = tower_normed(c, &v->tower, x, &v->post);
	const size_t each = x.rows / part.n, extra = v->choice.keep_class ? 1 : 0, n = each - v->n_prefix + extra;

	for (uint32_t map = 0; map < v->n_maps; map++) {
		float *data = (float *)(map ? f->extra[map - 1] : f->data) + part.first * n * v->tower.d_model;

		for (size_t i = 0; v->layers[map] == layer && x.data && i < part.n * n; i++) {
			const size_t at = i % n, row = at < extra ? at : v->n_prefix + at - extra;

			memcpy(data + i * x.cols, x.data + (i / n * each + row) * x.stride, x.cols * sizeof(float));
		}
	}
}

/* The picture's vector into the call's arena. */
static void vision_pool(struct nn *c, struct percept_call *call, const struct vision *v, struct nn_tensor x,
			struct percept_features *f)
{
	struct nn_tensor y = pool_rows(c, call, v, x);
	float *pooled = c->error ? NULL : percept_alloc(call, y.cols * sizeof(float));

	if (!pooled) {
		c->error = c->error ? c->error : -ENOMEM;
		return;
	}
	memcpy(pooled, y.data, y.cols * sizeof(float));
	f->pooled = pooled;
	f->pooled_dim = y.cols;
}

/* What the rows of a part's pieces see, which is their own piece, and where they are. */
static struct tower_rows vision_rows(struct nn *c, const struct vision *v, const struct nn_tiles *tiles, struct nn_tensor x, uint32_t n)
{
	const uint32_t each = (uint32_t)(x.rows / n);
	uint32_t *first = n > 1 ? nn_memory(c, x.rows, sizeof(*first)) : NULL;
	uint32_t *visible = n > 1 ? nn_memory(c, x.rows, sizeof(*visible)) : NULL;

	for (uint32_t i = 0; first && visible && i < x.rows; i++) {
		first[i] = i / each * each;
		visible[i] = first[i] + each;
	}
	return (struct tower_rows){ .first = first, .visible = visible,
				    .rotary = turns_of(c, v, tiles->height / v->patch, tiles->width / v->patch, n) };
}

/* Some of the pieces through the blocks. The vector of the whole picture is the overview's, else the first piece's. */
static int vision_blocks(struct nn *c, struct percept_call *call, const struct vision *v, const struct nn_tiles *tiles,
			 struct vision_part part, struct percept_features *f)
{
	const uint32_t last = v->pools ? v->tower.n_layers : v->last_layer, parts = (tiles->n + part.most - 1) / part.most;
	const uint32_t whole = tiles->overview == PERCEPT_OVERVIEW_LAST ? tiles->n - 1 : 0;
	struct nn_tensor x = vision_embed(c, v, tiles, part, call);
	const size_t each = x.rows / part.n;
	const struct tower_rows rows = vision_rows(c, v, tiles, x, part.n);
	char name[32];

	tower_observe(c, call, "pre_layrnorm", x);
	for (uint32_t i = 0; i <= last && !nn_stopped(c); i++) {
		vision_keep(c, v, x, i, part, f);
		if (i + 1 == v->tower.n_layers)
			tower_observe(c, call, "layer_minus2", x);
		if (i == last)
			break;
		tower_layer(c, &v->tower, i, x, &rows, call);
		call->host->progress(call, part.first / part.most * last + i + 1, (uint64_t)parts * last);
		snprintf(name, sizeof(name), "after_layer%u", i);
		tower_observe(c, call, name, x);
	}
	if (v->pools && !c->error && whole >= part.first && whole < part.first + part.n) {
		x = nn_rows(x, (whole - part.first) * each, each);
		tower_observe(c, call, "final", x);
		vision_pool(c, call, v, x, f);
	}
	return c->error;
}

/* All pieces, as many at once as a batch takes. */
static int vision_pieces(struct nn *c, struct percept_call *call, const struct vision *v, const struct nn_tiles *tiles,
			 struct percept_features *f)
{
	const uint32_t rows = tiles->height / v->patch * (tiles->width / v->patch) + v->n_prefix;
	const uint32_t most = rows < VISION_BATCH ? VISION_BATCH / rows : 1;

	for (uint32_t i = 0; i < tiles->n && !c->error; i += most) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const struct vision_part part = { i, tiles->n - i < most ? tiles->n - i : most, most };

		vision_blocks(c, call, v, tiles, part, f);
		nn_arena_release(c->arena, mark);
	}
	return c->error;
}

/* The prepared pieces of an item that was planned. */
static int vision_prepare(struct nn *c, struct percept_call *call, const struct vision *v, const struct percept_media *m,
			  struct nn_tiles *tiles)
{
	const struct nn_tiles_ask ask = picture_ask(v, m);
	struct nn_error why = { 0 };

	if (m->format == PERCEPT_F32_PIXELS)
		tiles->pixels = m->data;
	else if (nn_tiles_prepare(c, &v->processor, m->data, m->width, m->height, &ask, tiles, &why))
		return percept_fail(call, c->error, "%s", why.code ? why.text : "The picture was not prepared.");
	return 0;
}

/* Room for the feature maps, in the call's arena. 0 or -ENOMEM. */
static int vision_maps(struct percept_call *call, const struct vision *v, struct percept_features *f)
{
	const size_t bytes = (size_t)f->layout.items * f->layout.tokens * f->layout.dim * sizeof(float);
	const float **extra = percept_alloc(call, v->n_maps * sizeof(*extra));

	f->n_extra = v->n_maps - 1;
	f->extra = f->n_extra ? extra : NULL;
	f->data = extra ? percept_alloc(call, bytes) : NULL;
	for (uint32_t i = 0; f->data && i < f->n_extra; i++)
		if (!(extra[i] = percept_alloc(call, bytes)))
			return -ENOMEM;
	return f->data ? 0 : -ENOMEM;
}

int vision_encode(struct percept_call *call, const struct vision *v, const struct percept_media *m, struct percept_features *f)
{
	struct percept_layout layout;
	struct nn_tiles tiles;
	struct nn c;
	int error = picture_plan(call, v, m, &tiles, &layout);

	if (error)
		return error;
	*f = (struct percept_features){ .size = sizeof(*f), .layout = layout };
	struct nn_arena *arena = vision_maps(call, v, f) ? NULL : nn_arena_new(0);

	if (!arena)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	nn_begin(&c, call, arena);
	error = vision_prepare(&c, call, v, m, &tiles);
	if (!error && (error = vision_pieces(&c, call, v, &tiles, f)))
		percept_fail(call, error, error == -ECANCELED ? "The encoding was cancelled." :
			     error == -ENOMEM ? "Memory for this picture is out." : "The picture tower failed.");
	nn_arena_free(arena);
	return error;
}

/* forward.c - the tower's forward pass over a picture's tiles. */
#include "plugins/encoders/mllama/mllama.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <percept/plugin.h>

/* A pass over n real tiles. The tower's rows: those of real tiles, tile by tile, then all that is padding. */
struct pass {
	struct nn *c;
	struct percept_call *call;
	const struct mllama *m;
	uint32_t n, shape;
	float *features;
	uint32_t done;
};

/* Where row j of tile t lies; j from m->rows on is padding. */
static size_t pass_row(const struct pass *p, uint32_t t, uint32_t j)
{
	const size_t rows = p->m->rows, padding = p->m->padding, n = p->n;

	if (t >= n)
		return n * (rows + padding) + (t - n) * (rows + padding) + j;
	return j < rows ? t * rows + j : n * rows + t * padding + j - rows;
}

/* The shape's row of a table as (tiles * per, d_model), times its gate. */
static struct nn_tensor pass_table(struct pass *p, const struct mllama_table *table, size_t per)
{
	struct nn_tensor x = nn_new(p->c, p->m->tiles * per, p->m->local.d_model);

	if (x.data)
		nn_weight_read(table->w, p->shape, 1, x.data);
	nn_scale(p->c, x, table->gate);
	return x;
}

static void pass_add(float *to, const float *from, size_t n, float scale)
{
	for (size_t i = 0; i < n; i++)
		to[i] += from[i] * scale;
}

/* Class token and patches with what says where they are; a padding tile's patches are zeros. Normed but for the padding. */
static struct nn_tensor pass_embed(struct pass *p, const struct nn_tiles *tiles)
{
	const struct mllama *m = p->m;
	const size_t d = m->local.d_model, each = m->rows - 1;
	struct nn_tensor x = nn_new(p->c, (size_t)m->tiles * (m->rows + m->padding), d);
	struct nn_tensor places = pass_table(p, &m->tile_positions, m->rows), pre = pass_table(p, &m->pre, 1);
	struct nn_tensor patches = nn_gemm(p->c, nn_tile_patches(p->c, tiles->pixels, p->n, m->image_size, m->image_size, m->patch),
					   m->patches, NULL);

	tower_observe(p->c, p->call, "patch_embedding", patches);
	if (p->c->error)
		return x;
	memset(x.data, 0, x.rows * d * sizeof(float));
	for (uint32_t t = 0; t < m->tiles; t++) {
		for (uint32_t j = 0; j < m->rows; j++) {
			float *row = x.data + pass_row(p, t, j) * d;

			if (!j)
				memcpy(row, m->class_token, d * sizeof(float));
			else if (t < p->n)
				memcpy(row, patches.data + (t * each + j - 1) * patches.stride, d * sizeof(float));
			if (j)
				pass_add(row, pre.data + t * pre.stride, d, 1);
			pass_add(row, m->positions + j * d, d, 1 - m->tile_positions.gate);
			pass_add(row, places.data + (t * (size_t)m->rows + j) * places.stride, d, 1);
		}
	}
	return x;
}

/* Norms x in place, of which the padding behind each tile stays 0. */
static void pass_norm_pre(struct pass *p, struct nn_tensor x)
{
	struct nn_tensor y = nn_layer_norm(p->c, x, p->m->norm_pre.w, p->m->norm_pre.b, 1e-5f);

	for (uint32_t t = 0; y.data && t < p->m->tiles; t++)
		for (uint32_t j = 0; j < p->m->rows; j++)
			memcpy(x.data + pass_row(p, t, j) * x.stride, y.data + pass_row(p, t, j) * y.stride, x.cols * sizeof(float));
}

/* x becomes values `first`, first + step ... of each row of the features. */
static void pass_keep(struct pass *p, struct nn_tensor x, size_t first, size_t step)
{
	const struct mllama *m = p->m;

	for (uint32_t t = 0; !p->c->error && t < m->tiles; t++) {
		for (uint32_t j = 0; j < m->rows; j++) {
			const float *from = x.data + pass_row(p, t, j) * x.stride;
			float *to = p->features + (t * (size_t)m->rows + j) * m->dim + first;

			for (size_t i = 0; i < x.cols; i++)
				to[i * step] = from[i];
		}
	}
}

/* After `done` local blocks: those of the features that are of there, one value of each after the other. */
static void pass_keep_state(struct pass *p, struct nn_tensor x, uint32_t done)
{
	for (uint32_t k = 0; k < p->m->n_states; k++)
		if (p->m->states[k] == done)
			pass_keep(p, x, x.cols + k, p->m->n_states);
}

/* Which rows each one sees: the picture's all, the others the picture's. */
static const uint32_t *pass_visible(struct pass *p, size_t rows)
{
	const size_t real = (size_t)p->n * p->m->rows;
	uint32_t *visible = nn_memory(p->c, rows, sizeof(*visible));

	for (size_t i = 0; visible && i < rows; i++)
		visible[i] = (uint32_t)(i < real ? rows : real);
	return visible;
}

static void pass_block(struct pass *p, const struct tower *tower, uint32_t i, struct nn_tensor x, const struct tower_rows *rows)
{
	char name[32];

	tower_layer(p->c, tower, i, x, rows, tower == &p->m->local ? p->call : NULL);
	p->call->host->progress(p->call, ++p->done, p->m->local.n_layers + p->m->n_global);
	snprintf(name, sizeof(name), tower == &p->m->local ? "after_layer%u" : "after_global%u", i);
	tower_observe(p->c, p->call, name, x);
}

/* What lies between the stacks: a norm, and of each tile its place. */
static struct nn_tensor pass_between(struct pass *p, struct nn_tensor x)
{
	const struct mllama *m = p->m;
	struct nn_tensor y = nn_layer_norm(p->c, x, m->norm_post.w, m->norm_post.b, 1e-5f), post = pass_table(p, &m->post, 1);

	for (uint32_t t = 0; !p->c->error && t < m->tiles; t++)
		for (uint32_t j = 0; j < m->rows + m->padding; j++)
			pass_add(y.data + pass_row(p, t, j) * y.stride, post.data + t * post.stride, y.cols, 1);
	return y;
}

int mllama_forward(struct nn *c, struct percept_call *call, const struct mllama *m, const struct nn_tiles *tiles, float *features)
{
	struct pass p = { .c = c, .call = call, .m = m, .n = tiles->n, .shape = tiles->shape, .features = features };
	struct nn_tensor x = pass_embed(&p, tiles);
	const struct tower_rows rows = { .visible = pass_visible(&p, x.rows) };

	pass_norm_pre(&p, x);
	pass_keep_state(&p, x, 0);
	for (uint32_t i = 0; i < m->local.n_layers && !nn_stopped(c); i++) {
		pass_block(&p, &m->local, i, x, &rows);
		pass_keep_state(&p, x, i + 1);
	}
	x = pass_between(&p, x);
	for (uint32_t i = 0; i < m->n_global && !nn_stopped(c); i++)
		pass_block(&p, &m->global, i, x, &rows);
	pass_keep(&p, x, 0, 1);
	return c->error;
}

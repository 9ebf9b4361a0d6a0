/* quant.c - matrix products with weights that stay codes.
 *
 * Rows of activations are rounded once to two terms of 8 bits, in tiles of as many rows as the kernels take; each panel of
 * weights then meets all tiles of a group while it lies in the cache. A row's result depends on that row only.
 */
#include "sdk/nn/quant.h"

#include <errno.h>
#include <string.h>

#include "sdk/nn/checkpoint-impl.h"
#include "sdk/nn/kernels.h"

enum {
	QUANT_GROUP = 16,         /* tiles that a task takes through a panel */
	QUANT_INLINE = 64 << 10,  /* multiply-adds that are not worth waking a thread for */
	QUANT_TASK = 64 << 20,    /* multiply-adds of a task at most, so that a stop is noticed in time */
};

struct quant_linear {
	const struct quant_kernels *kernels;
	const struct nn_weight *const *w;
	const float *const *b;
	struct nn_tensor *y, x;
	struct quant_block *blocks; /* of x by tiles: [tile][block][row of the tile] */
	size_t k;                   /* blocks of a row */
	size_t tiles, step, steps;  /* panels of a task; tasks a group */
	size_t first[NN_LINEAR_MAX + 1]; /* number of each weight's first panel */
	size_t panel_bytes[NN_LINEAR_MAX];
};

static size_t quant_tile_rows(const struct quant_linear *l, size_t tile)
{
	const size_t left = l->x.rows - tile * l->kernels->rows;

	return left < l->kernels->rows ? left : l->kernels->rows;
}

static struct quant_block *quant_tile_blocks(const struct quant_linear *l, size_t tile)
{
	return l->blocks + tile * l->kernels->rows * l->k;
}

static void quant_encode_tiles(void *arg, size_t begin, size_t end)
{
	const struct quant_linear *l = arg;

	for (size_t i = begin; i < end; i++) {
		const size_t rows = quant_tile_rows(l, i);

		for (size_t r = 0; r < rows; r++)
			l->kernels->encode(l->x.data + (i * l->kernels->rows + r) * l->x.stride, l->k, quant_tile_blocks(l, i) + r,
					   rows);
	}
}

/* Weight i's panel for a tile. Results go to `y`, `stride` apart. */
static struct quant_tile quant_tile_of(const struct quant_linear *l, uint32_t i, size_t panel, size_t tile, float *y, size_t stride)
{
	return (struct quant_tile){
		.y = y, .stride = stride, .x = quant_tile_blocks(l, tile), .blocks = l->k,
		.panel = (const uint8_t *)l->w[i]->packed + panel * l->panel_bytes[i], .rows = (uint32_t)quant_tile_rows(l, tile),
		.stream = l->tiles == 1, .format = l->w[i]->codes,
	};
}

/* One panel for one tile: results go to y at once, or through a scratch where only some columns are wanted. */
static void quant_meet(const struct quant_linear *l, uint32_t i, size_t panel, size_t tile)
{
	const struct nn_weight *w = l->w[i];
	const size_t row = tile * l->kernels->rows, col = panel * QUANT_PANEL, rows = quant_tile_rows(l, tile);
	const size_t cols = w->rows - col < QUANT_PANEL ? w->rows - col : QUANT_PANEL, stride = l->y[i].stride;
	const float *b = l->b && l->b[i] ? l->b[i] + col : NULL;
	_Alignas(64) float part[QUANT_ROWS * QUANT_PANEL];
	float *to = l->y[i].data + row * stride + col;
	const int whole = cols == QUANT_PANEL;
	const struct quant_tile t = quant_tile_of(l, i, panel, tile, whole ? to : part, whole ? stride : QUANT_PANEL);

	l->kernels->tile(&t);
	for (size_t r = 0; r < rows && (!whole || b); r++)
		for (size_t j = 0; j < cols; j++)
			to[r * stride + j] = t.y[r * t.stride + j] + (b ? b[j] : 0);
}

/* Two whole panels for some tiles. */
static void quant_meet_pair(const struct quant_linear *l, uint32_t i, size_t panel, size_t first, size_t last)
{
	struct quant_tile tiles[QUANT_GROUP] = { 0 };
	const size_t stride = l->y[i].stride, col = panel * QUANT_PANEL;
	const float *b = l->b && l->b[i] ? l->b[i] + col : NULL;

	for (size_t t = first; t < last; t++)
		tiles[t - first] = quant_tile_of(l, i, panel, t, l->y[i].data + t * l->kernels->rows * stride + col, stride);
	l->kernels->pair(tiles, last - first, l->panel_bytes[i]);
	for (size_t t = first; t < last && b; t++)
		for (size_t r = 0; r < tiles[t - first].rows; r++)
			for (size_t j = 0; j < 2 * QUANT_PANEL; j++)
				tiles[t - first].y[r * stride + j] += b[j];
}

/* Whether panel p and the next are whole ones of weight i, and tiles are high enough to take both at once. */
static int quant_pairs_up(const struct quant_linear *l, uint32_t i, size_t p, size_t end)
{
	return l->kernels->pair && l->x.rows > l->kernels->rows / 2 && p + 1 < end &&
	       (p + 2 - l->first[i]) * QUANT_PANEL <= l->w[i]->rows;
}

/* Some panels for one group of tiles. */
static void quant_task(void *arg, uint32_t index)
{
	const struct quant_linear *l = arg;
	const size_t first = index / l->steps * QUANT_GROUP, last = first + QUANT_GROUP < l->tiles ? first + QUANT_GROUP : l->tiles;
	const size_t begin = index % l->steps * l->step, all = l->first[NN_LINEAR_MAX];
	const size_t end = begin + l->step < all ? begin + l->step : all;
	uint32_t i = 0;

	for (size_t p = begin; p < end; p++) {
		while (p >= l->first[i + 1])
			i++;
		if (quant_pairs_up(l, i, p, end)) {
			quant_meet_pair(l, i, p++ - l->first[i], first, last);
			continue;
		}
		for (size_t t = first; t < last; t++)
			quant_meet(l, i, p - l->first[i], t);
	}
}

static void quant_run(struct nn *c, struct quant_linear *l)
{
	const size_t threads = c->threads ? c->threads : 1, groups = (l->tiles + QUANT_GROUP - 1) / QUANT_GROUP;
	const size_t panels = l->first[NN_LINEAR_MAX], work = l->x.rows * l->x.cols * QUANT_PANEL;
	const size_t least = QUANT_INLINE / (work + 1) + 1;

	l->step = panels / (threads * 4) + 1;
	if (l->step < least)
		l->step = least;
	while (l->step > 1 && work / groups * l->step > QUANT_TASK)
		l->step /= 2;
	l->steps = (panels + l->step - 1) / l->step;
	nn_parallel(c, quant_task, l, (uint32_t)(groups * l->steps));
}

void quant_linear(struct nn *c, struct nn_tensor x, uint32_t n, const struct nn_weight *const *w, const float *const *b,
		  struct nn_tensor *y)
{
	struct quant_linear l = {
		.kernels = kernels_of(c)->quant, .w = w, .b = b, .y = y, .x = x, .k = x.cols / QUANT_K,
	};
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);

	for (uint32_t i = 0; i < NN_LINEAR_MAX; i++) {
		l.first[i + 1] = l.first[i] + (i < n ? (w[i]->rows + QUANT_PANEL - 1) / QUANT_PANEL : 0);
		l.panel_bytes[i] = i < n ? quant_panel_bytes(w[i]->codes, x.cols) : 0;
	}
	l.tiles = (x.rows + l.kernels->rows - 1) / l.kernels->rows;
	l.blocks = nn_memory(c, x.rows * l.k + QUANT_ROWS, sizeof(*l.blocks));
	if (!c->error && x.rows && l.first[n]) {
		nn_split(c, l.tiles, QUANT_INLINE / (l.kernels->rows * x.cols + 1) + 1, quant_encode_tiles, &l);
		quant_run(c, &l);
	}
	nn_arena_release(c->arena, mark);
}

int nn_weight_pack_codes(struct nn_checkpoint *cp, struct nn_weight *w, struct nn_error *error)
{
	if (!w || w->packed)
		return 0;
	if (w->type != NN_BLOCKS)
		return nn_weight_pack_rows(cp, w, error);
	const struct quant_format *f = quant_format(w->format->ggml_type);
	size_t bytes;

	if (!f)
		f = quant_format(nn_block_format_named("Q8_0")->ggml_type);
	const size_t panels = (w->rows + QUANT_PANEL - 1) / QUANT_PANEL;
	uint8_t *packed = w->cols % QUANT_K || __builtin_mul_overflow(panels, quant_panel_bytes(f, w->cols), &bytes) ? NULL :
			  nn_checkpoint_alloc(cp, bytes);

	if (!packed)
		return nn_fail(error, -ENOMEM, "%s: memory is out.", nn_checkpoint_path(cp));
	quant_pack(w, f, packed, 0, panels);
	w->packed = packed;
	w->packed_bytes = bytes;
	w->codes = f;
	checkpoint_forget(cp, w);
	return 0;
}

const char *nn_weight_computed(const struct nn_weight *w)
{
	return w->codes ? nn_block_format(w->codes->ggml_type)->name : NULL;
}

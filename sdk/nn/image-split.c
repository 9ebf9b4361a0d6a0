/* image-split.c - Idefics3 and SmolVLM (Laurençon 2024): the longest edge to a length, both to multiples of a tile, the tiles
 * row by row, and behind them the whole picture as one tile. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <math.h>

enum { SPLIT_TILE = 364, SPLIT_EDGE_LIMIT = 4096 };

static void split_read(struct image_reader *r, struct nn_image_processor *p)
{
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(r->root, "size");
	const cJSON *tile = cJSON_GetObjectItemCaseSensitive(r->root, "max_image_size");
	const cJSON *longest = cJSON_GetObjectItemCaseSensitive(size, "longest_edge");

	p->tile = r->image_size ? r->image_size : SPLIT_TILE;
	if (tile && !cJSON_IsNull(tile))
		p->tile = image_read_side(r, cJSON_IsObject(tile) ? cJSON_GetObjectItemCaseSensitive(tile, "longest_edge") : tile,
					  "max_image_size");
	p->divide = image_read_flag(r, "do_image_splitting", 1);
	p->longest_edge = 4 * p->tile < IMAGE_SIDE_LIMIT ? 4 * p->tile : IMAGE_SIDE_LIMIT;
	if (longest && !cJSON_IsNull(longest))
		p->longest_edge = image_read_side(r, longest, "size");
	else if (cJSON_IsObject(size)) {
		p->longest_edge = 0;
		image_read_size(r, p);
	} else if (size && !cJSON_IsNull(size)) {
		image_refuse(r, "size", "an object with \"longest_edge\", or with \"height\" and \"width\"");
	}
}

/* A picture's size on its way. */
struct split_size {
	uint32_t width, height;
};

/* The longest edge to `edge`, the other one in proportion and even, and both at least 1. */
static struct split_size split_to_edge(struct split_size s, uint32_t edge)
{
	const double aspect = (double)s.width / s.height;
	const int wide = s.width >= s.height;
	uint32_t other = (uint32_t)(wide ? edge / aspect : edge * aspect);

	other += other % 2;
	other = other ? other : 1;
	return wide ? (struct split_size){edge, other} : (struct split_size){other, edge};
}

/* The same for what is longer than the references ever take. */
static struct split_size split_below(struct split_size s, uint32_t edge)
{
	const double aspect = (double)s.width / s.height;
	const int wide = s.width >= s.height;

	if ((wide ? s.width : s.height) <= edge)
		return s;
	const uint32_t other = (uint32_t)(wide ? edge / aspect : edge * aspect);

	return wide ? (struct split_size){edge, other ? other : 1} : (struct split_size){other ? other : 1, edge};
}

static uint32_t split_multiple(uint32_t length, uint32_t tile)
{
	return (length + tile - 1) / tile * tile;
}

/* Both edges to multiples of the tile: the longer one first, the other in proportion to it. */
static struct split_size split_to_tiles(struct split_size s, uint32_t tile)
{
	const double aspect = (double)s.width / s.height;

	if (s.width >= s.height) {
		s.width = split_multiple(s.width, tile);
		s.height = split_multiple((uint32_t)(s.width / aspect), tile);
	} else {
		s.height = split_multiple(s.height, tile);
		s.width = split_multiple((uint32_t)(s.height * aspect), tile);
	}
	return (struct split_size){s.width ? s.width : tile, s.height ? s.height : tile};
}

/* The size after the first resize; `edge` 0: to an exact size. */
static struct split_size split_first(const struct nn_image_processor *p, const struct nn_tiles *t, uint32_t edge)
{
	const struct split_size original = {t->original_width, t->original_height};

	if (!p->do_resize)
		return original;
	if (!p->longest_edge)
		return (struct split_size){p->width, p->height};
	return split_below(split_to_edge(original, edge), SPLIT_EDGE_LIMIT);
}

static uint32_t split_pieces(struct split_size s, uint32_t tile)
{
	const uint64_t n = (uint64_t)(s.width / tile) * (s.height / tile);

	return n > NN_TILES_MAX ? NN_TILES_MAX + 1 : n > 1 ? (uint32_t)n + 1 : 1;
}

/* The longest edge with which a picture becomes at most so many pieces: the processor's, or less by whole tiles. */
static uint32_t split_edge(const struct nn_image_processor *p, const struct nn_tiles *t, uint32_t pieces)
{
	uint32_t edge = p->longest_edge;

	while (pieces && p->do_resize && edge > p->tile &&
	       split_pieces(split_to_tiles(split_first(p, t, edge), p->tile), p->tile) > pieces)
		edge = edge > 2 * p->tile ? edge - p->tile : p->tile;
	return edge;
}

static int split_plan(const struct nn_image_processor *p, const struct nn_tiles_ask *ask, struct nn_tiles *t,
		      struct nn_error *error)
{
	const struct split_size first = split_first(p, t, split_edge(p, t, ask->pieces));
	const struct split_size whole = split_to_tiles(first, p->tile);

	if ((uint64_t)first.width * first.height > IMAGE_PIXELS_LIMIT || (uint64_t)whole.width * whole.height > IMAGE_PIXELS_LIMIT)
		return nn_fail(error, -EINVAL, "A picture of %u x %u is too large for this model.", t->original_width,
			       t->original_height);
	t->width = t->height = p->tile;
	t->resized_width = first.width;
	t->resized_height = first.height;
	const uint32_t n = split_pieces(whole, p->tile);

	if (!p->divide || ask->detail == PERCEPT_DETAIL_LOW || n == 1 || (ask->pieces && n > ask->pieces))
		return 0;
	t->n = n;
	t->grid_rows = whole.height / p->tile;
	t->grid_cols = whole.width / p->tile;
	t->overview = PERCEPT_OVERVIEW_LAST;
	return 0;
}

/* A whole picture resized: u8 in the computation's arena; NULL and c->error. */
static uint8_t *split_resize(struct nn *c, const struct nn_image_processor *p, struct image_view *image, uint32_t width,
			     uint32_t height)
{
	uint8_t *made = nn_memory(c, (size_t)width * height, 3);

	if (!made || image_resize_window(c, *image, made, (struct image_window){width, height, 0, 0, width, height}, p->filter))
		return NULL;
	*image = (struct image_view){made, width, height};
	return made;
}

static int split_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct nn_tiles *t,
		       float *pixels)
{
	const uint32_t tile = p->tile, rows = t->grid_rows, cols = t->grid_cols;
	const size_t piece = (size_t)3 * tile * tile;

	if ((p->do_resize && !split_resize(c, p, &image, t->resized_width, t->resized_height)) ||
	    (t->n > 1 && !split_resize(c, p, &image, cols * tile, rows * tile)))
		return c->error;
	for (uint32_t i = 0; t->n > 1 && i < rows * cols; i++) {
		const struct image_place place = {
			.window = {cols * tile, rows * tile, i % cols * tile, i / cols * tile, tile, tile}, .width = tile, .height = tile,
		};

		if (image_paint(c, p, image, &place, pixels + i * piece))
			return c->error;
	}
	const struct image_place whole = {.window = {tile, tile, 0, 0, tile, tile}, .width = tile, .height = tile};

	return image_paint(c, p, image, &whole, pixels + (t->n - 1) * piece);
}

/* Of a square as large as it can be. */
static uint32_t split_most(const struct nn_image_processor *p)
{
	const uint32_t edge = !p->do_resize ? SPLIT_EDGE_LIMIT : p->longest_edge ? p->longest_edge :
			      p->width > p->height ? p->width : p->height;
	const uint32_t side = split_multiple(edge < SPLIT_EDGE_LIMIT ? edge : SPLIT_EDGE_LIMIT, p->tile);
	const uint32_t n = p->divide ? split_pieces((struct split_size){side, side}, p->tile) : 1;

	return n < NN_TILES_MAX ? n : NN_TILES_MAX;
}

const struct image_rules image_split = {
	.details = 1u << PERCEPT_DETAIL_LOW | 1u << PERCEPT_DETAIL_HIGH, .read = split_read, .plan = split_plan,
	.paint = split_paint, .most = split_most,
};

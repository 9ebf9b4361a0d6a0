/* image-anyres.c - LLaVA-NeXT (Liu 2024): the picture at the best of some sizes, cut into tiles, behind an overview. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const struct nn_pinpoint anyres_pinpoints[] = {{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}};

/* The side of a tile before the last resize and crop. */
static uint32_t anyres_side(const struct nn_image_processor *p)
{
	return p->crop_height;
}

static uint32_t anyres_pieces(const struct nn_image_processor *p, struct nn_pinpoint at)
{
	return at.height / anyres_side(p) * (at.width / anyres_side(p)) + 1;
}

static void anyres_pinpoint(struct image_reader *r, struct nn_image_processor *p, const cJSON *pair)
{
	const char *name = "image_grid_pinpoints";

	if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2) {
		image_refuse(r, name, "a list of pairs of height and width");
		return;
	}
	const struct nn_pinpoint at = {image_read_side(r, cJSON_GetArrayItem(pair, 0), name),
				       image_read_side(r, cJSON_GetArrayItem(pair, 1), name)};

	if (!r->failed && (at.height % anyres_side(p) || at.width % anyres_side(p)))
		image_refuse(r, name, "a list of multiples of the crop size");
	else if (!r->failed && (anyres_pieces(p, at) > NN_TILES_MAX || (uint64_t)at.height * at.width > IMAGE_PIXELS_LIMIT))
		image_refuse(r, name, "a list of grids of at most 63 tiles and 64 million pixels");
	p->pinpoints[p->n_pinpoints++] = at;
}

static void anyres_read(struct image_reader *r, struct nn_image_processor *p)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(r->root, "image_grid_pinpoints"), *pair;

	image_single.read(r, p);
	p->do_pad = 0;
	if ((uint64_t)p->height * p->width > IMAGE_PIXELS_LIMIT)
		image_refuse(r, "size", "a picture of at most 64 million pixels");
	if (!list || cJSON_IsNull(list)) {
		p->n_pinpoints = sizeof(anyres_pinpoints) / sizeof(*anyres_pinpoints);
		memcpy(p->pinpoints, anyres_pinpoints, sizeof(anyres_pinpoints));
		return;
	}
	if (!cJSON_IsArray(list) || !cJSON_GetArraySize(list) || cJSON_GetArraySize(list) > NN_PINPOINTS_MAX) {
		image_refuse(r, "image_grid_pinpoints", "a list of 1 to 64 pairs");
		return;
	}
	cJSON_ArrayForEach(pair, list)
		anyres_pinpoint(r, p, pair);
}

/* The size that keeps most of the picture's pixels, and of those the one that wastes least; the first wins a tie. NULL: none
 * is of so few pieces. */
static const struct nn_pinpoint *anyres_best(const struct nn_image_processor *p, const struct nn_tiles *t, uint32_t pieces)
{
	const double ow = t->original_width, oh = t->original_height;
	const struct nn_pinpoint *best = NULL;
	double kept = 0, waste = INFINITY;

	for (uint32_t i = 0; i < p->n_pinpoints; i++) {
		const double w = p->pinpoints[i].width, h = p->pinpoints[i].height;
		const double scale = w / ow < h / oh ? w / ow : h / oh;
		const double down = floor(ow * scale) * floor(oh * scale), keeps = down < ow * oh ? down : ow * oh;

		if ((pieces && anyres_pieces(p, p->pinpoints[i]) > pieces) || keeps < kept ||
		    (keeps == kept && w * h - keeps >= waste))
			continue;
		kept = keeps;
		waste = w * h - keeps;
		best = &p->pinpoints[i];
	}
	return best;
}

/* The picture's size inside a pinpoint: one side fills it. */
static void anyres_fit(struct nn_tiles *t, struct nn_pinpoint at)
{
	const double across = (double)at.width / t->original_width, down = (double)at.height / t->original_height;
	const double w = ceil(t->original_width * down), h = ceil(t->original_height * across);

	t->unpadded_width = across < down || w > at.width ? at.width : (uint32_t)w;
	t->unpadded_height = across >= down || h > at.height ? at.height : (uint32_t)h;
}

/* The size of the overview before the last resize and crop. */
static struct nn_pinpoint anyres_overview(const struct nn_image_processor *p)
{
	return p->shortest_edge ? (struct nn_pinpoint){p->shortest_edge, p->shortest_edge} :
				  (struct nn_pinpoint){p->height, p->width};
}

static int anyres_plan(const struct nn_image_processor *p, const struct nn_tiles_ask *ask, struct nn_tiles *t,
		       struct nn_error *error)
{
	const struct nn_pinpoint whole = anyres_overview(p);
	const struct nn_pinpoint *best = ask->detail == PERCEPT_DETAIL_LOW ? NULL : anyres_best(p, t, ask->pieces);
	const uint32_t side = anyres_side(p);
	struct image_place overview, tile;

	if (image_single_size(p, whole.width, whole.height, &overview, error) || image_single_size(p, side, side, &tile, error))
		return -EINVAL;
	if (overview.width != tile.width || overview.height != tile.height)
		return nn_fail(error, -EINVAL, "preprocessor_config.json: tiles of %u x %u and an overview of %u x %u do not go together.",
			       tile.width, tile.height, overview.width, overview.height);
	t->width = tile.width;
	t->height = tile.height;
	if (!best)
		return 0;
	t->grid_rows = best->height / side;
	t->grid_cols = best->width / side;
	t->n = anyres_pieces(p, *best);
	t->overview = PERCEPT_OVERVIEW_FIRST;
	anyres_fit(t, *best);
	return 0;
}

/* The u8 picture of a tile: what lies there of the resized picture in the middle of the grid, on black. */
static void anyres_cut(const struct nn_tiles *t, uint32_t side, uint32_t tile, const uint8_t *resized, uint8_t *out)
{
	const int64_t left = ((int64_t)t->grid_cols * side - t->unpadded_width) / 2 - (int64_t)(tile % t->grid_cols) * side;
	const int64_t top = ((int64_t)t->grid_rows * side - t->unpadded_height) / 2 - (int64_t)(tile / t->grid_cols) * side;
	const int64_t begin = left > 0 ? left : 0, end = left + t->unpadded_width < side ? left + t->unpadded_width : side;

	memset(out, 0, (size_t)side * side * 3);
	for (int64_t y = top > 0 ? top : 0; begin < end && y < side && y - top < t->unpadded_height; y++)
		memcpy(out + ((size_t)y * side + (size_t)begin) * 3,
		       resized + ((size_t)(y - top) * t->unpadded_width + (size_t)(begin - left)) * 3, (size_t)(end - begin) * 3);
}

static int anyres_paint_tiles(struct nn *c, const struct nn_image_processor *p, struct image_view image,
			      const struct nn_tiles *t, float *pixels)
{
	const uint32_t side = anyres_side(p), w = t->unpadded_width, h = t->unpadded_height;
	uint8_t *resized = nn_memory(c, (size_t)w * h, 3), *cut = nn_memory(c, (size_t)side * side, 3);
	struct image_place place;

	if (!resized || !cut || image_resize_window(c, image, resized, (struct image_window){w, h, 0, 0, w, h}, p->filter) ||
	    image_single_size(p, side, side, &place, NULL))
		return c->error;
	for (uint32_t i = 0; i < t->grid_rows * t->grid_cols; i++) {
		anyres_cut(t, side, i, resized, cut);
		if (image_paint(c, p, (struct image_view){cut, side, side}, &place, pixels + (size_t)3 * t->width * t->height * i))
			break;
	}
	return c->error;
}

static int anyres_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct nn_tiles *t,
			float *pixels)
{
	const struct nn_pinpoint whole = anyres_overview(p);
	uint8_t *overview = nn_memory(c, (size_t)whole.width * whole.height, 3);
	struct image_place place;

	if (!overview || image_single_size(p, whole.width, whole.height, &place, NULL) ||
	    image_resize_window(c, image, overview, (struct image_window){whole.width, whole.height, 0, 0, whole.width, whole.height},
				p->filter) ||
	    image_paint(c, p, (struct image_view){overview, whole.width, whole.height}, &place, pixels))
		return c->error;
	return t->n == 1 ? 0 : anyres_paint_tiles(c, p, image, t, pixels + (size_t)3 * t->width * t->height);
}

static uint32_t anyres_most(const struct nn_image_processor *p)
{
	uint32_t most = 1;

	for (uint32_t i = 0; i < p->n_pinpoints; i++) {
		const uint32_t pieces = anyres_pieces(p, p->pinpoints[i]);

		most = pieces > most ? pieces : most;
	}
	return most;
}

const struct image_rules image_anyres = {
	.details = 1u << PERCEPT_DETAIL_LOW | 1u << PERCEPT_DETAIL_HIGH, .read = anyres_read, .plan = anyres_plan,
	.paint = anyres_paint, .most = anyres_most,
};

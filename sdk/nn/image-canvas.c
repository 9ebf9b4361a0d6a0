/* image-canvas.c - Llama 3.2 Vision (Grattafiori 2024): the picture in its own shape in the upper left of the canvas of whole tiles that fits it
 * best, and the tiles row by row. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <math.h>

enum { CANVAS_TILES = 4 };

static void canvas_read(struct image_reader *r, struct nn_image_processor *p)
{
	image_read_size(r, p);
	p->do_center_crop = 0;
	p->tile = p->height;
	p->pieces_most = (uint32_t)image_read_whole(r, "max_image_tiles", CANVAS_TILES, 1, NN_TILES_MAX);
	if (p->shortest_edge || p->height != p->width)
		image_refuse(r, "size", "a height and a width that are equal");
	if (!p->do_resize)
		image_refuse(r, "do_resize", "true");
	if (!image_read_flag(r, "do_pad", 1))
		image_refuse(r, "do_pad", "true");
	if ((uint64_t)p->tile * p->tile * p->pieces_most > IMAGE_PIXELS_LIMIT)
		image_refuse(r, "size", "of tiles that are at most 64 million pixels together");
}

/* A canvas and by how much the picture is scaled to fit it. */
struct canvas {
	uint32_t rows, cols, number;
	double scale;
};

/* Scaling up by little is best, else scaling down by little; of equal ones the smaller canvas, and the first. */
static int canvas_is_better(const struct canvas *a, const struct canvas *b)
{
	const int up = a->scale >= 1, other = b->scale >= 1;

	if (up != other)
		return up;
	if (a->scale != b->scale)
		return up ? a->scale < b->scale : a->scale > b->scale;
	return a->rows * a->cols < b->rows * b->cols;
}

/* Of at most `most` tiles; numbers count all canvases of the processor by their rows, then by their columns, from 1. */
static struct canvas canvas_best(const struct nn_image_processor *p, const struct nn_tiles *t, uint32_t most)
{
	struct canvas best = {0};
	uint32_t number = 0;

	for (uint32_t rows = 1; rows <= p->pieces_most; rows++) {
		for (uint32_t cols = 1; rows * cols <= p->pieces_most; cols++) {
			const double down = (double)(rows * p->tile) / t->original_height;
			const double across = (double)(cols * p->tile) / t->original_width;
			const struct canvas c = {rows, cols, ++number, across > down ? down : across};

			if (rows * cols <= most && (!best.number || canvas_is_better(&c, &best)))
				best = c;
		}
	}
	return best;
}

static uint32_t canvas_clip(uint32_t side, uint32_t least, uint32_t most)
{
	return side < least ? least : side > most ? most : side;
}

/* side * scale, at least 1 and at most `most`. */
static uint32_t canvas_scaled(uint32_t side, double scale, uint32_t most)
{
	const double scaled = floor(side * scale);

	return scaled < 1 ? 1 : scaled > most ? most : (uint32_t)scaled;
}

/* The picture's size on the canvas: it grows at most until a side fills a tile. */
static void canvas_fit(const struct nn_image_processor *p, struct nn_tiles *t)
{
	const uint32_t width = canvas_clip(t->original_width, p->tile, t->grid_cols * p->tile);
	const uint32_t height = canvas_clip(t->original_height, p->tile, t->grid_rows * p->tile);
	const double down = (double)height / t->original_height, across = (double)width / t->original_width;

	t->unpadded_width = across < down ? width : canvas_scaled(t->original_width, down, width);
	t->unpadded_height = across < down ? canvas_scaled(t->original_height, across, height) : height;
}

static int canvas_plan(const struct nn_image_processor *p, const struct nn_tiles_ask *ask, struct nn_tiles *t,
		       struct nn_error *error)
{
	const uint32_t all = ask->pieces && ask->pieces < p->pieces_most ? ask->pieces : p->pieces_most;
	const struct canvas best = canvas_best(p, t, ask->detail == PERCEPT_DETAIL_LOW ? 1 : all);

	(void)error;
	t->width = t->height = p->tile;
	t->grid_rows = best.rows;
	t->grid_cols = best.cols;
	t->n = best.rows * best.cols;
	t->shape = best.number;
	canvas_fit(p, t);
	return 0;
}

/* What of `length` pixels lies in a tile of `tile` pixels that begins at `from`. */
static uint32_t canvas_part(uint32_t length, uint32_t from, uint32_t tile)
{
	return length <= from ? 0 : length - from < tile ? length - from : tile;
}

static int canvas_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct nn_tiles *t,
			float *pixels)
{
	const uint32_t tile = p->tile;
	static const uint8_t black[3];

	for (uint32_t i = 0; i < t->n; i++) {
		const uint32_t x = i % t->grid_cols * tile, y = i / t->grid_cols * tile;
		const uint32_t width = canvas_part(t->unpadded_width, x, tile), height = canvas_part(t->unpadded_height, y, tile);
		const int empty = !width || !height;
		const struct image_place place = {
			.window = {t->unpadded_width, t->unpadded_height, x, y, width, height}, .width = tile, .height = tile,
		};
		const struct image_place none = {.window = {tile, tile, 0, 0, tile, tile}, .width = tile, .height = tile};

		if (image_paint(c, p, empty ? (struct image_view){black, 1, 1} : image, empty ? &none : &place,
				pixels + (size_t)3 * tile * tile * i))
			return c->error;
	}
	return 0;
}

static uint32_t canvas_most(const struct nn_image_processor *p)
{
	return p->pieces_most;
}

const struct image_rules image_canvas = {
	.details = 1u << PERCEPT_DETAIL_LOW, .read = canvas_read, .plan = canvas_plan, .paint = canvas_paint, .most = canvas_most,
};

/* image-tiling.c - InternVL's dynamic tiling (Chen 2024), as GOT-OCR 2's processor does it: the picture at the grid of tiles
 * whose shape is nearest, and behind the tiles the whole picture as one. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static void tiling_read(struct image_reader *r, struct nn_image_processor *p)
{
	const char *class = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(r->root, "processor_class"));

	image_read_size(r, p);
	p->do_center_crop = 0;
	/* InternVL's processor asks for the division whatever the file says. */
	p->divide = image_read_flag(r, "crop_to_patches", 0) || (class && !strcmp(class, "InternVLProcessor"));
	p->pieces_least = (uint32_t)image_read_whole(r, "min_patches", 1, 1, NN_TILES_MAX - 1);
	p->pieces_most = (uint32_t)image_read_whole(r, "max_patches", 12, 1, NN_TILES_MAX - 1);
	if (p->shortest_edge || (uint64_t)p->height * p->width > IMAGE_PIXELS_LIMIT)
		image_refuse(r, "size", "a height and a width of at most 64 million pixels");
}

/* A grid of tiles and how far it is from the picture's shape. */
struct tiling {
	uint32_t cols, rows;
	double far;
};

/* Takes a grid that is nearer; of equally near ones a larger one as long as the picture has half of its pixels. */
static void tiling_try(const struct nn_image_processor *p, const struct nn_tiles *t, uint32_t cols, uint32_t rows,
		       struct tiling *best)
{
	const double aspect = (double)t->original_width / t->original_height, area = (double)t->original_width * t->original_height;
	const double far = fabs(aspect - (double)cols / rows);
	const int enough = area > 0.5 * p->height * p->width * cols * rows;

	if (far < best->far || (far == best->far && enough))
		*best = (struct tiling){cols, rows, far};
}

/* Of at most `most` tiles; grids are tried by their number of tiles, then by their columns. */
static struct tiling tiling_best(const struct nn_image_processor *p, const struct nn_tiles *t, uint32_t most)
{
	struct tiling best = {1, 1, INFINITY};

	for (uint32_t n = p->pieces_least; n <= most; n++)
		for (uint32_t cols = 1; cols <= n; cols++)
			if (n % cols == 0)
				tiling_try(p, t, cols, n / cols, &best);
	return best;
}

static int tiling_plan(const struct nn_image_processor *p, const struct nn_tiles_ask *ask, struct nn_tiles *t,
		       struct nn_error *error)
{
	const int divide = ask->detail == PERCEPT_DETAIL_AUTO ? p->divide : ask->detail == PERCEPT_DETAIL_HIGH;
	const uint32_t most = ask->pieces && ask->pieces <= p->pieces_most ? ask->pieces - 1 : p->pieces_most;

	if (!p->do_resize && !divide)
		return image_single.plan(p, ask, t, error);
	t->width = p->width;
	t->height = p->height;
	if (!divide || p->pieces_most == 1)
		return 0;
	const struct tiling best = tiling_best(p, t, most);
	const uint32_t n = best.cols * best.rows;

	if (n == 1)
		return 0;
	t->n = n + 1;
	t->grid_rows = best.rows;
	t->grid_cols = best.cols;
	t->overview = PERCEPT_OVERVIEW_LAST;
	return 0;
}

static int tiling_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct nn_tiles *t,
			float *pixels)
{
	const uint32_t w = t->width, h = t->height, cols = t->grid_cols, rows = t->grid_rows;
	const size_t piece = (size_t)3 * w * h;
	const struct image_place whole = {.window = {w, h, 0, 0, w, h}, .width = w, .height = h};

	for (uint32_t i = 0; t->n > 1 && i < rows * cols; i++) {
		const struct image_place place = {
			.window = {cols * w, rows * h, i % cols * w, i / cols * h, w, h}, .width = w, .height = h,
		};

		if (image_paint(c, p, image, &place, pixels + i * piece))
			return c->error;
	}
	return image_paint(c, p, image, &whole, pixels + (t->n - 1) * piece);
}

/* With detail high. */
static uint32_t tiling_most(const struct nn_image_processor *p)
{
	return p->pieces_most > 1 ? p->pieces_most + 1 : 1;
}

const struct image_rules image_tiling = {
	.details = 1u << PERCEPT_DETAIL_LOW | 1u << PERCEPT_DETAIL_HIGH, .read = tiling_read, .plan = tiling_plan,
	.paint = tiling_paint, .most = tiling_most,
};

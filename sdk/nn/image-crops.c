/* image-crops.c - Gemma 3's pan and scan (Kamath 2025): the whole picture, and where it is long or tall, cuts of it behind. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static void crops_read(struct image_reader *r, struct nn_image_processor *p)
{
	const cJSON *ratio = cJSON_GetObjectItemCaseSensitive(r->root, "pan_and_scan_min_ratio_to_activate");

	image_single.read(r, p);
	p->divide = image_read_flag(r, "do_pan_and_scan", 0);
	p->crop_least = (uint32_t)image_read_whole(r, "pan_and_scan_min_crop_size", 256, 1, IMAGE_SIDE_LIMIT);
	p->pieces_most = (uint32_t)image_read_whole(r, "pan_and_scan_max_num_crops", 4, 1, NN_TILES_MAX - 1);
	p->ratio_least = 1.2;
	if (cJSON_IsNumber(ratio) && isfinite(ratio->valuedouble))
		p->ratio_least = ratio->valuedouble;
	else if (ratio && !cJSON_IsNull(ratio))
		image_refuse(r, "pan_and_scan_min_ratio_to_activate", "a number");
}

/* How many cuts along a picture's longer edge; 0: none. */
static uint32_t crops_count(const struct nn_image_processor *p, uint32_t longer, uint32_t other, uint32_t most)
{
	const double ratio = (double)longer / other;
	uint32_t n = (uint32_t)floor(ratio + 0.5);

	if (ratio < p->ratio_least)
		return 0;
	if (longer / p->crop_least < n)
		n = longer / p->crop_least;
	n = n < 2 ? 2 : n;
	n = n > most ? most : n;
	const uint32_t each = (longer + n - 1) / n;

	return (each < other ? each : other) < p->crop_least ? 0 : n;
}

static int crops_plan(const struct nn_image_processor *p, const struct nn_tiles_ask *ask, struct nn_tiles *t,
		      struct nn_error *error)
{
	const uint32_t w = t->original_width, h = t->original_height;
	const uint32_t most = ask->pieces && ask->pieces <= p->pieces_most ? ask->pieces - 1 : p->pieces_most;
	const int divide = ask->detail == PERCEPT_DETAIL_AUTO ? p->divide : ask->detail == PERCEPT_DETAIL_HIGH;
	const uint32_t longer = w >= h ? w : h, n = divide && most ? crops_count(p, longer, w >= h ? h : w, most) : 0;

	if (image_single.plan(p, ask, t, error))
		return -EINVAL;
	if (!n)
		return 0;
	if (!p->do_resize || (uint64_t)((longer + n - 1) / n) * (n - 1) >= longer)
		return nn_fail(error, -EINVAL, "A picture of %u x %u cannot be cut into %u pieces of one size.", w, h, n);
	t->n = n + 1;
	t->grid_rows = w >= h ? 1 : n;
	t->grid_cols = w >= h ? n : 1;
	t->overview = PERCEPT_OVERVIEW_FIRST;
	return 0;
}

/* Cut i: as wide and high as the others, but for the last one, which ends with the picture. */
static int crops_paint_one(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct nn_tiles *t,
			   uint32_t i, float *pixels)
{
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);
	const uint32_t across = (image.width + t->grid_cols - 1) / t->grid_cols, down = (image.height + t->grid_rows - 1) / t->grid_rows;
	const uint32_t x = i % t->grid_cols * across, y = i / t->grid_cols * down;
	const uint32_t w = across < image.width - x ? across : image.width - x, h = down < image.height - y ? down : image.height - y;
	uint8_t *cut = nn_memory(c, (size_t)w * h, 3);
	struct image_place place;

	if (!cut)
		return c->error;
	if (image_single_size(p, w, h, &place, NULL) || place.width != t->width || place.height != t->height)
		return c->error = -EINVAL;
	for (size_t row = 0; row < h; row++)
		memcpy(cut + row * w * 3, image.data + ((y + row) * image.width + x) * 3, (size_t)w * 3);
	image_paint(c, p, (struct image_view){cut, w, h}, &place, pixels);
	nn_arena_release(c->arena, mark);
	return c->error;
}

static int crops_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct nn_tiles *t,
		       float *pixels)
{
	if (image_single.paint(c, p, image, t, pixels))
		return c->error;
	for (uint32_t i = 1; i < t->n && !c->error; i++)
		crops_paint_one(c, p, image, t, i - 1, pixels + (size_t)3 * t->width * t->height * i);
	return c->error;
}

/* With detail high. */
static uint32_t crops_most(const struct nn_image_processor *p)
{
	return p->pieces_most + 1;
}

const struct image_rules image_crops = {
	.details = 1u << PERCEPT_DETAIL_LOW | 1u << PERCEPT_DETAIL_HIGH, .read = crops_read, .plan = crops_plan,
	.paint = crops_paint, .most = crops_most,
};

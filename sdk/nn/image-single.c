/* image-single.c - processors that make one piece of a picture: resized, cut from the middle, or padded to a square. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <string.h>

static void image_single_read(struct image_reader *r, struct nn_image_processor *p)
{
	p->do_pad = r->kind->pads && image_read_flag(r, "do_pad", 0);
	image_read_size(r, p);
	image_read_crop(r, p);
}

/* ConvNeXt: the shorter edge to size / crop_pct and a crop to size; from 384 up the whole picture to a square. */
static void image_convnext_read(struct image_reader *r, struct nn_image_processor *p)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(r->root, "crop_pct");
	const double part = cJSON_IsNumber(value) ? value->valuedouble : 224.0 / 256;

	image_single_read(r, p);
	const uint32_t side = p->height;

	if (!(part > 0.01 && part <= 1)) {
		image_refuse(r, "crop_pct", "a number above 0.01, at most 1");
	} else if (p->shortest_edge && side < 384) {
		p->shortest_edge = (uint32_t)(side / part);
		p->do_center_crop = 1;
	} else {
		p->shortest_edge = 0;
		p->do_center_crop = 0;
	}
	p->crop_height = p->crop_width = side;
}

/* The size that a picture is resized to. */
static void image_single_target(const struct nn_image_processor *p, uint64_t w, uint64_t h, uint64_t *width, uint64_t *height)
{
	const uint64_t s = p->shortest_edge;

	if (!p->do_resize) {
		*width = w;
		*height = h;
	} else if (!s) {
		*width = p->width;
		*height = p->height;
	} else {
		*width = w <= h ? s : (uint64_t)((double)(s * w) / (double)h);
		*height = w <= h ? (uint64_t)((double)(s * h) / (double)w) : s;
	}
}

int image_single_size(const struct nn_image_processor *p, uint32_t width, uint32_t height, struct image_place *place,
		      struct nn_error *error)
{
	uint64_t full_width, full_height;

	image_single_target(p, width, height, &full_width, &full_height);
	const uint64_t wide = p->do_center_crop ? p->crop_width : full_width;
	const uint64_t high = p->do_center_crop ? p->crop_height : full_height;

	if (full_width < 1 || full_height < 1 || full_width > 1 << 30 || full_height > 1 << 30 || wide > 1 << 30 ||
	    high > 1 << 30 || wide * high > IMAGE_PIXELS_LIMIT)
		return nn_fail(error, -EINVAL, "A picture of %u x %u is too long and thin for this model.", width, height);
	const struct image_span across = image_centre(full_width, (uint32_t)wide), down = image_centre(full_height, (uint32_t)high);

	*place = (struct image_place){
		.window = {(uint32_t)full_width, (uint32_t)full_height, across.from, down.from, across.n, down.n},
		.x = across.at, .y = down.at, .width = (uint32_t)wide, .height = (uint32_t)high,
	};
	return 0;
}

static int image_single_place(const struct nn_image_processor *p, const struct nn_tiles *t, struct image_place *place,
			      struct nn_error *error)
{
	uint32_t w = t->original_width, h = t->original_height;

	if (p->do_pad)
		w = h = w > h ? w : h;
	return image_single_size(p, w, h, place, error);
}

static int image_single_plan(const struct nn_image_processor *p, const struct nn_tiles_ask *ask, struct nn_tiles *t,
			     struct nn_error *error)
{
	struct image_place place;

	(void)ask;
	if (image_single_place(p, t, &place, error))
		return -EINVAL;
	t->width = place.width;
	t->height = place.height;
	return 0;
}

/* LLaVA: a square with the picture in its middle. */
static int image_single_pad(struct nn *c, const struct nn_image_processor *p, struct image_view *image)
{
	const uint32_t side = image->width > image->height ? image->width : image->height;
	const size_t left = (side - image->width) / 2, top = (side - image->height) / 2;
	const size_t row = (size_t)side * 3;
	uint8_t *made = nn_memory(c, side, row);

	if (!made)
		return c->error;
	for (size_t i = 0; i < row; i++)
		made[i] = p->background[i % 3];
	for (size_t y = 1; y < side; y++)
		memcpy(made + y * row, made, row);
	for (size_t y = 0; y < image->height; y++)
		memcpy(made + (top + y) * row + left * 3, image->data + y * image->width * 3, (size_t)image->width * 3);
	*image = (struct image_view){made, side, side};
	return 0;
}

static int image_single_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image,
			      const struct nn_tiles *t, float *pixels)
{
	struct image_place place;

	if (image_single_place(p, t, &place, NULL))
		return c->error = -EINVAL;
	if (p->do_pad && image.width != image.height && image_single_pad(c, p, &image))
		return c->error;
	return image_paint(c, p, image, &place, pixels);
}

const struct image_rules image_single = {.read = image_single_read, .plan = image_single_plan, .paint = image_single_paint};
const struct image_rules image_convnext = {.read = image_convnext_read, .plan = image_single_plan, .paint = image_single_paint};

/* image-fit.c - Pixtral: the picture keeps its shape, fits into a square, and its sides become whole patches. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <math.h>

enum { FIT_PATCH_MOST = 1024 };

/* "patch_size": n, or {"height": n, "width": n} of a square. */
static uint32_t fit_patch(struct image_reader *r)
{
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(r->root, "patch_size");
	const cJSON *height = cJSON_GetObjectItemCaseSensitive(size, "height");
	const cJSON *width = cJSON_GetObjectItemCaseSensitive(size, "width");

	if (!size || cJSON_IsNull(size))
		return 16;
	if (height && (!width || height->valuedouble != width->valuedouble))
		image_refuse(r, "patch_size", "of one height and width");
	const uint32_t side = image_read_side(r, height ? height : size, "patch_size");

	if (side > FIT_PATCH_MOST)
		image_refuse(r, "patch_size", "at most 1024 pixels");
	return side;
}

static void fit_read(struct image_reader *r, struct nn_image_processor *p)
{
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(r->root, "size");
	const cJSON *longest = cJSON_GetObjectItemCaseSensitive(size, "longest_edge");
	const cJSON *side = longest ? longest : cJSON_IsNumber(size) ? size : NULL;

	p->native.patch = fit_patch(r);
	p->native.merge = 1;
	p->width = p->height = 1024;
	if (side)
		p->width = p->height = image_read_side(r, side, "size");
	else if (size && !cJSON_IsNull(size))
		image_read_size(r, p);
	p->do_center_crop = 0;
}

/* Sides that fit into width x height, and not more than `pixels` (0: no bound), in whole windows. */
static void fit_size(const struct nn_image_processor *p, uint64_t pixels, double *width, double *height)
{
	const double window = (double)p->native.patch * p->native.merge, w = *width, h = *height;
	double ratio = fmax(fmax(h / p->height, w / p->width), 1);

	*width = ceil(floor(w / ratio) / window) * window;
	*height = ceil(floor(h / ratio) / window) * window;
	while (pixels && *width * *height > (double)pixels && fmax(*width, *height) > window) {
		ratio *= 1.01;
		*width = fmax(floor(w / ratio / window), 1) * window;
		*height = fmax(floor(h / ratio / window), 1) * window;
	}
}

static int fit_plan(const struct nn_image_processor *p, const struct nn_tiles_ask *ask, struct nn_tiles *t, struct nn_error *error)
{
	double width = t->original_width, height = t->original_height;

	if (!p->do_resize)
		return nn_fail(error, -ENOTSUP, "preprocessor_config.json: pictures that are not resized to whole patches are not supported.");
	fit_size(p, ask->pixels, &width, &height);
	if (!(width >= 1 && height >= 1 && width * height <= IMAGE_PIXELS_LIMIT))
		return nn_fail(error, -EINVAL, "A picture of %u x %u is too long and thin for this model.", t->original_width,
			       t->original_height);
	t->width = (uint32_t)width;
	t->height = (uint32_t)height;
	return 0;
}

static int fit_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct nn_tiles *t,
		     float *pixels)
{
	const struct image_place place = {.window = {t->width, t->height, 0, 0, t->width, t->height}, .width = t->width,
					  .height = t->height};

	return image_paint(c, p, image, &place, pixels);
}

const struct image_rules image_fit = {.read = fit_read, .plan = fit_plan, .paint = fit_paint};

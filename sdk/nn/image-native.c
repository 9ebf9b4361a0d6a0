/* image-native.c - pictures at their own resolution (Wang 2024, Qwen2-VL): both sides become whole merge windows of patches,
 * the number of pixels stays within bounds, and the shape is kept as well as that allows. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <math.h>

enum { NATIVE_ASPECT_MOST = 200, NATIVE_LOW_WINDOWS = 256, NATIVE_PATCH_MOST = 1024, NATIVE_MERGE_MOST = 16 };

/* Pixels that a picture may have, at least or at most: an own key, or the one of "size", which older files name differently. */
static uint64_t native_pixels(struct image_reader *r, const char *own, const char *side, uint64_t fallback)
{
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(r->root, "size");
	const cJSON *values[] = { cJSON_GetObjectItemCaseSensitive(r->root, own), cJSON_GetObjectItemCaseSensitive(size, side),
				  cJSON_GetObjectItemCaseSensitive(size, own) };

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		const cJSON *value = values[i];

		if (!value || cJSON_IsNull(value))
			continue;
		if (cJSON_IsNumber(value) && value->valuedouble >= 1 && value->valuedouble <= 9007199254740992.0)
			return (uint64_t)value->valuedouble;
		image_refuse(r, i ? "size" : own, "a number of pixels from 1 on");
		break;
	}
	return fallback;
}

static void native_read(struct image_reader *r, struct nn_image_processor *p)
{
	struct nn_native *n = &p->native;

	n->patch = (uint32_t)image_read_whole(r, "patch_size", 14, 1, NATIVE_PATCH_MOST);
	n->depth = (uint32_t)image_read_whole(r, "temporal_patch_size", 2, 1, NATIVE_MERGE_MOST);
	n->merge = (uint32_t)image_read_whole(r, "merge_size", 2, 1, NATIVE_MERGE_MOST);
	n->least = native_pixels(r, "min_pixels", "shortest_edge", 56 * 56);
	n->most = native_pixels(r, "max_pixels", "longest_edge", 28 * 28 * 1280);
}

/* A side as so many windows of `window` pixels; never none. */
static double native_down(double side, double window)
{
	return fmax(window, floor(side / window) * window);
}

/* Bounds of a request join those of the file. */
static void native_bounds(const struct nn_native *n, const struct nn_tiles_ask *ask, double *least, double *most)
{
	const double window = (double)n->patch * n->merge, low = NATIVE_LOW_WINDOWS * window * window;

	*least = (double)n->least;
	*most = (double)n->most;
	if (ask && ask->detail == PERCEPT_DETAIL_LOW && low < *most)
		*most = low;
	if (ask && ask->pixels && (double)ask->pixels < *most)
		*most = (double)ask->pixels;
}

/* The reference's sizes, sides rounded half to even. A request's bound is kept where the file's lower one is above it. */
static void native_size(const struct nn_native *n, const struct nn_tiles_ask *ask, double *width, double *height)
{
	const double w = *width, h = *height, window = (double)n->patch * n->merge;
	double least, most;

	native_bounds(n, ask, &least, &most);
	*width = rint(w / window) * window;
	*height = rint(h / window) * window;
	if (*width * *height <= most && *width * *height < least) {
		const double grow = sqrt(least / (w * h));

		*width = ceil(w * grow / window) * window;
		*height = ceil(h * grow / window) * window;
		if (!ask || !ask->pixels || *width * *height <= most)
			return;
	}
	if (*width * *height > most) {
		const double shrink = sqrt(w * h / most);

		*width = native_down(w / shrink, window);
		*height = native_down(h / shrink, window);
	}
}

static int native_plan(const struct nn_image_processor *p, const struct nn_tiles_ask *ask, struct nn_tiles *t,
		       struct nn_error *error)
{
	const struct nn_native *n = &p->native;
	const uint64_t window = (uint64_t)n->patch * n->merge;
	double width = t->original_width, height = t->original_height;

	if (fmax(width, height) > NATIVE_ASPECT_MOST * fmin(width, height))
		return nn_fail(error, -EINVAL, "A picture of %u x %u pixels is too long and thin: one side is more than %d times the "
			       "other.", t->original_width, t->original_height, NATIVE_ASPECT_MOST);
	if (p->do_resize)
		native_size(n, ask, &width, &height);
	else if (t->original_width % window || t->original_height % window)
		return nn_fail(error, -EINVAL, "A picture of %u x %u pixels is not made of whole windows of %llu pixels, and its model "
			       "resizes none.", t->original_width, t->original_height, (unsigned long long)window);
	if (!(width * height <= IMAGE_PIXELS_LIMIT))
		return nn_fail(error, -EINVAL, "A picture of %u x %u pixels would become one of %.0f x %.0f, which is too large.",
			       t->original_width, t->original_height, width, height);
	if (ask && ask->pixels && width * height > (double)ask->pixels)
		return nn_fail(error, -EINVAL, "A picture of %u x %u pixels cannot become fewer than %.0f tokens.", t->original_width,
			       t->original_height, width * height / (double)(window * window));
	t->n = t->grid_rows = t->grid_cols = 1;
	t->width = (uint32_t)width;
	t->height = (uint32_t)height;
	return 0;
}

static int native_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct nn_tiles *t,
			float *pixels)
{
	const struct image_place place = { .window = { t->width, t->height, 0, 0, t->width, t->height }, .width = t->width,
					   .height = t->height };

	return image_paint(c, p, image, &place, pixels);
}

const struct image_rules image_native = {
	.details = 1u << PERCEPT_DETAIL_LOW | 1u << PERCEPT_DETAIL_HIGH, .read = native_read, .plan = native_plan,
	.paint = native_paint,
};

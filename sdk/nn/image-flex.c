/* image-flex.c - NaFlex (Tschannen 2025, SigLIP 2): a picture keeps its shape as well as a number of patches allows. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <math.h>

enum { FLEX_PATCH_MOST = 1024, FLEX_PATCHES_MOST = 1 << 14 };

static void flex_read(struct image_reader *r, struct nn_image_processor *p)
{
	p->flex_patch = (uint32_t)image_read_whole(r, "patch_size", 16, 1, FLEX_PATCH_MOST);
	p->flex_patches = (uint32_t)image_read_whole(r, "max_num_patches", 256, 1, FLEX_PATCHES_MOST);
}

/* A side times a scale, as whole patches, at least one. */
static double flex_side(double scale, uint32_t side, uint32_t patch)
{
	return fmax(patch, ceil(side * scale / patch) * patch);
}

/* The reference's search for the largest scale that keeps within so many patches. */
static double flex_scale(const struct nn_tiles *t, uint32_t patch, double most)
{
	const double least = 1e-5;
	double low = least / 10, high = 100;

	while (high - low >= least) {
		const double scale = (low + high) / 2;
		const double rows = flex_side(scale, t->original_height, patch) / patch;
		const double cols = flex_side(scale, t->original_width, patch) / patch;

		if (rows * cols <= most)
			low = scale;
		else
			high = scale;
	}
	return low;
}

static int flex_plan(const struct nn_image_processor *p, const struct nn_tiles_ask *ask, struct nn_tiles *t, struct nn_error *error)
{
	const uint64_t each = (uint64_t)p->flex_patch * p->flex_patch, asked = ask->pixels / each;
	const uint64_t most = (uint64_t)NN_FLEX_MOST * p->flex_patches;
	const double patches = !ask->pixels ? p->flex_patches : (double)(asked < most ? asked : most);
	double width = t->original_width, height = t->original_height;

	if (patches < 1)
		return nn_fail(error, -EINVAL, "A picture becomes at least one patch.");
	if (p->do_resize) {
		const double scale = flex_scale(t, p->flex_patch, patches);

		height = flex_side(scale, t->original_height, p->flex_patch);
		width = flex_side(scale, t->original_width, p->flex_patch);
	}
	if (width * height > patches * (double)each)
		return nn_fail(error, -EINVAL, "A picture of %u x %u pixels is too long and thin for %.0f patches.", t->original_width,
			       t->original_height, patches);
	t->width = (uint32_t)width;
	t->height = (uint32_t)height;
	return 0;
}

static int flex_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct nn_tiles *t, float *pixels)
{
	const struct image_place place = { .window = { t->width, t->height, 0, 0, t->width, t->height }, .width = t->width,
					   .height = t->height };

	return image_paint(c, p, image, &place, pixels);
}

const struct image_rules image_flex = { .read = flex_read, .plan = flex_plan, .paint = flex_paint };

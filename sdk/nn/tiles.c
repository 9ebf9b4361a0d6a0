/* tiles.c - a picture's pieces, by the rules of its processor's kind. */
#include "sdk/nn/tiles.h"

#include <errno.h>

#include "sdk/nn/image-kind.h"

/* What holds for the plans of all kinds. */
static int tiles_check(const struct nn_tiles *t, struct nn_error *error)
{
	const uint64_t pixels = (uint64_t)t->width * t->height;

	if (!t->n || t->n > NN_TILES_MAX)
		return nn_fail(error, -EINVAL, "A picture of %u x %u would become %u pieces; 1 to %d can be taken.", t->original_width,
			       t->original_height, t->n, NN_TILES_MAX);
	if (!pixels || pixels > IMAGE_PIXELS_LIMIT || pixels * t->n > IMAGE_PIXELS_LIMIT)
		return nn_fail(error, -EINVAL, "A picture of %u x %u would become %u pieces of %u x %u, which is too much.",
			       t->original_width, t->original_height, t->n, t->width, t->height);
	return 0;
}

int nn_tiles_plan(const struct nn_image_processor *p, uint32_t width, uint32_t height, const struct nn_tiles_ask *ask,
		  struct nn_tiles *t, struct nn_error *error)
{
	static const struct nn_tiles_ask nothing;

	if (!width || !height || width > INT32_MAX || height > INT32_MAX)
		return nn_fail(error, -EINVAL, "A picture of %u x %u cannot be prepared.", width, height);
	*t = (struct nn_tiles){.n = 1, .grid_rows = 1, .grid_cols = 1, .original_width = width, .original_height = height};
	const int failed = p->rules->plan(p, ask ? ask : &nothing, t, error);

	return failed ? failed : tiles_check(t, error);
}

int nn_tiles_prepare(struct nn *c, const struct nn_image_processor *p, const uint8_t *rgb, uint32_t width, uint32_t height,
		     const struct nn_tiles_ask *ask, struct nn_tiles *t, struct nn_error *error)
{
	if ((c->error = nn_tiles_plan(p, width, height, ask, t, error)))
		return c->error;
	float *pixels = nn_memory(c, (size_t)t->n * t->width * t->height, 3 * sizeof(*pixels));

	if (pixels && !p->rules->paint(c, p, (struct image_view){rgb, width, height}, t, pixels)) {
		t->pixels = pixels;
		nn_tiles_show(c->call, p, t);
		return 0;
	}
	return nn_fail(error, c->error, c->error == -ECANCELED ? "The work was stopped." :
		       c->error == -ENOMEM ? "There is not enough memory for a picture of %u x %u." :
		       "A picture of %u x %u could not be prepared.", width, height);
}

uint32_t nn_tiles_details(const struct nn_image_processor *p)
{
	return p->rules->details;
}

uint32_t nn_tiles_most(const struct nn_image_processor *p)
{
	return p->rules->most ? p->rules->most(p) : 1;
}

int nn_tiles_are_canvases(const struct nn_image_processor *p)
{
	return p->rules == &image_canvas;
}

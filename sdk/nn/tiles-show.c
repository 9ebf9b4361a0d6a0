/* tiles-show.c - what preprocessing made of a picture, for whoever looks on. */
#include "sdk/nn/tiles.h"

#include <string.h>

#include "sdk/nn/image-kind.h"

/* What of a picture one prepared piece shows: left, top, right, bottom in its own pixels, beyond it where it was padded. */
static void tiles_view(const struct nn_image_processor *p, double width, double height, float view[4])
{
	const double side = width > height ? width : height;
	/* The frame that is resized, and its corner in the picture's coordinates. */
	const double w = p->do_pad ? side : width, h = p->do_pad ? side : height, x = (width - w) / 2, y = (height - h) / 2;
	double wide = w, high = h;

	if (p->do_resize && p->shortest_edge) {
		wide = w * p->shortest_edge / (w < h ? w : h);
		high = h * p->shortest_edge / (w < h ? w : h);
	} else if (p->do_resize) {
		wide = p->width;
		high = p->height;
	}
	const double cut_w = p->do_center_crop ? p->crop_width : wide, cut_h = p->do_center_crop ? p->crop_height : high;

	view[0] = (float)(x + (wide - cut_w) / 2 * w / wide);
	view[1] = (float)(y + (high - cut_h) / 2 * h / high);
	view[2] = (float)(x + (wide + cut_w) / 2 * w / wide);
	view[3] = (float)(y + (high + cut_h) / 2 * h / high);
}

void nn_tiles_show(struct percept_call *call, const struct nn_image_processor *p, const struct nn_tiles *t)
{
	const uint64_t pixels[] = { t->n, 3, t->height, t->width }, scale[] = { 2, 3 }, views[] = { 1, 4 };
	float both[2][3] = { { 0, 0, 0 }, { 1, 1, 1 } }, view[4];

	if (!call || !call->host->observe || !t->pixels)
		return;
	if (p && p->do_normalize) {
		memcpy(both[0], p->mean, sizeof(both[0]));
		memcpy(both[1], p->std, sizeof(both[1]));
	}
	call->host->observe(call, "pixel_values", t->pixels, pixels, 4);
	call->host->observe(call, "pixel_scale", both[0], scale, 2);
	if (!p || t->n > 1 || (p->rules != &image_single && p->rules != &image_convnext))
		return;
	tiles_view(p, t->original_width, t->original_height, view);
	call->host->observe(call, "views", view, views, 2);
}

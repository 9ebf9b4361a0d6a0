/* image-parts.h - resizing into a window, for image preparation. */
#ifndef NN_IMAGE_PARTS_H
#define NN_IMAGE_PARTS_H

#include "sdk/nn/image.h"

/* A picture u8 [height][width][3]. */
struct image_view {
	const uint8_t *data;
	uint32_t width, height;
};

/* The part of a resized picture that is wanted: [x, x + width) of full_width, [y, y + height) of full_height. */
struct image_window {
	uint32_t full_width, full_height;
	uint32_t x, y, width, height;
};

/* dst u8 [window.height][window.width][3]: what nn_image_resize to the full size gives there. */
int image_resize_window(struct nn *c, struct image_view src, uint8_t *dst, struct image_window window, enum nn_filter filter);

#endif

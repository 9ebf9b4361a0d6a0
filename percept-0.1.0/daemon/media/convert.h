/* convert.h - a decoded picture's rows, in the colours that the reference decoders would give. */
#ifndef MEDIA_CONVERT_H
#define MEDIA_CONVERT_H

#include <libavutil/frame.h>
#include "daemon/media/image-header.h"

struct convert;

/* Writes row y (0..height-1) as RGBA, 4 * width bytes. */
typedef void convert_row_function(struct convert *convert, int y, uint8_t *rgba);

struct convert {
	const AVFrame *frame;              /* borrowed */
	const struct image_header *header; /* borrowed */
	convert_row_function *row;
	uint8_t *chroma[2];                /* a row of each, as wide as the picture, and one more pair's worth */
	uint32_t background;               /* 0x00RRGGBB, or MEDIA_BACKGROUND_NONE */
};

/* 0, or -1 with *fault: a pixel format without a line in the table, no memory. `frame` and `header` are borrowed. */
int convert_init(struct convert *convert, const AVFrame *frame, const struct image_header *header,
		 uint32_t background, struct media_fault *fault);
void convert_fini(struct convert *convert);

/*
 * Writes the whole picture as RGB to `out`, which has 3 * width * height bytes, turned as the EXIF orientation says
 * (5 to 8 swap the sides). Alpha is dropped, or composited over the background: out = (c a + b (255 - a)) / 255.
 * `rgba` is scratch of 4 * width bytes. [worker]
 */
void convert_picture(struct convert *convert, uint8_t *out, uint8_t *rgba);

/* JPEG's YCbCr with libjpeg's triangle upsampling, and WebP's with libwebp's. */
convert_row_function convert_row_jpeg, convert_row_jpeg_cmyk, convert_row_webp;

#endif

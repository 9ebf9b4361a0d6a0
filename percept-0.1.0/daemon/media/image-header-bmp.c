/* image-header-bmp.c - BMP: dimensions and whether the pixels of an uncompressed one are there. */
#include "config.h"
#include "daemon/media/image-header.h"

#include <inttypes.h>
#include "sdk/wire/frame.h"

enum { BMP_DIB = 14, BMP_CORE_BYTES = 12, BMP_INFO_BYTES = 40, BMP_RLE8 = 1, BMP_RLE4 = 2, BMP_BITFIELDS = 3 };

static int bmp_fail(struct media_fault *fault)
{
	return media_fail(fault, WIRE_MEDIA, "The BMP file is cut off or damaged.");
}

int image_header_read_bmp(struct media_source *source, struct image_header *out, struct media_fault *fault)
{
	const uint8_t *head = media_source_at(source, 0, BMP_DIB + BMP_CORE_BYTES);
	uint32_t bits, compression = 0, pixels;
	uint64_t row;

	if (!head)
		return bmp_fail(fault);
	pixels = le32(head + 10);
	if (le32(head + BMP_DIB) == BMP_CORE_BYTES) {
		out->width = le16(head + 18);
		out->height = le16(head + 20);
		bits = le16(head + 24);
	} else {
		head = media_source_at(source, 0, BMP_DIB + BMP_INFO_BYTES);
		if (!head || le32(head + BMP_DIB) < BMP_INFO_BYTES)
			return bmp_fail(fault);
		out->width = le32(head + 18);
		out->height = le32(head + 22);
		if (out->height > INT32_MAX) /* negative: the rows go downwards */
			out->height = 0u - out->height;
		bits = le16(head + 28);
		compression = le32(head + 30);
	}
	if (out->width > INT32_MAX || out->height > INT32_MAX)
		return bmp_fail(fault);
	if (compression > BMP_BITFIELDS || bits > 32)
		return media_fail(fault, WIRE_MEDIA, "The BMP file uses a coding that is not supported; save it as PNG.");
	row = ((uint64_t)out->width * bits + 31) / 32 * 4;
	if (pixels > source->size)
		return bmp_fail(fault);
	if (compression != BMP_RLE8 && compression != BMP_RLE4 && out->height &&
	    row > (source->size - pixels) / out->height)
		return bmp_fail(fault);
	return 0;
}

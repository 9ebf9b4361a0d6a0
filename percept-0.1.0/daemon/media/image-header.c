/* image-header.c - which kind of picture a file is, and its limits. */
#include "config.h"
#include "daemon/media/image-header.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include "sdk/wire/frame.h"

static const struct image_type image_types[] = {
	{ "PNG", { { 0, 8, "\x89PNG\r\n\x1a\n" } }, image_header_read_png, "png_pipe", "png", true },
	{ "JPEG", { { 0, 3, "\xff\xd8\xff" } }, image_header_read_jpeg, "jpeg_pipe", "mjpeg", false },
	{ "WebP", { { 0, 4, "RIFF" }, { 8, 4, "WEBP" } }, image_header_read_webp, "webp_pipe", "webp", true },
	{ "GIF", { { 0, 6, "GIF89a" } }, image_header_read_gif, "gif", "gif", true },
	{ "GIF", { { 0, 6, "GIF87a" } }, image_header_read_gif, "gif", "gif", true },
	{ "BMP", { { 0, 2, "BM" } }, image_header_read_bmp, "bmp_pipe", "bmp", true },
};

static bool image_type_matches(const struct image_type *type, struct media_source *source)
{
	for (size_t i = 0; i < sizeof(type->magic) / sizeof(type->magic[0]); i++) {
		size_t n = type->magic[i].n;
		const uint8_t *bytes = n ? media_source_at(source, type->magic[i].offset, n) : NULL;

		if (n && (!bytes || memcmp(bytes, type->magic[i].bytes, n)))
			return false;
	}
	return true;
}

int image_header_read(struct media_source *source, struct image_header *out, struct media_fault *fault)
{
	*out = (struct image_header){ .orientation = 1, .adobe_transform = -1 };
	for (size_t i = 0; i < sizeof(image_types) / sizeof(image_types[0]); i++) {
		if (!image_type_matches(&image_types[i], source))
			continue;
		out->type = &image_types[i];
		if (out->type->read(source, out, fault) < 0)
			return -1;
		if (!out->width || !out->height)
			return media_fail(fault, WIRE_MEDIA, "The %s picture has no pixels (%" PRIu32 "x%" PRIu32 ").",
					  out->type->name, out->width, out->height);
		return 0;
	}
	return media_fail(fault, WIRE_MEDIA,
			  "The file is not a picture that can be read; send PNG, JPEG, WebP, GIF or BMP.");
}

int image_header_check(const struct image_header *header, uint64_t max_pixels, uint32_t max_side,
		       struct media_fault *fault)
{
	if (header->width > max_side || header->height > max_side)
		return media_fail(fault, WIRE_MEDIA,
				  "The picture is %" PRIu32 "x%" PRIu32 ", a side is over the limit of %" PRIu32
				  " pixels; scale it down.",
				  header->width, header->height, max_side);
	if ((uint64_t)header->width * header->height > max_pixels)
		return media_fail(fault, WIRE_MEDIA,
				  "The picture is %" PRIu32 "x%" PRIu32 ", over the limit of %" PRIu64
				  " pixels; scale it down.",
				  header->width, header->height, max_pixels);
	return 0;
}

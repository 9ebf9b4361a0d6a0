/* image-header-png.c - PNG: dimensions, orientation, and whether all chunks are there (PNG 3rd edition, 5 and 11). */
#include "config.h"
#include "daemon/media/image-header.h"

#include <stdbool.h>
#include <string.h>
#include "sdk/wire/frame.h"

enum { PNG_FIRST_CHUNK = 8, PNG_AROUND_CHUNK = 12, PNG_IHDR_BYTES = 13, PNG_MAX_CHUNK = 0x7fffffff };

/* Which bit depths (as bits of a mask) go with each colour type. */
static const uint32_t png_depths[7] = {
	[0] = 1u << 1 | 1u << 2 | 1u << 4 | 1u << 8 | 1u << 16,
	[2] = 1u << 8 | 1u << 16,
	[3] = 1u << 1 | 1u << 2 | 1u << 4 | 1u << 8,
	[4] = 1u << 8 | 1u << 16,
	[6] = 1u << 8 | 1u << 16,
};

static int png_read_ihdr(struct media_source *source, struct image_header *out, struct media_fault *fault)
{
	const uint8_t *chunk = media_source_at(source, PNG_FIRST_CHUNK, PNG_AROUND_CHUNK + PNG_IHDR_BYTES);
	unsigned depth, colour;

	if (!chunk)
		return media_fail(fault, WIRE_MEDIA, "The PNG file is cut off in its header.");
	if (be32(chunk) != PNG_IHDR_BYTES || memcmp(chunk + 4, "IHDR", 4))
		return media_fail(fault, WIRE_MEDIA, "The PNG file is damaged: it does not begin with IHDR.");
	depth = chunk[16];
	colour = chunk[17];
	if (colour > 6 || depth > 16 || !(png_depths[colour] & 1u << depth))
		return media_fail(fault, WIRE_MEDIA,
				  "The PNG file is damaged: colour type %u cannot have %u bits.", colour, depth);
	out->width = be32(chunk + 8);
	out->height = be32(chunk + 12);
	if (out->width > PNG_MAX_CHUNK || out->height > PNG_MAX_CHUNK)
		return media_fail(fault, WIRE_MEDIA, "The PNG file is damaged: its size is impossible.");
	return 0;
}

static void png_read_exif(struct media_source *source, struct image_header *out, uint64_t offset, uint32_t n)
{
	size_t take = n < SOURCE_WINDOW ? n : SOURCE_WINDOW;
	const uint8_t *exif = take ? media_source_at(source, offset, take) : NULL;

	if (exif)
		out->orientation = exif_orientation(exif, take);
}

int image_header_read_png(struct media_source *source, struct image_header *out, struct media_fault *fault)
{
	uint64_t at = PNG_FIRST_CHUNK;
	bool has_data = false;

	if (png_read_ihdr(source, out, fault) < 0)
		return -1;
	for (;;) {
		const uint8_t *chunk = media_source_at(source, at, 8);
		uint32_t n = chunk ? be32(chunk) : 0;

		if (!chunk || n > PNG_MAX_CHUNK || source->size - at < (uint64_t)n + PNG_AROUND_CHUNK)
			return media_fail(fault, WIRE_MEDIA, "The PNG file is cut off or damaged.");
		if (!memcmp(chunk + 4, "IEND", 4))
			break;
		if (!memcmp(chunk + 4, "IDAT", 4))
			has_data = true;
		if (!memcmp(chunk + 4, "eXIf", 4))
			png_read_exif(source, out, at + 8, n);
		at += (uint64_t)n + PNG_AROUND_CHUNK;
	}
	if (!has_data)
		return media_fail(fault, WIRE_MEDIA, "The PNG file is damaged: it has no picture data.");
	return 0;
}

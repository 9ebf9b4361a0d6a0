/* image-header-webp.c - WebP: dimensions, orientation, completeness (RFC 9649; VP8: RFC 6386, 9.1). */
#include "config.h"
#include "daemon/media/image-header.h"

#include <stdbool.h>
#include <string.h>
#include "sdk/wire/frame.h"

enum { WEBP_FIRST_CHUNK = 12, WEBP_ANIMATED = 0x02 };

static int webp_fail(struct media_fault *fault, const char *what)
{
	return media_fail(fault, WIRE_MEDIA, "The WebP file is damaged: %s.", what);
}

/* The picture's own size, from the head of a VP8 (lossy) or VP8L (lossless) chunk. */
static int webp_read_picture(struct image_header *out, bool lossy, const uint8_t *body, size_t n)
{
	if (lossy && n >= 10 && !(body[0] & 1) && !memcmp(body + 3, "\x9d\x01\x2a", 3)) {
		out->width = le16(body + 6) & 0x3fff;
		out->height = le16(body + 8) & 0x3fff;
		return 0;
	}
	if (!lossy && n >= 5 && body[0] == 0x2f) {
		out->width = (le32(body + 1) & 0x3fff) + 1;
		out->height = (le32(body + 1) >> 14 & 0x3fff) + 1;
		return 0;
	}
	return -1;
}

struct webp_walk {
	bool extended, has_picture;
	uint32_t canvas_width, canvas_height;
};

static int webp_read_chunk(struct webp_walk *walk, struct media_source *source, struct image_header *out,
			   uint64_t at, struct media_fault *fault)
{
	const uint8_t *chunk = media_source_at(source, at, 8);
	uint32_t n = le32(chunk + 4);
	size_t take = n < SOURCE_WINDOW - 8 ? n : SOURCE_WINDOW - 8;

	chunk = media_source_at(source, at, 8 + take);
	if (!chunk)
		return webp_fail(fault, "it is cut off");
	if (!memcmp(chunk, "VP8X", 4) && at == WEBP_FIRST_CHUNK && take >= 10) {
		if (chunk[8] & WEBP_ANIMATED)
			return media_fail(fault, WIRE_MEDIA,
					  "The WebP file is an animation; save one of its pictures and send that.");
		walk->extended = true;
		walk->canvas_width = le24(chunk + 12) + 1;
		walk->canvas_height = le24(chunk + 15) + 1;
	} else if (!walk->has_picture && (!memcmp(chunk, "VP8 ", 4) || !memcmp(chunk, "VP8L", 4))) {
		if (webp_read_picture(out, chunk[3] == ' ', chunk + 8, take) < 0)
			return webp_fail(fault, "its picture header is wrong");
		walk->has_picture = true;
	} else if (walk->extended && !memcmp(chunk, "EXIF", 4)) {
		out->orientation = exif_orientation(chunk + 8, take);
	}
	return 0;
}

int image_header_read_webp(struct media_source *source, struct image_header *out, struct media_fault *fault)
{
	struct webp_walk walk = { 0 };
	const uint8_t *head = media_source_at(source, 0, WEBP_FIRST_CHUNK);
	uint64_t end = head ? (uint64_t)le32(head + 4) + 8 : 0;

	if (!head || end > source->size)
		return media_fail(fault, WIRE_MEDIA, "The WebP file is cut off.");
	for (uint64_t at = WEBP_FIRST_CHUNK; end >= at + 8;) {
		const uint8_t *chunk = media_source_at(source, at, 8);
		uint64_t n = chunk ? le32(chunk + 4) : 0;

		if (!chunk || end - at - 8 < n)
			return webp_fail(fault, "a chunk goes past its end");
		if (webp_read_chunk(&walk, source, out, at, fault) < 0)
			return -1;
		at += 8 + n + (n & 1);
	}
	if (!walk.has_picture)
		return webp_fail(fault, "it has no picture data");
	if (walk.extended && (walk.canvas_width != out->width || walk.canvas_height != out->height))
		return webp_fail(fault, "its picture and its canvas differ in size");
	return 0;
}

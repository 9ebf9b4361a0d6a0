/* image-header-gif.c - GIF: screen, the first frame's place and colours, completeness of that frame (GIF89a). */
#include "config.h"
#include "daemon/media/image-header.h"

#include <stdbool.h>
#include <string.h>
#include "sdk/wire/frame.h"

enum { GIF_SCREEN_BYTES = 13, GIF_EXTENSION = 0x21, GIF_CONTROL = 0xf9, GIF_IMAGE = 0x2c, GIF_HAS_TABLE = 0x80 };

static int gif_fail(struct media_fault *fault)
{
	return media_fail(fault, WIRE_MEDIA, "The GIF file is cut off or damaged.");
}

/* A colour table in the file; count 0: none, then an index is a grey level. */
struct gif_table {
	uint64_t offset;
	uint32_t count;
};

static struct gif_table gif_table_at(uint64_t offset, uint8_t flags)
{
	return (struct gif_table){ offset, flags & GIF_HAS_TABLE ? 2u << (flags & 7) : 0 };
}

static void gif_read_colour(struct media_source *source, struct gif_table table, uint32_t index, uint8_t *rgb)
{
	const uint8_t *entry = index < table.count ? media_source_at(source, table.offset + 3 * index, 3) : NULL;

	if (entry)
		memcpy(rgb, entry, 3);
	else
		memset(rgb, table.count ? 0 : (int)index, 3);
}

/* Passes over sub-blocks up to their terminator. Returns the offset behind it, or 0 when the file ends first. */
static uint64_t gif_skip_blocks(struct media_source *source, uint64_t at)
{
	const uint8_t *n;

	while ((n = media_source_at(source, at, 1))) {
		at += 1u + *n;
		if (!*n)
			return at;
	}
	return 0;
}

static int gif_read_frame(struct media_source *source, struct image_header *out, uint64_t at,
			  struct gif_table table, int transparent, struct media_fault *fault)
{
	const uint8_t *frame = media_source_at(source, at, 10);
	struct gif_table local;

	if (!frame)
		return gif_fail(fault);
	out->gif.x = le16(frame + 1);
	out->gif.y = le16(frame + 3);
	out->gif.width = le16(frame + 5);
	out->gif.height = le16(frame + 7);
	local = gif_table_at(at + 10, frame[9]);
	if (local.count)
		table = local;
	if (out->gif.x + out->gif.width > out->width || out->gif.y + out->gif.height > out->height)
		return media_fail(fault, WIRE_MEDIA, "The GIF file is damaged: its first frame exceeds its screen.");
	gif_read_colour(source, table, transparent < 0 ? 0 : (uint32_t)transparent, out->gif.transparent);
	memcpy(out->gif.outside, out->gif.transparent, 3);
	/* One byte of code size, then the data. */
	if (!gif_skip_blocks(source, at + 10 + 3 * (uint64_t)local.count + 1))
		return gif_fail(fault);
	return 0;
}

int image_header_read_gif(struct media_source *source, struct image_header *out, struct media_fault *fault)
{
	const uint8_t *bytes = media_source_at(source, 0, GIF_SCREEN_BYTES);
	struct gif_table table;
	int transparent = -1;
	uint64_t at;

	if (!bytes)
		return gif_fail(fault);
	out->width = le16(bytes + 6);
	out->height = le16(bytes + 8);
	table = gif_table_at(GIF_SCREEN_BYTES, bytes[10]);
	at = GIF_SCREEN_BYTES + 3 * (uint64_t)table.count;
	while (at && (bytes = media_source_at(source, at, 2))) {
		if (bytes[0] == GIF_IMAGE)
			return gif_read_frame(source, out, at, table, transparent, fault);
		if (bytes[0] != GIF_EXTENSION)
			break;
		if (bytes[1] == GIF_CONTROL && (bytes = media_source_at(source, at, 8)) && bytes[2] == 4)
			transparent = bytes[3] & 1 ? bytes[6] : -1;
		at = gif_skip_blocks(source, at + 2);
	}
	return gif_fail(fault);
}

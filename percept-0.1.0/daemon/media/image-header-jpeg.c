/* image-header-jpeg.c - JPEG: dimensions, colour coding, orientation, and whether the end is there (ITU T.81, B). */
#include "config.h"
#include "daemon/media/image-header.h"

#include <stdbool.h>
#include <string.h>
#include "sdk/wire/frame.h"

enum {
	JPEG_SOF0 = 0xc0,
	JPEG_SOF2 = 0xc2,
	JPEG_DHT = 0xc4,
	JPEG_JPG = 0xc8,
	JPEG_DAC = 0xcc,
	JPEG_SOF15 = 0xcf,
	JPEG_RST0 = 0xd0,
	JPEG_RST7 = 0xd7,
	JPEG_SOI = 0xd8,
	JPEG_EOI = 0xd9,
	JPEG_SOS = 0xda,
	JPEG_APP1 = 0xe1,
	JPEG_APP14 = 0xee,
	JPEG_TEM = 0x01,
};

struct jpeg_walk {
	struct media_source *source;
	struct image_header *out;
	struct media_fault *fault;
	uint64_t at;
	bool has_frame, has_scan, has_exif;
};

static int jpeg_fail_cut(struct jpeg_walk *walk)
{
	return media_fail(walk->fault, WIRE_MEDIA, "The JPEG file is cut off.");
}

static int jpeg_read_frame(struct jpeg_walk *walk, const uint8_t *body, size_t n)
{
	if (walk->has_frame)
		return media_fail(walk->fault, WIRE_MEDIA, "The JPEG file is damaged: it has two frame headers.");
	if (n < 6 || n < 6 + 3u * body[5])
		return media_fail(walk->fault, WIRE_MEDIA, "The JPEG file is damaged: its frame header is short.");
	if (body[0] != 8)
		return media_fail(walk->fault, WIRE_MEDIA,
				  "The JPEG file has %u bits a sample; save it with 8.", body[0]);
	walk->out->height = be16(body + 1);
	walk->out->width = be16(body + 3);
	walk->out->components = body[5];
	if (walk->out->components != 1 && walk->out->components != 3 && walk->out->components != 4)
		return media_fail(walk->fault, WIRE_MEDIA, "The JPEG file has %u colour components; 1, 3 or 4 are read.",
				  walk->out->components);
	for (const uint8_t *c = body + 6; c < body + 6 + 3 * body[5]; c += 3)
		if (c[1] >> 4 < 1 || c[1] >> 4 > 4 || (c[1] & 15) < 1 || (c[1] & 15) > 4)
			return media_fail(walk->fault, WIRE_MEDIA,
					  "The JPEG file is damaged: its sampling factors are impossible.");
	walk->has_frame = true;
	return 0;
}

/* One marker with its body. The body stays in the file: at most its first 64 KiB are looked at, which is all it can have. */
static int jpeg_read_segment(struct jpeg_walk *walk, unsigned marker, const uint8_t *body, size_t n)
{
	if (marker >= JPEG_SOF0 && marker <= JPEG_SOF2)
		return jpeg_read_frame(walk, body, n);
	if (marker > JPEG_SOF2 && marker <= JPEG_SOF15 && marker != JPEG_DHT && marker != JPEG_JPG &&
	    marker != JPEG_DAC)
		return media_fail(walk->fault, WIRE_MEDIA,
				  "The JPEG file uses a coding that is not supported (SOF%u); save it as baseline "
				  "or progressive.",
				  marker - JPEG_SOF0);
	if (marker == JPEG_APP1 && !walk->has_exif && n >= 6 && !memcmp(body, "Exif\0\0", 6)) {
		walk->out->orientation = exif_orientation(body, n);
		walk->has_exif = true;
	}
	if (marker == JPEG_APP14 && n >= 12 && !memcmp(body, "Adobe", 5))
		walk->out->adobe_transform = body[11];
	if (marker == JPEG_SOS) {
		if (!walk->has_frame)
			return media_fail(walk->fault, WIRE_MEDIA, "The JPEG file is damaged: a scan has no frame.");
		walk->has_scan = true;
	}
	return 0;
}

/* Moves to the next marker and takes its second byte; between scans and segments other bytes are passed over, as
 * decoders do. Returns the marker, or -1 at the end of the file. */
static int jpeg_next_marker(struct jpeg_walk *walk)
{
	bool after_ff = false;
	const uint8_t *bytes;
	size_t n;

	while ((bytes = media_source_run(walk->source, walk->at, &n))) {
		if (after_ff) {
			walk->at++;
			if (*bytes && *bytes != 0xff)
				return *bytes;
			after_ff = *bytes == 0xff;
			continue;
		}
		const uint8_t *ff = memchr(bytes, 0xff, n);

		walk->at += ff ? (uint64_t)(ff - bytes) + 1 : n;
		after_ff = ff != NULL;
	}
	return -1;
}

int image_header_read_jpeg(struct media_source *source, struct image_header *out, struct media_fault *fault)
{
	struct jpeg_walk walk = { .source = source, .out = out, .fault = fault, .at = 2 };

	for (;;) {
		int marker = jpeg_next_marker(&walk);
		const uint8_t *bytes;
		size_t n;

		if (marker < 0)
			return jpeg_fail_cut(&walk);
		if (marker == JPEG_EOI)
			break;
		if ((marker >= JPEG_RST0 && marker <= JPEG_SOI) || marker == JPEG_TEM)
			continue;
		bytes = media_source_at(source, walk.at, 2);
		if (!bytes)
			return jpeg_fail_cut(&walk);
		n = be16(bytes);
		if (n < 2)
			return media_fail(fault, WIRE_MEDIA, "The JPEG file is damaged: a segment has no length.");
		bytes = media_source_at(source, walk.at, n);
		if (!bytes)
			return jpeg_fail_cut(&walk);
		if (jpeg_read_segment(&walk, (unsigned)marker, bytes + 2, n - 2) < 0)
			return -1;
		walk.at += n;
	}
	if (!walk.has_scan)
		return media_fail(fault, WIRE_MEDIA, "The JPEG file is damaged: it has no picture data.");
	return 0;
}

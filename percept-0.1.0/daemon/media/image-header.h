/* image-header.h - what a picture's header says, read before any decoder sees the file. */
#ifndef MEDIA_IMAGE_HEADER_H
#define MEDIA_IMAGE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "daemon/media/fault.h"
#include "daemon/media/source.h"

struct image_header;

/* A kind of picture file: how it is known, who reads its header, and the only demuxer and decoder that may touch it. */
struct image_type {
	const char *name;
	struct {
		uint8_t offset, n;
		char bytes[8];
	} magic[2];      /* all must be there; n = 0: unused */
	/* Fills *out; -1 with *fault when the file is damaged, cut off or of an unsupported sort. */
	int (*read)(struct media_source *source, struct image_header *out, struct media_fault *fault);
	const char *demuxer, *decoder; /* FFmpeg's names */
	bool strict; /* any error that the decoder logs refuses the file, even if it goes on */
};

struct image_header {
	const struct image_type *type;
	uint32_t width, height; /* as stored, not 0 */
	unsigned orientation;   /* EXIF, 1..8 */
	unsigned components;    /* JPEG: 1, 3 or 4 */
	int adobe_transform;    /* JPEG: of the Adobe marker, or -1 */
	struct {                /* GIF's first frame on the screen */
		uint32_t x, y, width, height;
		uint8_t transparent[3]; /* RGB under transparent pixels */
		uint8_t outside[3];     /* RGB where the frame does not reach */
	} gif;
};

/*
 * Reads the header of `source`, checking that the file is whole as far as its outer structure tells. Costs no more than
 * one pass over the file and no memory. Returns 0, or -1 with *fault. [worker]
 */
int image_header_read(struct media_source *source, struct image_header *out, struct media_fault *fault);

/* -1 with *fault when the picture is wider or higher than max_side or has more than max_pixels pixels. [any] */
int image_header_check(const struct image_header *header, uint64_t max_pixels, uint32_t max_side,
		       struct media_fault *fault);

/* The orientation (1..8) that n bytes of EXIF (TIFF, with or without "Exif\0\0" in front) give; 1 when they give none.
 * CIPA DC-008, tag 0x0112. [any] */
unsigned exif_orientation(const uint8_t *exif, size_t n);

/* Readers of the table, one a file. */
int image_header_read_png(struct media_source *source, struct image_header *out, struct media_fault *fault);
int image_header_read_jpeg(struct media_source *source, struct image_header *out, struct media_fault *fault);
int image_header_read_webp(struct media_source *source, struct image_header *out, struct media_fault *fault);
int image_header_read_gif(struct media_source *source, struct image_header *out, struct media_fault *fault);
int image_header_read_bmp(struct media_source *source, struct image_header *out, struct media_fault *fault);

static inline uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t be32(const uint8_t *p)
{
	return be16(p) << 16 | be16(p + 2);
}

static inline uint32_t le16(const uint8_t *p)
{
	return (uint32_t)p[1] << 8 | p[0];
}

static inline uint32_t le24(const uint8_t *p)
{
	return (uint32_t)p[2] << 16 | le16(p);
}

static inline uint32_t le32(const uint8_t *p)
{
	return le16(p + 2) << 16 | le16(p);
}

#endif

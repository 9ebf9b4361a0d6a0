/* png.c - a PNG file: a signature and three chunks (ISO/IEC 15948), each line of pixels unfiltered. */
#include "sdk/tool/png.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static void png_number(uint8_t *to, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(n >> (24 - 8 * i));
}

/* Length, name, content, and the checksum of the two latter. */
static int png_chunk(FILE *out, const char *name, const uint8_t *content, size_t n)
{
	uint8_t head[8], tail[4];
	uLong sum = crc32(crc32(0, Z_NULL, 0), (const Bytef *)name, 4);
	png_number(head, (uint32_t)n);
	memcpy(head + 4, name, 4);
	/* crc32() of no bytes at no address begins anew. */
	png_number(tail, (uint32_t)(n ? crc32(sum, content, (uInt)n) : sum));
	if (fwrite(head, 1, 8, out) != 8 || fwrite(content, 1, n, out) != n || fwrite(tail, 1, 4, out) != 4)
		return errno ? -errno : -EIO;
	return 0;
}

/* The lines, each behind a 0 for "no filter", compressed; malloc'ed. */
static uint8_t *png_pack(const uint8_t *rgb, uint32_t width, uint32_t height, size_t *n)
{
	const size_t line = (size_t)width * 3;
	const uLong size = (uLong)((line + 1) * height);
	uLongf packed = compressBound(size);
	uint8_t *lines = malloc(size ? size : 1), *out = malloc(packed);
	for (uint32_t y = 0; lines && y < height; y++) {
		lines[y * (line + 1)] = 0;
		memcpy(lines + y * (line + 1) + 1, rgb + y * line, line);
	}
	if (!lines || !out || compress2(out, &packed, lines, size, 6) != Z_OK) {
		free(out);
		out = NULL;
	}
	free(lines);
	*n = packed;
	return out;
}

static int png_print(FILE *out, const uint8_t *rgb, uint32_t width, uint32_t height)
{
	uint8_t header[13] = {0, 0, 0, 0, 0, 0, 0, 0, 8, 2}; /* 8 bits, red green blue */
	size_t n;
	uint8_t *packed = png_pack(rgb, width, height, &n);
	if (!packed)
		return -ENOMEM;
	png_number(header, width);
	png_number(header + 4, height);
	int r = fwrite("\x89PNG\r\n\x1a\n", 1, 8, out) == 8 ? 0 : -EIO;
	if (r == 0)
		r = png_chunk(out, "IHDR", header, sizeof header);
	if (r == 0)
		r = png_chunk(out, "IDAT", packed, n);
	if (r == 0)
		r = png_chunk(out, "IEND", header, 0);
	free(packed);
	return r;
}

int png_write(const char *path, const uint8_t *rgb, uint32_t width, uint32_t height)
{
	FILE *out = fopen(path, "wbe");
	if (!out)
		return -errno;
	int r = png_print(out, rgb, width, height);
	if (fclose(out) && r == 0)
		r = -errno;
	if (r < 0)
		unlink(path);
	return r;
}

/* bench-picture.c - a PNG of random pixels, stored without compression (RFC 1950, RFC 1951, ISO 15948). */
#include "sdk/tool/bench.h"

#include <stdlib.h>
#include <string.h>

#define STORED_MAX 65535 /* bytes of a stored block */

static uint8_t *put32(uint8_t *at, uint32_t x)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		*at++ = (uint8_t)(x >> shift);
	return at;
}

static uint32_t picture_crc(const uint8_t *at, size_t n)
{
	uint32_t crc = 0xffffffff;
	for (; n; n--) {
		crc ^= *at++;
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

/* The length is written in front and the checksum behind what `end` - `type` holds. */
static uint8_t *picture_chunk_end(uint8_t *type, uint8_t *end)
{
	put32(type - 4, (uint32_t)(end - type - 4));
	return put32(end, picture_crc(type, (size_t)(end - type)));
}

/* Rows of a filter byte and random pixels. */
static void picture_pixels(uint8_t *at, unsigned width, unsigned height, uint64_t seed)
{
	for (unsigned y = 0; y < height; y++) {
		*at++ = 0;
		for (unsigned x = 0; x < 3 * width; x++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			*at++ = (uint8_t)(seed >> 56);
		}
	}
}

/* zlib's frame around stored blocks. */
static uint8_t *picture_store(uint8_t *at, const uint8_t *raw, size_t n)
{
	uint32_t a = 1, b = 0;
	*at++ = 0x78;
	*at++ = 0x01;
	for (size_t done = 0; done < n;) {
		size_t take = n - done < STORED_MAX ? n - done : STORED_MAX;
		*at++ = done + take == n;
		*at++ = (uint8_t)take;
		*at++ = (uint8_t)(take >> 8);
		*at++ = (uint8_t)~take;
		*at++ = (uint8_t)(~take >> 8);
		memcpy(at, raw + done, take);
		at += take;
		done += take;
	}
	for (size_t i = 0; i < n; i++) {
		a = (a + raw[i]) % 65521;
		b = (b + a) % 65521;
	}
	return put32(at, b << 16 | a);
}

uint8_t *bench_picture(unsigned width, unsigned height, uint64_t seed, size_t *bytes)
{
	static const uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
	static const uint8_t depth_and_type[] = {8, 2, 0, 0, 0};
	size_t raw_bytes = (size_t)height * (1 + 3 * (size_t)width);
	uint8_t *raw = malloc(raw_bytes), *file = malloc(raw_bytes + raw_bytes / STORED_MAX * 5 + 256), *at = file;
	if (!raw || !file) {
		free(raw);
		free(file);
		return NULL;
	}
	picture_pixels(raw, width, height, seed);
	memcpy(at, signature, sizeof signature);
	at += sizeof signature + 4;
	uint8_t *chunk = at;
	memcpy(at, "IHDR", 4);
	at = put32(put32(at + 4, width), height);
	memcpy(at, depth_and_type, sizeof depth_and_type);
	at = picture_chunk_end(chunk, at + sizeof depth_and_type);
	chunk = at + 4;
	memcpy(chunk, "IDAT", 4);
	at = picture_chunk_end(chunk, picture_store(chunk + 4, raw, raw_bytes));
	chunk = at + 4;
	memcpy(chunk, "IEND", 4);
	at = picture_chunk_end(chunk, chunk + 4);
	free(raw);
	*bytes = (size_t)(at - file);
	return file;
}

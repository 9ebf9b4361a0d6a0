/* quant-format.c - the codes and scales of GGUF's blocks, as they are packed.
 *
 * Layouts after ggml's block structures; blocks.c says the same in floats. */
#include "sdk/nn/quant.h"

#include <math.h>
#include <string.h>

#include "sdk/nn/half.h"

static uint16_t quant_f16(const uint8_t *b)
{
	return (uint16_t)(b[0] | b[1] << 8);
}

/* 16 bytes: low nibbles are codes 0..15, high nibbles 16..31. */
static void quant_nibbles(const uint8_t *b, uint8_t *code)
{
	for (int i = 0; i < 16; i++) {
		code[i] = b[i] & 15;
		code[i + 16] = b[i] >> 4;
	}
}

/* Bit i of 32 becomes bit 4 of code i. */
static void quant_fifth(const uint8_t *b, uint8_t *code)
{
	for (int i = 0; i < 32; i++)
		code[i] |= (uint8_t)((b[i / 8] >> (i % 8) & 1) << 4);
}

static void quant_q4_0(const uint8_t *b, struct quant_codes *c)
{
	c->d = quant_f16(b);
	quant_nibbles(b + 2, c->code);
}

static void quant_q4_1(const uint8_t *b, struct quant_codes *c)
{
	c->d = quant_f16(b);
	c->e = quant_f16(b + 2);
	quant_nibbles(b + 4, c->code);
}

static void quant_q5_0(const uint8_t *b, struct quant_codes *c)
{
	c->d = quant_f16(b);
	quant_nibbles(b + 6, c->code);
	quant_fifth(b + 2, c->code);
}

static void quant_q5_1(const uint8_t *b, struct quant_codes *c)
{
	c->d = quant_f16(b);
	c->e = quant_f16(b + 2);
	quant_nibbles(b + 8, c->code);
	quant_fifth(b + 4, c->code);
}

static void quant_q8_0(const uint8_t *b, struct quant_codes *c)
{
	c->d = quant_f16(b);
	for (int i = 0; i < 32; i++)
		c->code[i] = (uint8_t)(b[2 + i] ^ 0x80);
}

/* 2 bits: 64 bytes, each 32 of them hold 128 codes. */
static void quant_pairs(const uint8_t *b, uint8_t *code)
{
	for (int i = 0; i < 256; i++)
		code[i] = b[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

static void quant_q2_k(const uint8_t *b, struct quant_codes *c)
{
	c->d = quant_f16(b + 80);
	c->e = quant_f16(b + 82);
	for (int i = 0; i < 16; i++) {
		c->scale[i] = b[i] & 15;
		c->min[i] = b[i] >> 4;
	}
	quant_pairs(b + 16, c->code);
}

static void quant_q3_k(const uint8_t *b, struct quant_codes *c)
{
	const uint8_t *scales = b + 96;

	c->d = quant_f16(b + 108);
	for (int i = 0; i < 16; i++)
		c->scale[i] = (int8_t)(((scales[i % 8] >> (i / 8 * 4) & 15) | (scales[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32);
	quant_pairs(b + 32, c->code);
	for (int i = 0; i < 256; i++)
		c->code[i] |= (uint8_t)((b[i % 32] >> (i / 32) & 1) << 2);
}

/* 8 scales and 8 minima of 6 bits in 12 bytes. */
static void quant_sixes(const uint8_t *b, struct quant_codes *c)
{
	for (int i = 0; i < 4; i++) {
		c->scale[i] = b[i] & 63;
		c->min[i] = b[i + 4] & 63;
		c->scale[i + 4] = (int8_t)((b[i + 8] & 15) | b[i] >> 6 << 4);
		c->min[i + 4] = (uint8_t)(b[i + 8] >> 4 | b[i + 4] >> 6 << 4);
	}
}

/* 4 bits: 128 bytes, each 32 of them hold 64 codes. */
static void quant_quads(const uint8_t *b, uint8_t *code)
{
	for (int i = 0; i < 256; i++)
		code[i] = b[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
}

static void quant_q4_k(const uint8_t *b, struct quant_codes *c)
{
	c->d = quant_f16(b);
	c->e = quant_f16(b + 2);
	quant_sixes(b + 4, c);
	quant_quads(b + 16, c->code);
}

static void quant_q5_k(const uint8_t *b, struct quant_codes *c)
{
	c->d = quant_f16(b);
	c->e = quant_f16(b + 2);
	quant_sixes(b + 4, c);
	quant_quads(b + 48, c->code);
	for (int i = 0; i < 256; i++)
		c->code[i] |= (uint8_t)((b[16 + i % 32] >> (i / 32) & 1) << 4);
}

static void quant_q6_k(const uint8_t *b, struct quant_codes *c)
{
	c->d = quant_f16(b + 208);
	memcpy(c->scale, b + 192, 16);
	for (int half = 0; half < 2; half++)
		for (int i = 0; i < 128; i++)
			c->code[half * 128 + i] = (uint8_t)((b[half * 64 + i % 64] >> (i / 64 * 4) & 15) |
							    (b[128 + half * 32 + i % 32] >> (i / 32 * 2) & 3) << 4);
}

static void quant_iq4_nl(const uint8_t *b, struct quant_codes *c)
{
	quant_q4_0(b, c);
}

static void quant_iq4_xs(const uint8_t *b, struct quant_codes *c)
{
	const unsigned high = quant_f16(b + 2);

	c->d = quant_f16(b);
	for (int i = 0; i < 8; i++) {
		c->scale[i] = (int8_t)(((b[4 + i / 2] >> (i % 2 * 4) & 15) | (high >> (2 * i) & 3) << 4) - 32);
		quant_nibbles(b + 8 + 16 * i, c->code + 32 * i);
	}
}

void quant_read_floats(const float *values, struct quant_codes *c)
{
	float largest = 0;

	for (int i = 0; i < QUANT_K; i++)
		largest = fmaxf(largest, fabsf(values[i]));
	const float d = largest / 127;
	const _Bool some = d > 0;

	c->d = half_of_f32(d);
	for (int i = 0; i < QUANT_K; i++)
		c->code[i] = (uint8_t)(128 + (some ? (int)roundf(values[i] / d) : 0));
}

static const struct quant_format quant_formats[] = {
	{ 2, QUANT_CODE_4, QUANT_D, 8, quant_q4_0 },
	{ 3, QUANT_CODE_4, QUANT_DM, 0, quant_q4_1 },
	{ 6, QUANT_CODE_5, QUANT_D, 16, quant_q5_0 },
	{ 7, QUANT_CODE_5, QUANT_DM, 0, quant_q5_1 },
	{ 8, QUANT_CODE_8, QUANT_D, 128, quant_q8_0 },
	{ 10, QUANT_CODE_2, QUANT_K16M, 0, quant_q2_k },
	{ 11, QUANT_CODE_3, QUANT_K16, 4, quant_q3_k },
	{ 12, QUANT_CODE_4, QUANT_K32M, 0, quant_q4_k },
	{ 13, QUANT_CODE_5, QUANT_K32M, 0, quant_q5_k },
	{ 14, QUANT_CODE_6, QUANT_K16, 32, quant_q6_k },
	{ 20, QUANT_CODE_T, QUANT_D, 128, quant_iq4_nl },
	{ 23, QUANT_CODE_T, QUANT_K32, 128, quant_iq4_xs },
};

const struct quant_format *quant_format(uint32_t ggml_type)
{
	for (size_t i = 0; i < sizeof(quant_formats) / sizeof(*quant_formats); i++)
		if (quant_formats[i].ggml_type == ggml_type)
			return &quant_formats[i];
	return NULL;
}

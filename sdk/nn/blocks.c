/* blocks.c - block formats to floats: the table, and the formats whose values are linear in their codes.
 *
 * Layouts after ggml's block structures. `d` is a block's scale, `m` its minimum, `q` a code. */
#include "sdk/nn/blocks.h"

#include <string.h>
#include <strings.h>

#include "sdk/nn/half.h"

float nn_half(const uint8_t *bytes)
{
	return half_from_f16((uint16_t)(bytes[0] | bytes[1] << 8));
}

static void blocks_f32(const uint8_t *b, float *y)
{
	memcpy(y, b, 4);
}

static void blocks_f16(const uint8_t *b, float *y)
{
	*y = nn_half(b);
}

static void blocks_bf16(const uint8_t *b, float *y)
{
	uint32_t bits = (uint32_t)b[0] << 16 | (uint32_t)b[1] << 24;

	memcpy(y, &bits, 4);
}

/* d, 16 bytes: low nibbles are values 0..15, high nibbles 16..31. */
static void blocks_q4_0(const uint8_t *b, float *y)
{
	float d = nn_half(b);

	for (int i = 0; i < 16; i++) {
		y[i] = (float)((b[2 + i] & 15) - 8) * d;
		y[i + 16] = (float)((b[2 + i] >> 4) - 8) * d;
	}
}

static void blocks_q4_1(const uint8_t *b, float *y)
{
	float d = nn_half(b), m = nn_half(b + 2);

	for (int i = 0; i < 16; i++) {
		y[i] = (float)(b[4 + i] & 15) * d + m;
		y[i + 16] = (float)(b[4 + i] >> 4) * d + m;
	}
}

/* A fifth bit for each value in 32 bits. */
static unsigned blocks_bit(const uint8_t *bits, int i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

static void blocks_q5_0(const uint8_t *b, float *y)
{
	float d = nn_half(b);

	for (int i = 0; i < 16; i++) {
		int low = (int)((b[6 + i] & 15) | blocks_bit(b + 2, i) << 4);
		int high = (int)((b[6 + i] >> 4) | blocks_bit(b + 2, i + 16) << 4);

		y[i] = (float)(low - 16) * d;
		y[i + 16] = (float)(high - 16) * d;
	}
}

static void blocks_q5_1(const uint8_t *b, float *y)
{
	float d = nn_half(b), m = nn_half(b + 2);

	for (int i = 0; i < 16; i++) {
		y[i] = (float)((b[8 + i] & 15) | blocks_bit(b + 4, i) << 4) * d + m;
		y[i + 16] = (float)((b[8 + i] >> 4) | blocks_bit(b + 4, i + 16) << 4) * d + m;
	}
}

static void blocks_q8_0(const uint8_t *b, float *y)
{
	float d = nn_half(b);

	for (int i = 0; i < 32; i++)
		y[i] = (float)(int8_t)b[2 + i] * d;
}

/* 16 scales (low nibble scale, high nibble minimum), 64 bytes of 2-bit codes, d, dmin. */
static void blocks_q2_k(const uint8_t *b, float *y)
{
	float d = nn_half(b + 80), dmin = nn_half(b + 82);

	for (int i = 0; i < 256; i++) {
		unsigned scale = b[i / 16];
		unsigned q = b[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;

		y[i] = d * (float)(scale & 15) * (float)q - dmin * (float)(scale >> 4);
	}
}

/* 32 bytes of third bits, 64 bytes of 2-bit codes, 12 bytes of 6-bit scales, d. */
static void blocks_q3_k(const uint8_t *b, float *y)
{
	const uint8_t *high = b, *low = b + 32, *scales = b + 96;
	float d = nn_half(b + 108);

	for (int i = 0; i < 256; i++) {
		int s = i / 16;
		int scale = (scales[s % 8] >> (s / 8 * 4) & 15) | (scales[8 + s % 4] >> (s / 4 * 2) & 3) << 4;
		int q = (low[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;

		if (!(high[i % 32] >> (i / 32) & 1))
			q -= 4;
		y[i] = d * (float)(scale - 32) * (float)q;
	}
}

/* 8 scales and 8 minima of 6 bits in 12 bytes (Q4_K, Q5_K). */
static void blocks_scale_min(const uint8_t *packed, int i, unsigned *scale, unsigned *min)
{
	if (i < 4) {
		*scale = packed[i] & 63;
		*min = packed[i + 4] & 63;
		return;
	}
	*scale = (packed[i + 4] & 15u) | (unsigned)(packed[i - 4] >> 6) << 4;
	*min = (unsigned)(packed[i + 4] >> 4) | (unsigned)(packed[i] >> 6) << 4;
}

static void blocks_q4_k(const uint8_t *b, float *y)
{
	float d = nn_half(b), dmin = nn_half(b + 2);

	for (int s = 0; s < 8; s++) {
		const uint8_t *codes = b + 16 + s / 2 * 32;
		unsigned scale, min;

		blocks_scale_min(b + 4, s, &scale, &min);
		for (int i = 0; i < 32; i++)
			y[s * 32 + i] = d * (float)scale * (float)(codes[i] >> (s % 2 * 4) & 15) - dmin * (float)min;
	}
}

static void blocks_q5_k(const uint8_t *b, float *y)
{
	float d = nn_half(b), dmin = nn_half(b + 2);

	for (int s = 0; s < 8; s++) {
		const uint8_t *codes = b + 48 + s / 2 * 32, *high = b + 16;
		unsigned scale, min;

		blocks_scale_min(b + 4, s, &scale, &min);
		for (int i = 0; i < 32; i++) {
			unsigned q = (codes[i] >> (s % 2 * 4) & 15u) | (high[i] >> s & 1u) << 4;

			y[s * 32 + i] = d * (float)scale * (float)q - dmin * (float)min;
		}
	}
}

/* 128 bytes of low nibbles, 64 bytes of 2 high bits, 16 scales, d. */
static void blocks_q6_k(const uint8_t *b, float *y)
{
	float d = nn_half(b + 208);

	for (int i = 0; i < 256; i++) {
		int half = i / 128, r = i % 128;
		unsigned low = b[half * 64 + r % 64] >> (r / 64 * 4) & 15u;
		unsigned high = b[128 + half * 32 + r % 32] >> (r / 32 * 2) & 3u;

		y[i] = d * (float)(int8_t)b[192 + i / 16] * (float)((int)(low | high << 4) - 32);
	}
}

const int8_t blocks_nonlinear[16] = {
	-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
};

static void blocks_iq4_nl(const uint8_t *b, float *y)
{
	float d = nn_half(b);

	for (int i = 0; i < 16; i++) {
		y[i] = d * (float)blocks_nonlinear[b[2 + i] & 15];
		y[i + 16] = d * (float)blocks_nonlinear[b[2 + i] >> 4];
	}
}

static void blocks_iq4_xs(const uint8_t *b, float *y)
{
	float d = nn_half(b);
	unsigned high = b[2] | (unsigned)b[3] << 8;

	for (int s = 0; s < 8; s++) {
		int scale = (int)((b[4 + s / 2] >> (s % 2 * 4) & 15u) | (high >> (2 * s) & 3u) << 4) - 32;
		float ds = d * (float)scale;

		for (int i = 0; i < 16; i++) {
			uint8_t codes = b[8 + s * 16 + i];

			y[s * 32 + i] = ds * (float)blocks_nonlinear[codes & 15];
			y[s * 32 + i + 16] = ds * (float)blocks_nonlinear[codes >> 4];
		}
	}
}

/* One power-of-two scale (half of it), 16 bytes of E2M1 codes whose table is doubled. */
static void blocks_mxfp4(const uint8_t *b, float *y)
{
	static const int8_t e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
	uint32_t bits = b[0] < 2 ? 0x00200000u << b[0] : (uint32_t)(b[0] - 1) << 23;
	float d;

	memcpy(&d, &bits, 4);
	for (int i = 0; i < 16; i++) {
		y[i] = d * (float)e2m1[b[1 + i] & 15];
		y[i + 16] = d * (float)e2m1[b[1 + i] >> 4];
	}
}

/* The n-th ternary digit of a byte that holds five of them as a fraction of 256. */
static float blocks_trit(uint8_t byte, int n)
{
	static const uint8_t power[5] = {1, 3, 9, 27, 81};

	return (float)((int)((uint8_t)(byte * power[n]) * 3 >> 8) - 1);
}

static void blocks_tq1_0(const uint8_t *b, float *y)
{
	float d = nn_half(b + 52);

	for (int i = 0; i < 160; i++)
		y[i] = d * blocks_trit(b[i % 32], i / 32);
	for (int i = 0; i < 80; i++)
		y[160 + i] = d * blocks_trit(b[32 + i % 16], i / 16);
	for (int i = 0; i < 16; i++)
		y[240 + i] = d * blocks_trit(b[48 + i % 4], i / 4);
}

static void blocks_tq2_0(const uint8_t *b, float *y)
{
	float d = nn_half(b + 64);

	for (int i = 0; i < 256; i++)
		y[i] = d * (float)((b[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3) - 1);
}

static const struct nn_block_format blocks_formats[] = {
	{"F32", 0, 1, 4, blocks_f32},
	{"F16", 1, 1, 2, blocks_f16},
	{"BF16", 30, 1, 2, blocks_bf16},
	{"Q4_0", 2, 32, 18, blocks_q4_0},
	{"Q4_1", 3, 32, 20, blocks_q4_1},
	{"Q5_0", 6, 32, 22, blocks_q5_0},
	{"Q5_1", 7, 32, 24, blocks_q5_1},
	{"Q8_0", 8, 32, 34, blocks_q8_0},
	{"Q2_K", 10, 256, 84, blocks_q2_k},
	{"Q3_K", 11, 256, 110, blocks_q3_k},
	{"Q4_K", 12, 256, 144, blocks_q4_k},
	{"Q5_K", 13, 256, 176, blocks_q5_k},
	{"Q6_K", 14, 256, 210, blocks_q6_k},
	{"IQ2_XXS", 16, 256, 66, nn_expand_iq2_xxs},
	{"IQ2_XS", 17, 256, 74, nn_expand_iq2_xs},
	{"IQ3_XXS", 18, 256, 98, nn_expand_iq3_xxs},
	{"IQ1_S", 19, 256, 50, nn_expand_iq1_s},
	{"IQ4_NL", 20, 32, 18, blocks_iq4_nl},
	{"IQ3_S", 21, 256, 110, nn_expand_iq3_s},
	{"IQ2_S", 22, 256, 82, nn_expand_iq2_s},
	{"IQ4_XS", 23, 256, 136, blocks_iq4_xs},
	{"IQ1_M", 29, 256, 56, nn_expand_iq1_m},
	{"TQ1_0", 34, 256, 54, blocks_tq1_0},
	{"TQ2_0", 35, 256, 66, blocks_tq2_0},
	{"MXFP4", 39, 32, 17, blocks_mxfp4},
};

const struct nn_block_format *nn_block_format(uint32_t ggml_type)
{
	for (size_t i = 0; i < sizeof(blocks_formats) / sizeof(*blocks_formats); i++)
		if (blocks_formats[i].ggml_type == ggml_type)
			return &blocks_formats[i];
	return NULL;
}

const struct nn_block_format *nn_block_format_named(const char *name)
{
	for (size_t i = 0; i < sizeof(blocks_formats) / sizeof(*blocks_formats); i++)
		if (!strcasecmp(blocks_formats[i].name, name))
			return &blocks_formats[i];
	return NULL;
}

void nn_blocks_expand(const struct nn_block_format *format, const void *data, size_t blocks, float *values)
{
	const uint8_t *block = data;

	for (size_t i = 0; i < blocks; i++, block += format->bytes, values += format->elements)
		format->expand(block, values);
}

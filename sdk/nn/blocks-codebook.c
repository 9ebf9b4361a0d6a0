/* blocks-codebook.c - block formats whose values are entries of a codebook (IQ1, IQ2, IQ3). */
#include "sdk/nn/blocks.h"

#include "sdk/nn/blocks-codebook-data.h"

static const float codebook_two_bits[4] = {8, 25, 43, 0};
static const float codebook_three_bits[16] = {4, 12, 20, 28, 36, 44, 52, 62};
static const float codebook_odd[16] = {1, 3, 5, 7, 9, 11, 13, 15};

static uint32_t codebook_u32(const uint8_t *b)
{
	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static unsigned codebook_u16(const uint8_t *b)
{
	return b[0] | (unsigned)b[1] << 8;
}

/* Seven sign bits; the eighth makes their number even. */
static unsigned codebook_signs(unsigned seven)
{
	return seven | (unsigned)__builtin_parity(seven) << 7;
}

/* y[0..8) = scale * entry, negated where `signs` has a bit. */
static void codebook_eight(uint16_t word, unsigned signs, float scale, float *y)
{
	for (int i = 0; i < 8; i++) {
		float value = scale * codebook_two_bits[word >> (2 * i) & 3];

		y[i] = signs >> i & 1 ? -value : value;
	}
}

static void codebook_four(uint16_t word, const float *digits, unsigned signs, float scale, float *y)
{
	for (int i = 0; i < 4; i++) {
		float value = scale * digits[word >> (4 * i) & 15];

		y[i] = signs >> i & 1 ? -value : value;
	}
}

void nn_expand_iq2_xxs(const uint8_t *b, float *y)
{
	float d = nn_half(b);

	for (int s = 0; s < 8; s++) {
		const uint8_t *codes = b + 2 + s * 8;
		uint32_t rest = codebook_u32(codes + 4);
		float scale = d * (0.5f + (float)(rest >> 28)) * 0.25f;

		for (int i = 0; i < 4; i++)
			codebook_eight(codebook_iq2_xxs[codes[i]], codebook_signs(rest >> (7 * i) & 127), scale,
				       y + s * 32 + i * 8);
	}
}

void nn_expand_iq2_xs(const uint8_t *b, float *y)
{
	float d = nn_half(b);

	for (int i = 0; i < 32; i++) {
		unsigned code = codebook_u16(b + 2 + 2 * i);
		float scale = d * (0.5f + (float)(b[66 + i / 4] >> (i / 2 % 2 * 4) & 15)) * 0.25f;

		codebook_eight(codebook_iq2_xs[code & 511], codebook_signs(code >> 9), scale, y + i * 8);
	}
}

void nn_expand_iq2_s(const uint8_t *b, float *y)
{
	const uint8_t *codes = b + 2, *signs = b + 34, *high = b + 66, *scales = b + 74;
	float d = nn_half(b);

	for (int i = 0; i < 32; i++) {
		unsigned code = codes[i] | (high[i / 4] >> (i % 4 * 2) & 3u) << 8;
		float scale = d * (0.5f + (float)(scales[i / 4] >> (i / 2 % 2 * 4) & 15)) * 0.25f;

		codebook_eight(codebook_iq2_s[code], signs[i], scale, y + i * 8);
	}
}

void nn_expand_iq3_xxs(const uint8_t *b, float *y)
{
	float d = nn_half(b);

	for (int s = 0; s < 8; s++) {
		uint32_t rest = codebook_u32(b + 66 + s * 4);
		float scale = d * (0.5f + (float)(rest >> 28)) * 0.5f;

		for (int i = 0; i < 8; i++)
			codebook_four(codebook_iq3_xxs[b[2 + s * 8 + i]], codebook_three_bits,
				      codebook_signs(rest >> (i / 2 * 7) & 127) >> (i % 2 * 4), scale,
				      y + s * 32 + i * 4);
	}
}

void nn_expand_iq3_s(const uint8_t *b, float *y)
{
	const uint8_t *codes = b + 2, *high = b + 66, *signs = b + 74, *scales = b + 106;
	float d = nn_half(b);

	for (int i = 0; i < 64; i++) {
		unsigned code = codes[i] | (high[i / 8] >> (i % 8) & 1u) << 8;
		float scale = d * (float)(1 + 2 * (scales[i / 16] >> (i / 8 % 2 * 4) & 15));

		codebook_four(codebook_iq3_s[code], codebook_odd, signs[i / 2] >> (i % 2 * 4), scale, y + i * 4);
	}
}

/* y[0..8) = scale * (ternary entry + delta). */
static void codebook_ternary(uint16_t word, float delta, float scale, float *y)
{
	for (int i = 0; i < 8; i++)
		y[i] = scale * ((float)((int)(word >> (2 * i) & 3) - 1) + delta);
}

void nn_expand_iq1_s(const uint8_t *b, float *y)
{
	float d = nn_half(b);

	for (int i = 0; i < 32; i++) {
		unsigned high = codebook_u16(b + 34 + i / 4 * 2);
		unsigned code = b[2 + i] | (high >> (i % 4 * 3) & 7) << 8;
		float scale = d * (float)(2 * (high >> 12 & 7) + 1);

		codebook_ternary(codebook_iq1_s[code], high & 0x8000 ? -0.125f : 0.125f, scale, y + i * 8);
	}
}

/* The scale of IQ1_M lies in the top nibbles of its four words of scales. */
void nn_expand_iq1_m(const uint8_t *b, float *y)
{
	const uint8_t *codes = b, *high = b + 32, *scales = b + 48;
	uint16_t bits = 0;
	float d;

	for (int i = 0; i < 4; i++)
		bits |= (uint16_t)((scales[2 * i + 1] >> 4) << (4 * i));
	d = nn_half((const uint8_t *)&bits);
	for (int i = 0; i < 32; i++) {
		unsigned top = high[i / 2] >> (i % 2 * 4) & 15u;
		unsigned code = codes[i] | (top & 7) << 8;
		unsigned scale = codebook_u16(scales + i / 8 * 2) >> (i / 2 % 4 * 3) & 7;

		codebook_ternary(codebook_iq1_s[code], top & 8 ? -0.125f : 0.125f, d * (float)(2 * scale + 1),
				 y + i * 8);
	}
}

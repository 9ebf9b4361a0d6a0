/* quantise.c - floats into the block formats of 32, and into 16-bit floats.
 *
 * Rounding is the reference quantiser's: half away from zero for signed codes, half up for unsigned ones. */
#include "sdk/nn/quantise.h"

#include <math.h>
#include <string.h>

#include "sdk/nn/half.h"

static void quantise_put_half(uint8_t *to, float f)
{
	const uint16_t h = half_of_f32(f);

	to[0] = (uint8_t)h;
	to[1] = (uint8_t)(h >> 8);
}

static void quantise_f32(const float *x, uint8_t *block)
{
	memcpy(block, x, sizeof(*x));
}

static void quantise_f16(const float *x, uint8_t *block)
{
	quantise_put_half(block, *x);
}

/* The nearest bfloat16, ties to even; a NaN stays one. */
static void quantise_bf16(const float *x, uint8_t *block)
{
	uint32_t bits;

	memcpy(&bits, x, sizeof(bits));
	if ((bits & 0x7fffffff) > 0x7f800000)
		bits |= 0x400000;
	else
		bits += 0x7fff + (bits >> 16 & 1);
	block[0] = (uint8_t)(bits >> 16);
	block[1] = (uint8_t)(bits >> 24);
}

static void quantise_q8_0(const float *x, uint8_t *block)
{
	float most = 0;

	for (int i = 0; i < 32; i++)
		most = fmaxf(most, fabsf(x[i]));
	const float d = most / 127, inverse = d > 0 ? 1 / d : 0;

	quantise_put_half(block, d);
	for (int i = 0; i < 32; i++)
		block[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
}

/* Codes 0 .. levels of x: symmetrical around their middle, or from the least number on. Returns the scale, and the least
 * number in *least. */
static float quantise_codes(const float *x, int levels, int symmetrical, uint8_t *code, float *least)
{
	float low = x[0], high = x[0], widest = 0;

	for (int i = 0; i < 32; i++) {
		low = x[i] < low ? x[i] : low;
		high = x[i] > high ? x[i] : high;
		widest = fabsf(x[i]) > fabsf(widest) ? x[i] : widest;
	}
	const int middle = (levels + 1) / 2;
	const float d = symmetrical ? widest / (float)-middle : (high - low) / (float)levels, inverse = d != 0 ? 1 / d : 0;

	for (int i = 0; i < 32; i++) {
		const float f = symmetrical ? x[i] * inverse + ((float)middle + 0.5f) : (x[i] - low) * inverse + 0.5f;
		const int q = (int)f;

		code[i] = (uint8_t)(q < 0 ? 0 : q > levels ? levels : q);
	}
	*least = low;
	return d;
}

static void quantise_nibbles(const uint8_t *code, uint8_t *to)
{
	for (int i = 0; i < 16; i++)
		to[i] = (uint8_t)((code[i] & 15) | code[i + 16] << 4);
}

static void quantise_fifth(const uint8_t *code, uint8_t *to)
{
	memset(to, 0, 4);
	for (int i = 0; i < 32; i++)
		to[i / 8] |= (uint8_t)((code[i] >> 4) << (i % 8));
}

static void quantise_q4_0(const float *x, uint8_t *block)
{
	uint8_t code[32];
	float least;

	quantise_put_half(block, quantise_codes(x, 15, 1, code, &least));
	quantise_nibbles(code, block + 2);
}

static void quantise_q4_1(const float *x, uint8_t *block)
{
	uint8_t code[32];
	float least;

	quantise_put_half(block, quantise_codes(x, 15, 0, code, &least));
	quantise_put_half(block + 2, least);
	quantise_nibbles(code, block + 4);
}

static void quantise_q5_0(const float *x, uint8_t *block)
{
	uint8_t code[32];
	float least;

	quantise_put_half(block, quantise_codes(x, 31, 1, code, &least));
	quantise_fifth(code, block + 2);
	quantise_nibbles(code, block + 6);
}

static void quantise_q5_1(const float *x, uint8_t *block)
{
	uint8_t code[32];
	float least;

	quantise_put_half(block, quantise_codes(x, 31, 0, code, &least));
	quantise_put_half(block + 2, least);
	quantise_fifth(code, block + 4);
	quantise_nibbles(code, block + 8);
}

static const struct {
	const char *name;
	void (*block)(const float *x, uint8_t *block);
} quantise_formats[] = {
	{ "F32", quantise_f32 },   { "F16", quantise_f16 },   { "BF16", quantise_bf16 },   { "Q8_0", quantise_q8_0 },
	{ "Q4_0", quantise_q4_0 }, { "Q4_1", quantise_q4_1 }, { "Q5_0", quantise_q5_0 },   { "Q5_1", quantise_q5_1 },
	{ "Q4_K", nn_quantise_q4_k }, { "Q5_K", nn_quantise_q5_k }, { "Q6_K", nn_quantise_q6_k },
};

enum { QUANTISE_FORMATS = sizeof(quantise_formats) / sizeof(*quantise_formats) };

static size_t quantise_find(const struct nn_block_format *format)
{
	size_t i = 0;

	while (i < QUANTISE_FORMATS && strcmp(quantise_formats[i].name, format->name))
		i++;
	return i;
}

int nn_quantise_knows(const struct nn_block_format *format)
{
	return quantise_find(format) < QUANTISE_FORMATS;
}

void nn_quantise(const struct nn_block_format *format, const float *x, size_t n, uint8_t *blocks)
{
	const size_t f = quantise_find(format);

	for (size_t i = 0; f < QUANTISE_FORMATS && i < n / format->elements; i++)
		quantise_formats[f].block(x + i * format->elements, blocks + i * format->bytes);
}

/* half.h - 16-bit floats to 32 bits. */
#ifndef NN_HALF_H
#define NN_HALF_H

#include <stdint.h>
#include <string.h>

#include "sdk/nn/checkpoint.h"

static inline float half_bits_f32(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* bfloat16: the upper half of an f32. */
static inline float half_from_bf16(uint16_t h)
{
	return half_bits_f32((uint32_t)h << 16);
}

/* IEEE 754 binary16. Subnormal numbers are made normal by a subtraction that is exact. */
static inline float half_from_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;

	if (magnitude >= 0x7c00)
		return half_bits_f32(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
	if (magnitude >= 0x0400)
		return half_bits_f32(sign | ((magnitude << 13) + (112u << 23)));
	float f = half_bits_f32((113u << 23) | magnitude << 13) - half_bits_f32(113u << 23);

	return sign ? -f : f;
}

/* The nearest binary16, ties to even; too large is infinite. */
static inline uint16_t half_of_f32(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;

	if (magnitude > 0x7f800000)
		return (uint16_t)(sign | 0x7e00);
	if (magnitude >= 0x47800000)
		return (uint16_t)(sign | 0x7c00);
	if (magnitude >= 0x38800000)
		return (uint16_t)(sign | ((magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13));
	/* Subnormal: the sum's last bits are the rounded number. */
	const float sum = half_bits_f32(magnitude) + half_bits_f32(126u << 23);

	memcpy(&bits, &sum, sizeof(bits));
	return (uint16_t)(sign | (bits - (126u << 23)));
}

/* f [n] from n numbers at `data`, which has no alignment, of type F32, F16 or BF16. */
static inline void half_to_f32(float *f, const void *data, size_t n, enum nn_type type)
{
	const unsigned char *at = data;
	uint16_t h;

	if (type == NN_F32) {
		memcpy(f, data, n * sizeof(float));
		return;
	}
	for (size_t i = 0; i < n; i++, at += sizeof(h)) {
		memcpy(&h, at, sizeof(h));
		f[i] = type == NN_F16 ? half_from_f16(h) : half_from_bf16(h);
	}
}

#endif

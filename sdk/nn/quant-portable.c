/* quant-portable.c - products of codes for any processor: one row of weights at a time, its four codes in a word. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "sdk/nn/half.h"
#include "sdk/nn/quant.h"

#define SIMD_INLINE static inline __attribute__((always_inline))

enum { QL = 1 };
typedef uint32_t qi;
typedef float qf;
typedef int32_t qs;

SIMD_INLINE qi q_load(const uint8_t *p)
{
	qi v;

	memcpy(&v, p, sizeof(v));
	return v;
}

SIMD_INLINE qi q_field(qi v, const int from, const int to, uint8_t mask)
{
	return (from > to ? v >> (from - to) : v << (to - from)) & mask * 0x01010101u;
}

SIMD_INLINE qi q_or(qi a, qi b)
{
	return a | b;
}

SIMD_INLINE qi q_choose(qi codes)
{
	qi v = 0;

	for (int i = 0; i < 32; i += 8)
		v |= (qi)(uint8_t)(blocks_nonlinear[codes >> i & 15] + 128) << i;
	return v;
}

SIMD_INLINE void q_dot(qs *s, qi w, const int8_t *x, const int i, const int n, const enum quant_code code)
{
	int32_t sum = i ? *s : 0;

	for (int k = 0; k < 4; k++)
		sum += (int32_t)(w >> (8 * k) & 255) * x[k];
	*s = sum;
}

SIMD_INLINE int32_t q_join(const qs *high, const qs *low, int32_t sum, const enum quant_code code)
{
	return *high * 128 + *low;
}

SIMD_INLINE qf q_float(int32_t v)
{
	return (qf)v;
}

SIMD_INLINE qf q_set1(float f)
{
	return f;
}

SIMD_INLINE qf q_mul(qf a, qf b)
{
	return a * b;
}

SIMD_INLINE qf q_fma(qf a, qf b, qf c)
{
	return fmaf(a, b, c);
}

SIMD_INLINE void q_store(float *p, qf v)
{
	*p = v;
}

SIMD_INLINE qf q_get(const float *p)
{
	return *p;
}

SIMD_INLINE qf q_f16(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof(h));
	return half_from_f16(h);
}

SIMD_INLINE qf q_i8(const uint8_t *p)
{
	return (int8_t)*p;
}

SIMD_INLINE qf q_u4(const uint8_t *p, const int from)
{
	return *p >> from & 15;
}

#define QUANT_KERNELS quant_portable
#define QUANT_TILES(X, code, scale) X(code, scale, 1) X(code, scale, 2) X(code, scale, 3)
enum { QUANT_TILE_ROWS = 3 };

#include "sdk/nn/quant-body.inc"

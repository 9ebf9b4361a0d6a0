/* simd-portable.h - vectors of four floats in plain C with the compilers' vector types. */
#ifndef NN_SIMD_H
#define NN_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { VL = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint16_t vh __attribute__((vector_size(8)));

#define SIMD_INLINE static inline __attribute__((always_inline))

SIMD_INLINE vf vf_set1(float f)
{
	return (vf){ f, f, f, f };
}

SIMD_INLINE vf vf_load(const float *p)
{
	vf v;

	memcpy(&v, p, sizeof(v));
	return v;
}

SIMD_INLINE void vf_store(float *p, vf v)
{
	memcpy(p, &v, sizeof(v));
}

SIMD_INLINE vf vf_fma(vf a, vf b, vf c)
{
	return a * b + c;
}

/* a < b ? x : y */
SIMD_INLINE vf vf_less(vf a, vf b, vf x, vf y)
{
	vi m = a < b;

	return (vf)((m & (vi)x) | (~m & (vi)y));
}

/* The second where one is NaN. */
SIMD_INLINE vf vf_max(vf a, vf b)
{
	return vf_less(b, a, a, b);
}

SIMD_INLINE vf vf_min(vf a, vf b)
{
	return vf_less(a, b, a, b);
}

SIMD_INLINE vf vf_abs(vf a)
{
	return (vf)((vi)a & 0x7fffffff);
}

SIMD_INLINE vf vf_copysign(vf a, vf s)
{
	return (vf)(((vi)a & 0x7fffffff) | ((vi)s & (vi){ INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN }));
}

/* To the nearest whole number; |a| < 2^22. */
SIMD_INLINE vf vf_round(vf a)
{
	vf magic = vf_set1(12582912.0f); /* 1.5 * 2^23: its last bit is worth 1 */

	return (a + magic) - magic;
}

SIMD_INLINE vf vf_power2(vi n)
{
	return (vf)((n + 127) << 23);
}

/* p * 2^n for whole n, |n| <= 250. */
SIMD_INLINE vf vf_scale2(vf p, vf n)
{
	vi whole = __builtin_convertvector(n, vi), half = whole >> 1;

	return p * vf_power2(half) * vf_power2(whole - half);
}

SIMD_INLINE float vf_sum(vf a)
{
	return (a[0] + a[2]) + (a[1] + a[3]);
}

SIMD_INLINE float vf_most(vf a)
{
	float x = a[0] > a[1] ? a[0] : a[1], y = a[2] > a[3] ? a[2] : a[3];

	return x > y ? x : y;
}

SIMD_INLINE vi vf_widen(const void *p)
{
	vh h;

	memcpy(&h, p, sizeof(h));
	return __builtin_convertvector(h, vi);
}

SIMD_INLINE vf vf_bf16(const void *p)
{
	return (vf)(vf_widen(p) << 16);
}

/* The magnitude's bits moved into place are 2^112 times too small, exactly, subnormal numbers included. */
SIMD_INLINE vf vf_f16(const void *p)
{
	vi h = vf_widen(p), special = (h & 0x7c00) == 0x7c00;
	vf magnitude = (vf)((h & 0x7fff) << 13) * vf_set1(0x1p112f);

	return (vf)((vi)magnitude | (special & 0x7f800000) | (h & 0x8000) << 16);
}

#endif

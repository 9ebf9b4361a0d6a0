/* simd-avx512.h - vectors of sixteen floats: AVX-512F. Included where those instructions are allowed. */
#ifndef NN_SIMD_H
#define NN_SIMD_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { VL = 16 };
typedef __m512 vf;

#define SIMD_INLINE static inline __attribute__((always_inline))

SIMD_INLINE vf vf_set1(float f)
{
	return _mm512_set1_ps(f);
}

SIMD_INLINE vf vf_load(const float *p)
{
	return _mm512_loadu_ps(p);
}

SIMD_INLINE void vf_store(float *p, vf v)
{
	_mm512_storeu_ps(p, v);
}

SIMD_INLINE vf vf_fma(vf a, vf b, vf c)
{
	return _mm512_fmadd_ps(a, b, c);
}

/* a < b ? x : y */
SIMD_INLINE vf vf_less(vf a, vf b, vf x, vf y)
{
	return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}

/* The second where one is NaN. */
SIMD_INLINE vf vf_max(vf a, vf b)
{
	return _mm512_max_ps(a, b);
}

SIMD_INLINE vf vf_min(vf a, vf b)
{
	return _mm512_min_ps(a, b);
}

SIMD_INLINE vf vf_abs(vf a)
{
	return _mm512_abs_ps(a);
}

SIMD_INLINE vf vf_copysign(vf a, vf s)
{
	__m512i sign = _mm512_and_si512(_mm512_castps_si512(s), _mm512_set1_epi32(INT32_MIN));

	return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(vf_abs(a)), sign));
}

SIMD_INLINE vf vf_round(vf a)
{
	return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* p * 2^n for whole n. */
SIMD_INLINE vf vf_scale2(vf p, vf n)
{
	return _mm512_scalef_ps(p, n);
}

SIMD_INLINE float vf_sum(vf a)
{
	return _mm512_reduce_add_ps(a);
}

SIMD_INLINE float vf_most(vf a)
{
	return _mm512_reduce_max_ps(a);
}

SIMD_INLINE vf vf_bf16(const void *p)
{
	__m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));

	return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

SIMD_INLINE vf vf_f16(const void *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

#endif

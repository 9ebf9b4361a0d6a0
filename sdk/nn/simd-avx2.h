/* simd-avx2.h - vectors of eight floats: AVX2, FMA, F16C. Included where those instructions are allowed. */
#ifndef NN_SIMD_H
#define NN_SIMD_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { VL = 8 };
typedef __m256 vf;

#define SIMD_INLINE static inline __attribute__((always_inline))

SIMD_INLINE vf vf_set1(float f)
{
	return _mm256_set1_ps(f);
}

SIMD_INLINE vf vf_load(const float *p)
{
	return _mm256_loadu_ps(p);
}

SIMD_INLINE void vf_store(float *p, vf v)
{
	_mm256_storeu_ps(p, v);
}

SIMD_INLINE vf vf_fma(vf a, vf b, vf c)
{
	return _mm256_fmadd_ps(a, b, c);
}

/* a < b ? x : y */
SIMD_INLINE vf vf_less(vf a, vf b, vf x, vf y)
{
	return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

/* The second where one is NaN. */
SIMD_INLINE vf vf_max(vf a, vf b)
{
	return _mm256_max_ps(a, b);
}

SIMD_INLINE vf vf_min(vf a, vf b)
{
	return _mm256_min_ps(a, b);
}

SIMD_INLINE vf vf_abs(vf a)
{
	return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

SIMD_INLINE vf vf_copysign(vf a, vf s)
{
	return _mm256_or_ps(vf_abs(a), _mm256_and_ps(_mm256_set1_ps(-0.0f), s));
}

SIMD_INLINE vf vf_round(vf a)
{
	return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

SIMD_INLINE vf vf_power2(__m256i n)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* p * 2^n for whole n, |n| <= 250. */
SIMD_INLINE vf vf_scale2(vf p, vf n)
{
	__m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);

	return _mm256_mul_ps(_mm256_mul_ps(p, vf_power2(half)), vf_power2(_mm256_sub_epi32(whole, half)));
}

SIMD_INLINE float vf_sum(vf a)
{
	__m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	x = _mm_add_ps(x, _mm_movehl_ps(x, x));
	return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

SIMD_INLINE float vf_most(vf a)
{
	__m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	x = _mm_max_ps(x, _mm_movehl_ps(x, x));
	return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

SIMD_INLINE vf vf_bf16(const void *p)
{
	__m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p));

	return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

SIMD_INLINE vf vf_f16(const void *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

#endif

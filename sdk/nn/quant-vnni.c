/* quant-vnni.c - products of codes for x86-64 with AVX-512 VNNI: sixteen rows of weights, four codes of each a step. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "sdk/nn/quant.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")
#endif

#define SIMD_INLINE static inline __attribute__((always_inline))

enum { QL = 16 };
typedef __m512i qi;
typedef __m512 qf;
typedef __m512i qs;

SIMD_INLINE qi q_load(const uint8_t *p)
{
	return _mm512_loadu_si512(p);
}

SIMD_INLINE qi q_field(qi v, const int from, const int to, uint8_t mask)
{
	if (from > to)
		v = _mm512_srli_epi16(v, (unsigned)(from - to));
	if (from < to)
		v = _mm512_slli_epi16(v, (unsigned)(to - from));
	return _mm512_and_si512(v, _mm512_set1_epi8((char)mask));
}

SIMD_INLINE qi q_or(qi a, qi b)
{
	return _mm512_or_si512(a, b);
}

SIMD_INLINE qi q_choose(qi codes)
{
	const __m128i values = _mm_xor_si128(_mm_loadu_si128((const __m128i *)blocks_nonlinear), _mm_set1_epi8(-128));

	return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), codes);
}

SIMD_INLINE void q_dot(qs *s, qi w, const int8_t *x, const int i, const int n, const enum quant_code code)
{
	if (!i)
		*s = _mm512_setzero_si512();
#ifdef __clang__
	int32_t four;

	memcpy(&four, x, sizeof(four));
	*s = _mm512_dpbusd_epi32(*s, w, _mm512_set1_epi32(four));
#else
	/* GCC loads what is spread by an instruction of its own, which is one too many. */
	__asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*s) : "v"(w), "m"(*(const int8_t(*)[4])x));
#endif
}

SIMD_INLINE qi q_join(const qs *high, const qs *low, int32_t sum, const enum quant_code code)
{
	return _mm512_add_epi32(_mm512_slli_epi32(*high, 7), *low);
}

SIMD_INLINE qf q_float(qi v)
{
	return _mm512_cvtepi32_ps(v);
}

SIMD_INLINE qf q_set1(float f)
{
	return _mm512_set1_ps(f);
}

SIMD_INLINE qf q_mul(qf a, qf b)
{
	return _mm512_mul_ps(a, b);
}

SIMD_INLINE qf q_fma(qf a, qf b, qf c)
{
	return _mm512_fmadd_ps(a, b, c);
}

SIMD_INLINE void q_store(float *p, qf v)
{
	_mm512_storeu_ps(p, v);
}

SIMD_INLINE qf q_get(const float *p)
{
	return _mm512_loadu_ps(p);
}

SIMD_INLINE qf q_f16(const uint8_t *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

SIMD_INLINE qf q_i8(const uint8_t *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

SIMD_INLINE qf q_u4(const uint8_t *p, const int from)
{
	const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));

	return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(wide, (unsigned)from), _mm512_set1_epi32(15)));
}

#define QUANT_KERNELS quant_vnni
#define QUANT_TILES(X, code, scale) \
	X(code, scale, 1) X(code, scale, 2) X(code, scale, 3) X(code, scale, 4) X(code, scale, 5) X(code, scale, 6) X(code, scale, 7) X(code, scale, 8)
enum { QUANT_TILE_ROWS = 8 };

#include "sdk/nn/quant-body.inc"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

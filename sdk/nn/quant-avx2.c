/* quant-avx2.c - products of codes for x86-64 with AVX2, FMA and F16C: eight rows of weights, four codes of each a step. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "sdk/nn/quant.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#define SIMD_INLINE static inline __attribute__((always_inline))

enum { QL = 8 };
typedef __m256i qi;
typedef __m256 qf;
/* Sums of pairs in 16 bits, for as many chunks as they hold; and of four in 32 bits. */
typedef struct {
	__m256i pairs, sum;
} qs;

SIMD_INLINE qi q_load(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}

SIMD_INLINE qi q_field(qi v, const int from, const int to, uint8_t mask)
{
	if (from > to)
		v = _mm256_srli_epi16(v, from - to);
	if (from < to)
		v = _mm256_slli_epi16(v, to - from);
	return _mm256_and_si256(v, _mm256_set1_epi8((char)mask));
}

SIMD_INLINE qi q_or(qi a, qi b)
{
	return _mm256_or_si256(a, b);
}

SIMD_INLINE qi q_choose(qi codes)
{
	const __m128i values = _mm_xor_si128(_mm_loadu_si128((const __m128i *)blocks_nonlinear), _mm_set1_epi8(-128));

	return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values), codes);
}

/* How many chunks' pairs fit 16 bits: 2 * 127 * the largest code, each. */
SIMD_INLINE int q_group(const enum quant_code code)
{
	return code <= QUANT_CODE_4 ? 8 : code == QUANT_CODE_5 ? 4 : code == QUANT_CODE_6 ? 2 : 1;
}

/* Codes of 8 bits are taken - 128: the product of unsigned and signed bytes would not fit. */
SIMD_INLINE void q_dot(qs *s, qi w, const int8_t *x, const int i, const int n, const enum quant_code code)
{
	const int group = q_group(code) < n ? q_group(code) : n;
	int32_t four;

	memcpy(&four, x, sizeof(four));
	__m256i v = _mm256_set1_epi32(four);

	if (code >= QUANT_CODE_8) {
		w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
		v = _mm256_sign_epi8(v, w);
		w = _mm256_abs_epi8(w);
	}
	v = _mm256_maddubs_epi16(w, v);
	s->pairs = i % group ? _mm256_add_epi16(s->pairs, v) : v;
	if (i % group == group - 1) {
		v = _mm256_madd_epi16(s->pairs, _mm256_set1_epi16(1));
		s->sum = i < group ? v : _mm256_add_epi32(s->sum, v);
	}
}

SIMD_INLINE qi q_join(const qs *high, const qs *low, int32_t sum, const enum quant_code code)
{
	const __m256i v = _mm256_add_epi32(_mm256_slli_epi32(high->sum, 7), low->sum);

	return code >= QUANT_CODE_8 ? _mm256_add_epi32(v, _mm256_set1_epi32(sum * 128)) : v;
}

SIMD_INLINE qf q_float(qi v)
{
	return _mm256_cvtepi32_ps(v);
}

SIMD_INLINE qf q_set1(float f)
{
	return _mm256_set1_ps(f);
}

SIMD_INLINE qf q_mul(qf a, qf b)
{
	return _mm256_mul_ps(a, b);
}

SIMD_INLINE qf q_fma(qf a, qf b, qf c)
{
	return _mm256_fmadd_ps(a, b, c);
}

SIMD_INLINE void q_store(float *p, qf v)
{
	_mm256_storeu_ps(p, v);
}

SIMD_INLINE qf q_get(const float *p)
{
	return _mm256_loadu_ps(p);
}

SIMD_INLINE qf q_f16(const uint8_t *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

SIMD_INLINE qf q_i8(const uint8_t *p)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

SIMD_INLINE qf q_u4(const uint8_t *p, const int from)
{
	const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));

	return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(wide, from), _mm256_set1_epi32(15)));
}

#define QUANT_KERNELS quant_avx2
#define QUANT_TILES(X, code, scale) X(code, scale, 1) X(code, scale, 2) X(code, scale, 3)
enum { QUANT_TILE_ROWS = 3 };

#include "sdk/nn/quant-body.inc"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

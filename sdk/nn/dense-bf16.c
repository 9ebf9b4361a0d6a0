/* dense-bf16.c - products of BF16 by AVX512_BF16: pairs of numbers, sixteen columns at a time. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")
#endif

#define SIMD_BF16
#include "sdk/nn/simd-avx512.inc"
#include "sdk/nn/kernels-functions.inc"
#include "sdk/nn/dense-body.inc"

enum { ROWS = 8, QUARTER = DENSE_HALF * DENSE_HALF, HALF = DENSE_SIZE / 2 };

/* ROWS rows of a half of x, times both halves of w. */
static inline __attribute__((always_inline)) void dense_strip(const struct dense_tile *t, uint32_t row)
{
	float *acc = t->acc + row / DENSE_HALF * 2 * QUARTER + row % DENSE_HALF * DENSE_HALF;
	const uint16_t *x = t->x + row / DENSE_HALF * HALF + row % DENSE_HALF * DENSE_STEP, *w = t->w;
	__m512 sum[ROWS][2];

	KERNEL_UNROLL for (int r = 0; r < ROWS; r++)
		KERNEL_UNROLL for (int v = 0; v < 2; v++)
			sum[r][v] = t->first ? _mm512_setzero_ps() : _mm512_loadu_ps(acc + r * DENSE_HALF + v * QUARTER);
	for (size_t s = 0; s < t->steps; s++, x += t->x_step, w += t->w_step) {
		for (size_t pair = 0; pair < DENSE_STEP / 2; pair++) {
			const __m512i w0 = _mm512_loadu_si512(w + pair * 2 * DENSE_HALF);
			const __m512i w1 = _mm512_loadu_si512(w + pair * 2 * DENSE_HALF + HALF);

			KERNEL_UNROLL for (int r = 0; r < ROWS; r++) {
				int32_t two;

				memcpy(&two, x + r * DENSE_STEP + pair * 2, sizeof(two));
				const __m512bh both = (__m512bh)_mm512_set1_epi32(two);

				sum[r][0] = _mm512_dpbf16_ps(sum[r][0], both, (__m512bh)w0);
				sum[r][1] = _mm512_dpbf16_ps(sum[r][1], both, (__m512bh)w1);
			}
		}
	}
	KERNEL_UNROLL for (int r = 0; r < ROWS; r++)
		KERNEL_UNROLL for (int v = 0; v < 2; v++)
			_mm512_storeu_ps(acc + r * DENSE_HALF + v * QUARTER, sum[r][v]);
}

static void dense_run(const struct dense_tile *t)
{
	for (uint32_t row = 0; row < t->rows; row += ROWS)
		dense_strip(t, row);
}

const struct dense_kernels dense_avx512bf16 = DENSE_SET(1, NULL, NULL, dense_run, NULL);

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

/* kernels-avx2.c - the inner loops for x86-64 with AVX2, FMA and F16C. */
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* The compilers' test for AVX2 covers the system's part too: that it keeps the registers. */
static int kernels_usable(void)
{
	unsigned int a, b, c = 0, d;

	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid(1, &a, &b, &c, &d) &&
	       (c & bit_F16C);
}

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#include "sdk/nn/simd-avx2.inc"

#define KERNELS kernels_avx2
#define KERNELS_NAME "avx2"
#define KERNELS_QUANT quant_avx2
#define KERNELS_TILES(X) X(1) X(2) X(3) X(4) X(5) X(6)
enum { TILE_ROWS = 6 };

#include "sdk/nn/kernels-body.inc"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

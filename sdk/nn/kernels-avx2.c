/* kernels-avx2.c - the inner loops for x86-64 with AVX2, FMA and F16C. */
#if defined(__x86_64__)
#include <immintrin.h>

static int kernels_usable(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#include "sdk/nn/simd-avx2.h"

#define KERNELS kernels_avx2
#define KERNELS_NAME "avx2"
#define KERNELS_TILES(X) X(1) X(2) X(3) X(4) X(5) X(6)
enum { TILE_ROWS = 6 };

#include "sdk/nn/kernels-body.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

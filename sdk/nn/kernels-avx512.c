/* kernels-avx512.c - the inner loops for x86-64 with AVX-512F; with VNNI, BF16 and the matrix unit too, where there are those. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "sdk/nn/amx.h"

static int kernels_usable(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
}

static int kernels_vnni_usable(void)
{
	return kernels_usable() && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512vnni");
}

static int kernels_bf16_usable(void)
{
	return kernels_vnni_usable() && __builtin_cpu_supports("avx512bf16");
}

static int kernels_amx_usable(void)
{
	return kernels_bf16_usable() && amx_usable();
}

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx2,fma")
#endif

#include "sdk/nn/simd-avx512.inc"

#define KERNELS kernels_avx512
#define KERNELS_NAME "avx512"
#define KERNELS_QUANT quant_avx2
#define KERNELS_TILES(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
enum { TILE_ROWS = 12 };

#include "sdk/nn/kernels-body.inc"

const struct nn_kernels kernels_avx512vnni = KERNELS_SET("avx512vnni", kernels_vnni_usable, &quant_vnni, &kernel_dense);
const struct nn_kernels kernels_avx512bf16 = KERNELS_SET("avx512bf16", kernels_bf16_usable, &quant_vnni, &dense_avx512bf16);
const struct nn_kernels kernels_amx = KERNELS_SET("amx", kernels_amx_usable, &quant_amx, &dense_amx);

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

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

#include "sdk/nn/quant-avx512.inc"

#define QUANT_KERNELS quant_vnni
#define QUANT_TILES(X, code, scale) \
	X(code, scale, 1) X(code, scale, 2) X(code, scale, 3) X(code, scale, 4) X(code, scale, 5) X(code, scale, 6) X(code, scale, 7) X(code, scale, 8)
enum { QUANT_TILE_ROWS = 8 };

#include "sdk/nn/quant-body.inc"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

/* dense-amx.c - products of BF16 by the matrix unit: two tiles of x times two of w. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "sdk/nn/amx.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")
#endif

#define SIMD_BF16
#include "sdk/nn/simd-avx512.inc"
#include "sdk/nn/kernels-functions.inc"
#include "sdk/nn/dense-body.inc"

enum { QUARTER = DENSE_HALF * DENSE_HALF, HALF = DENSE_SIZE / 2 /* numbers */ };

static void dense_begin(void)
{
	amx_begin(NULL);
}

/* The lines of a tile on their way into the nearest cache: a processor whose other thread is busy looks ahead half as far. */
static inline __attribute__((always_inline)) void dense_ahead(const uint16_t *tile)
{
	KERNEL_UNROLL for (int line = 0; line < AMX_ROWS; line++)
		_mm_prefetch(tile + line * AMX_BYTES / (int)sizeof(*tile), _MM_HINT_T0);
}

/* What a step does not need any more is loaded for the next at once, so that loads overlap with products. */
static void dense_both(const struct dense_tile *t)
{
	const uint16_t *x = t->x, *w = t->w;

	if (t->first) {
		_tile_zero(0);
		_tile_zero(1);
		_tile_zero(2);
		_tile_zero(3);
	} else {
		_tile_loadd(0, t->acc, AMX_BYTES);
		_tile_loadd(1, t->acc + QUARTER, AMX_BYTES);
		_tile_loadd(2, t->acc + 2 * QUARTER, AMX_BYTES);
		_tile_loadd(3, t->acc + 3 * QUARTER, AMX_BYTES);
	}
	_tile_loadd(4, x, AMX_BYTES);
	_tile_loadd(6, w, AMX_BYTES);
	_tile_loadd(7, w + HALF, AMX_BYTES);
	_tile_loadd(5, x + HALF, AMX_BYTES);
	for (size_t s = 1; s < t->steps; s++) {
		x += DENSE_SIZE;
		w += DENSE_SIZE;
		_tile_dpbf16ps(0, 4, 6);
		dense_ahead(x + DENSE_SIZE);
		_tile_dpbf16ps(1, 4, 7);
		_tile_loadd(4, x, AMX_BYTES);
		dense_ahead(x + DENSE_SIZE + HALF);
		_tile_dpbf16ps(2, 5, 6);
		_tile_loadd(6, w, AMX_BYTES);
		_tile_dpbf16ps(3, 5, 7);
		_tile_loadd(7, w + HALF, AMX_BYTES);
		_tile_loadd(5, x + HALF, AMX_BYTES);
	}
	_tile_dpbf16ps(0, 4, 6);
	_tile_dpbf16ps(1, 4, 7);
	_tile_dpbf16ps(2, 5, 6);
	_tile_dpbf16ps(3, 5, 7);
	_tile_stored(0, t->acc, AMX_BYTES);
	_tile_stored(1, t->acc + QUARTER, AMX_BYTES);
	_tile_stored(2, t->acc + 2 * QUARTER, AMX_BYTES);
	_tile_stored(3, t->acc + 3 * QUARTER, AMX_BYTES);
}

/* The upper half only. */
static void dense_upper(const struct dense_tile *t)
{
	const uint16_t *x = t->x, *w = t->w;

	if (t->first) {
		_tile_zero(0);
		_tile_zero(1);
	} else {
		_tile_loadd(0, t->acc, AMX_BYTES);
		_tile_loadd(1, t->acc + QUARTER, AMX_BYTES);
	}
	for (size_t s = 0; s < t->steps; s++, x += DENSE_SIZE, w += DENSE_SIZE) {
		_tile_loadd(4, x, AMX_BYTES);
		_tile_loadd(6, w, AMX_BYTES);
		_tile_loadd(7, w + HALF, AMX_BYTES);
		_tile_dpbf16ps(0, 4, 6);
		_tile_dpbf16ps(1, 4, 7);
	}
	_tile_stored(0, t->acc, AMX_BYTES);
	_tile_stored(1, t->acc + QUARTER, AMX_BYTES);
}

/* Compilers do not know that tiles read: what was written lies in memory first. */
static void dense_run(const struct dense_tile *t)
{
	amx_written();
	if (t->rows > DENSE_HALF)
		dense_both(t);
	else
		dense_upper(t);
}

const struct dense_kernels dense_amx = DENSE_SET(1, dense_begin, amx_end, dense_run);

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

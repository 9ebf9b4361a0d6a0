/* dense-amx.c - products of BF16 by the matrix unit: two tiles of x times two of w. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "sdk/nn/amx.h"
#include "sdk/nn/dense.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16"))), apply_to = function)
#else
#pragma GCC target("amx-tile,amx-bf16")
#endif

enum { QUARTER = DENSE_HALF * DENSE_HALF, HALF = DENSE_SIZE / 2 /* numbers */ };

static void dense_begin(void)
{
	amx_begin(NULL);
}

/* All of a step is loaded before it is multiplied, so that loads overlap with the step before. */
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
	for (size_t s = 0; s < t->steps; s++, x += DENSE_SIZE, w += DENSE_SIZE) {
		_tile_loadd(4, x, AMX_BYTES);
		_tile_loadd(5, x + HALF, AMX_BYTES);
		_tile_loadd(6, w, AMX_BYTES);
		_tile_loadd(7, w + HALF, AMX_BYTES);
		_tile_dpbf16ps(0, 4, 6);
		_tile_dpbf16ps(1, 4, 7);
		_tile_dpbf16ps(2, 5, 6);
		_tile_dpbf16ps(3, 5, 7);
	}
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

static void dense_run(const struct dense_tile *t)
{
	if (t->rows > DENSE_HALF)
		dense_both(t);
	else
		dense_upper(t);
}

const struct dense_kernels dense_amx = { .fast = 1, .begin = dense_begin, .end = amx_end, .tile = dense_run };

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

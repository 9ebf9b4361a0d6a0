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

/* acc's halves [0, halves) of x into tiles 0 .. 3, and back. */
static inline __attribute__((always_inline)) void dense_open(const struct dense_tile *t, const int halves)
{
	if (t->first) {
		_tile_zero(0);
		_tile_zero(1);
		if (halves > 1) {
			_tile_zero(2);
			_tile_zero(3);
		}
		return;
	}
	_tile_loadd(0, t->acc, AMX_BYTES);
	_tile_loadd(1, t->acc + QUARTER, AMX_BYTES);
	if (halves > 1) {
		_tile_loadd(2, t->acc + 2 * QUARTER, AMX_BYTES);
		_tile_loadd(3, t->acc + 3 * QUARTER, AMX_BYTES);
	}
}

static inline __attribute__((always_inline)) void dense_close(const struct dense_tile *t, const int halves)
{
	_tile_stored(0, t->acc, AMX_BYTES);
	_tile_stored(1, t->acc + QUARTER, AMX_BYTES);
	if (halves > 1) {
		_tile_stored(2, t->acc + 2 * QUARTER, AMX_BYTES);
		_tile_stored(3, t->acc + 3 * QUARTER, AMX_BYTES);
	}
}

/* What a step does not need any more is loaded for the next at once, so that loads overlap with products. */
static void dense_both(const struct dense_tile *t)
{
	const uint16_t *x = t->x, *w = t->w;

	dense_open(t, 2);
	_tile_loadd(4, x, AMX_BYTES);
	_tile_loadd(6, w, AMX_BYTES);
	_tile_loadd(7, w + HALF, AMX_BYTES);
	_tile_loadd(5, x + HALF, AMX_BYTES);
	for (size_t s = 1; s < t->steps; s++) {
		x += t->x_step;
		w += t->w_step;
		_tile_dpbf16ps(0, 4, 6);
		dense_ahead(x + t->x_step);
		_tile_dpbf16ps(1, 4, 7);
		_tile_loadd(4, x, AMX_BYTES);
		dense_ahead(x + t->x_step + HALF);
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
	dense_close(t, 2);
}

/* The upper half only. */
static void dense_upper(const struct dense_tile *t)
{
	const uint16_t *x = t->x, *w = t->w;

	dense_open(t, 1);
	for (size_t s = 0; s < t->steps; s++, x += t->x_step, w += t->w_step) {
		_tile_loadd(4, x, AMX_BYTES);
		_tile_loadd(6, w, AMX_BYTES);
		_tile_loadd(7, w + HALF, AMX_BYTES);
		_tile_dpbf16ps(0, 4, 6);
		_tile_dpbf16ps(1, 4, 7);
	}
	dense_close(t, 1);
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

/* Term i of x's step, and term j of w's. */
#define DENSE_LOAD_X(i, halves)                                           \
	do {                                                              \
		_tile_loadd(4, x + (i) * DENSE_SIZE, AMX_BYTES);          \
		if ((halves) > 1)                                         \
			_tile_loadd(5, x + (i) * DENSE_SIZE + HALF, AMX_BYTES); \
	} while (0)
#define DENSE_LOAD_W(j)                                                   \
	do {                                                              \
		_tile_loadd(6, w + (j) * DENSE_SIZE, AMX_BYTES);          \
		_tile_loadd(7, w + (j) * DENSE_SIZE + HALF, AMX_BYTES);   \
	} while (0)
/* And meanwhile fetches half i of the terms of the next step's x and w. */
#define DENSE_MULTIPLY(i, halves)                                         \
	do {                                                              \
		_tile_dpbf16ps(0, 4, 6);                                  \
		dense_ahead(x + t->x_step + (i) * HALF);                  \
		_tile_dpbf16ps(1, 4, 7);                                  \
		if ((i) < 2 * terms)                                      \
			dense_ahead(w + t->w_step + (i) * HALF);          \
		if ((halves) > 1) {                                       \
			_tile_dpbf16ps(2, 5, 6);                          \
			_tile_dpbf16ps(3, 5, 7);                          \
		}                                                         \
	} while (0)

/* Products of terms (i, j), i + j < DENSE_TERMS, in an order in which each needs one new pair of tiles only. */
static inline __attribute__((always_inline)) void dense_exact(const struct dense_tile *t, const uint32_t terms, const int halves)
{
	const uint16_t *x = t->x, *w = t->w;

	dense_open(t, halves);
	for (size_t s = 0; s < t->steps; s++, x += t->x_step, w += t->w_step) {
		DENSE_LOAD_X(0, halves);
		if (terms > 2) {
			DENSE_LOAD_W(2);
			DENSE_MULTIPLY(0, halves);
		}
		if (terms > 1) {
			DENSE_LOAD_W(1);
			DENSE_MULTIPLY(1, halves);
			DENSE_LOAD_X(1, halves);
			DENSE_MULTIPLY(2, halves);
		}
		DENSE_LOAD_W(0);
		if (terms == 1)
			DENSE_LOAD_X(1, halves);
		DENSE_MULTIPLY(3, halves);
		DENSE_LOAD_X(0, halves);
		DENSE_MULTIPLY(4, halves);
		DENSE_LOAD_X(2, halves);
		DENSE_MULTIPLY(5, halves);
	}
	dense_close(t, halves);
}

static void dense_run_exact(const struct dense_tile *t)
{
	amx_written();
	if (t->rows <= DENSE_HALF)
		t->terms > 2 ? dense_exact(t, 3, 1) : t->terms > 1 ? dense_exact(t, 2, 1) : dense_exact(t, 1, 1);
	else
		t->terms > 2 ? dense_exact(t, 3, 2) : t->terms > 1 ? dense_exact(t, 2, 2) : dense_exact(t, 1, 2);
}

const struct dense_kernels dense_amx = DENSE_SET(1, dense_begin, amx_end, dense_run, dense_run_exact);

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

/* quant-amx.c - products of codes for x86-64 with a matrix unit (AMX): sixteen rows of activations meet sixteen or thirty-two
 * rows of weights. Few rows are left to the vectors (quant-vnni.c), whose sums these are bit by bit. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "sdk/nn/amx.h"
#include "sdk/nn/quant.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,amx-tile,amx-int8"))), apply_to = function)
#define AMX_UNROLL _Pragma("unroll")
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,amx-tile,amx-int8")
#define AMX_UNROLL _Pragma("GCC unroll 16")
#endif

#include "sdk/nn/quant-avx512.inc"
#include "sdk/nn/quant-codes.inc"

enum {
	AMX_FEW = 8,       /* rows up to which the vectors are faster */
	AMX_BLOCK = QUANT_K * QUANT_PANEL,
	AMX_STRIDE = sizeof(struct quant_block),
};

/* A panel's next QUANT_SUPER blocks, taken apart: codes as the unit wants them, scales as floats, for each span. */
struct amx_super {
	_Alignas(64) uint8_t code[QUANT_SUPER][AMX_BLOCK];
	float w[QUANT_SUPER][2][QUANT_PANEL], offset[QUANT_SUPER][2][QUANT_PANEL];
};

/* Takes `blocks` blocks apart; returns where the next ones begin. */
SIMD_INLINE const uint8_t *amx_open(struct amx_super *s, const uint8_t *panel, size_t blocks, const struct quant_format *f,
				    const enum quant_code code, const enum quant_scale scale)
{
	const size_t bytes = quant_block_bytes(f), lines = quant_lines(f, scale);
	const qf centre = q_set1(-(float)f->centre);
	qf d = q_set1(0), e = d, w, offset;

	quant_head(panel, 0, scale, &d, &e);
	panel += quant_head_bytes(f);
	for (size_t b = 0; b < blocks; b++, panel += bytes) {
		AMX_UNROLL for (int j = 0; j < 8; j++)
			_mm512_store_si512(s->code[b] + j * QUANT_LINE, quant_chunk(panel, j, code));
		AMX_UNROLL for (int i = 0; i < quant_spans(scale); i++) {
			quant_scales(panel + lines, 0, i, scale, centre, d, e, &w, &offset);
			q_store(s->w[b][i], w);
			q_store(s->offset[b][i], offset);
		}
	}
	return panel;
}

/* What the unit gives for a span: of P panels, the sums with the high and the low terms. */
typedef int32_t amx_sums[4][AMX_ROWS][QUANT_PANEL];

/* sums = the span's codes times the terms of x, whose first row's are high and low. */
SIMD_INLINE void amx_multiply(const int8_t *high, const int8_t *low, const uint8_t *code, const uint8_t *code2, amx_sums sums,
			      const int P)
{
	_tile_loadd(4, high, AMX_STRIDE);
	_tile_loadd(6, code, QUANT_LINE);
	_tile_zero(0);
	_tile_dpbsud(0, 4, 6);
	_tile_loadd(5, low, AMX_STRIDE);
	_tile_zero(1);
	_tile_dpbsud(1, 5, 6);
	if (P == 2) {
		_tile_loadd(7, code2, QUANT_LINE);
		_tile_zero(2);
		_tile_dpbsud(2, 4, 7);
		_tile_zero(3);
		_tile_dpbsud(3, 5, 7);
	}
	_tile_stored(0, sums[0], QUANT_LINE);
	_tile_stored(1, sums[1], QUANT_LINE);
	if (P == 2) {
		_tile_stored(2, sums[2], QUANT_LINE);
		_tile_stored(3, sums[3], QUANT_LINE);
	}
}

/* acc[r] += the span's products; s: the first row's sum of x. */
SIMD_INLINE void amx_add(qf *acc, const int32_t (*high)[QUANT_PANEL], const int32_t (*low)[QUANT_PANEL], const float *s,
			 qf w, qf offset)
{
	AMX_UNROLL for (int r = 0; r < AMX_ROWS; r++) {
		const qi both = _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(high[r]), 7), _mm512_load_si512(low[r]));

		acc[r] = q_fma(q_float(both), w, acc[r]);
		acc[r] = q_fma(offset, q_set1(*(const float *)((const char *)s + r * AMX_STRIDE)), acc[r]);
	}
}

/* One tile and P panels over `blocks` blocks from number `at` on. The unit is a span ahead of the vectors. */
SIMD_INLINE void amx_tile(const struct quant_tile *t, const struct amx_super *s, size_t at, size_t blocks, const enum quant_scale scale,
			  const int P)
{
	const struct quant_block *x = t->x + at * t->rows;
	const int spans = quant_spans(scale), n = QUANT_K / spans;
	const size_t steps = blocks * spans;
	_Alignas(64) amx_sums sums[2];
	qf acc[2][AMX_ROWS];

	for (int p = 0; p < P; p++)
		AMX_UNROLL for (int r = 0; r < AMX_ROWS; r++)
			acc[p][r] = q_set1(0);
	for (size_t step = 0; step <= steps; step++) {
		const size_t b = step / spans, i = step % spans, last = step - 1;

		if (step < steps)
			amx_multiply(x[b * t->rows].high + i * n, x[b * t->rows].low + i * n, s[0].code[b] + i * n * QUANT_PANEL,
				     s[P - 1].code[b] + i * n * QUANT_PANEL, sums[step & 1], P);
		for (int p = 0; step && p < P; p++) {
			const struct quant_block *from = x + last / spans * t->rows;

			amx_add(acc[p], sums[last & 1][2 * p], sums[last & 1][2 * p + 1],
				spans == 1 ? &from->s : &from->half[last % spans], q_get(s[p].w[last / spans][last % spans]),
				q_get(s[p].offset[last / spans][last % spans]));
		}
	}
	x += (blocks - 1) * t->rows;
	for (int p = 0; p < P; p++)
		for (uint32_t r = 0; r < t->rows; r++) {
			float *y = t->y + (size_t)r * t->stride + (size_t)p * QUANT_PANEL;

			q_store(y, q_fma(acc[p][r], q_set1(x[r].d), at ? q_get(y) : q_set1(0)));
		}
}

/* All tiles meet each QUANT_SUPER blocks of the panels while those lie in the cache. */
SIMD_INLINE void amx_meet(const struct quant_tile *t, size_t n, size_t panel_bytes, const enum quant_code code,
			  const enum quant_scale scale, const int P)
{
	const uint8_t depth = (uint8_t)(QUANT_K / quant_spans(scale));
	const uint8_t lines = depth / 4;
	const struct amx_shape shape = {
		.rows = { AMX_ROWS, AMX_ROWS, AMX_ROWS, AMX_ROWS, AMX_ROWS, AMX_ROWS, lines, lines },
		.bytes = { 64, 64, 64, 64, depth, depth, 64, 64 },
	};
	const uint8_t *panel[2] = { t->panel, t->panel + panel_bytes };
	struct amx_super s[2];

	amx_begin(&shape);
	for (size_t at = 0; at < t->blocks; at += QUANT_SUPER) {
		const size_t blocks = t->blocks - at < QUANT_SUPER ? t->blocks - at : QUANT_SUPER;

		for (int p = 0; p < P; p++)
			panel[p] = amx_open(&s[p], panel[p], blocks, t->format, code, scale);
		amx_written();
		for (size_t i = 0; i < n; i++)
			amx_tile(&t[i], s, at, blocks, scale, P);
	}
	amx_end();
}

#define AMX_MEETS(code, scale)                                                                                    \
	static void amx_one_##code##_##scale(const struct quant_tile *t, size_t n, size_t panel_bytes)            \
	{                                                                                                         \
		amx_meet(t, n, panel_bytes, QUANT_CODE_##code, QUANT_##scale, 1);                                 \
	}                                                                                                         \
	static void amx_two_##code##_##scale(const struct quant_tile *t, size_t n, size_t panel_bytes)            \
	{                                                                                                         \
		amx_meet(t, n, panel_bytes, QUANT_CODE_##code, QUANT_##scale, 2);                                 \
	}
QUANT_KINDS(AMX_MEETS)

#define AMX_ENTRY(code, scale) [QUANT_CODE_##code][QUANT_##scale] = { amx_one_##code##_##scale, amx_two_##code##_##scale },
static void (*const amx_meets[QUANT_CODE_T + 1][QUANT_K16M + 1][2])(const struct quant_tile *, size_t, size_t) = {
	QUANT_KINDS(AMX_ENTRY)
};

static void amx_one(const struct quant_tile *t)
{
	if (t->rows <= AMX_FEW)
		quant_vnni.tile(t);
	else
		amx_meets[t->format->code][t->format->scale][0](t, 1, 0);
}

static void amx_pair(const struct quant_tile *t, size_t n, size_t panel_bytes)
{
	amx_meets[t->format->code][t->format->scale][1](t, n, panel_bytes);
}

static void amx_encode(const float *x, size_t blocks, struct quant_block *to, size_t apart)
{
	quant_vnni.encode(x, blocks, to, apart);
}

const struct quant_kernels quant_amx = { .rows = AMX_ROWS, .tile = amx_one, .pair = amx_pair, .encode = amx_encode };

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

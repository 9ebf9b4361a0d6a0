/* kernels-body.h - the inner loops, written once over vectors `vf` of VL floats; each kernels-*.c compiles them. */
#include <stdint.h>
#include <string.h>

#include "sdk/nn/kernels.h"

#ifdef __clang__
#define KERNEL_UNROLL _Pragma("unroll")
#else
#define KERNEL_UNROLL _Pragma("GCC unroll 16")
#endif

/* ---- products ---- */

enum { KERNEL_AHEAD = 64 /* steps of k between a prefetch and its use */ };

SIMD_INLINE vf kernel_weights_at(const void *panel, size_t i, const enum nn_type type)
{
	if (type == NN_F32)
		return vf_load((const float *)panel + i);
	return type == NN_F16 ? vf_f16((const uint16_t *)panel + i) : vf_bf16((const uint16_t *)panel + i);
}

SIMD_INLINE void kernel_prefetch(const void *panel, size_t i, const enum nn_type type)
{
	size_t bytes = KERNEL_PANEL * (type == NN_F32 ? 4 : 2);

	for (size_t line = 0; line < bytes; line += 64)
		__builtin_prefetch((const char *)panel + i * bytes + line);
}

/* R rows from `row` on, V vectors of columns from `col` on. x of row r and step i is x[i * xk + r * xr]. */
SIMD_INLINE void kernel_strip(const struct kernel_tile *t, uint32_t row, uint32_t col, size_t xk, const size_t xr,
			      const enum nn_type type, const int R, const int V)
{
	float *out = t->acc + (size_t)row * KERNEL_PANEL + col;
	const float *x = t->x + row * xr;
	vf acc[12][KERNEL_PANEL / VL];

	KERNEL_UNROLL for (int r = 0; r < R; r++)
		KERNEL_UNROLL for (int v = 0; v < V; v++)
			acc[r][v] = t->first ? vf_set1(0) : vf_load(out + r * KERNEL_PANEL + v * VL);
	for (size_t i = 0; i < t->k; i++, x += xk) {
		vf w[KERNEL_PANEL / VL];

		/* With few rows memory is the limit, and the processor's own prefetching stops at the ends of pages. */
		if (xr == 1)
			kernel_prefetch(t->panel, i + KERNEL_AHEAD, type);
		KERNEL_UNROLL for (int v = 0; v < V; v++)
			w[v] = kernel_weights_at(t->panel, i * KERNEL_PANEL + col + (size_t)v * VL, type);
		KERNEL_UNROLL for (int r = 0; r < R; r++) {
			vf xr1 = vf_set1(x[r * xr]);

			KERNEL_UNROLL for (int v = 0; v < V; v++)
				acc[r][v] = vf_fma(xr1, w[v], acc[r][v]);
		}
	}
	KERNEL_UNROLL for (int r = 0; r < R; r++)
		KERNEL_UNROLL for (int v = 0; v < V; v++)
			vf_store(out + r * KERNEL_PANEL + v * VL, acc[r][v]);
}

/* All columns that are wanted: of one row at once, so that its chains of additions overlap; of more rows by twos of vectors,
 * so that the accumulators fit the registers. */
SIMD_INLINE void kernel_strips(const struct kernel_tile *t, uint32_t row, size_t xk, const size_t xr, const enum nn_type type,
			       const int R)
{
	for (uint32_t col = 0; col < t->cols;) {
		if (R == 1 && VL * 2 < KERNEL_PANEL && !col && t->cols > KERNEL_PANEL - VL) {
			kernel_strip(t, row, col, xk, xr, type, R, KERNEL_PANEL / VL);
			col = KERNEL_PANEL;
		} else if (t->cols - col > VL) {
			kernel_strip(t, row, col, xk, xr, type, R, 2);
			col += 2 * VL;
		} else {
			kernel_strip(t, row, col, xk, xr, type, R, 1);
			col += VL;
		}
	}
}

typedef void kernel_tile_fn(const struct kernel_tile *t, uint32_t row);

#define KERNEL_TILE(R)                                                                   \
	static void kernel_f32_##R(const struct kernel_tile *t, uint32_t row)            \
	{                                                                                \
		kernel_strips(t, row, t->xk, 1, NN_F32, R);                              \
	}                                                                                \
	static void kernel_f16_##R(const struct kernel_tile *t, uint32_t row)            \
	{                                                                                \
		kernel_strips(t, row, t->xk, 1, NN_F16, R);                              \
	}                                                                                \
	static void kernel_bf16_##R(const struct kernel_tile *t, uint32_t row)           \
	{                                                                                \
		kernel_strips(t, row, t->xk, 1, NN_BF16, R);                             \
	}                                                                                \
	static void kernel_rows_##R(const struct kernel_tile *t, uint32_t row)           \
	{                                                                                \
		kernel_strips(t, row, 1, KERNEL_PANEL, NN_F32, R);                       \
	}
KERNELS_TILES(KERNEL_TILE)

#define KERNEL_F32(R) kernel_f32_##R,
#define KERNEL_F16(R) kernel_f16_##R,
#define KERNEL_BF16(R) kernel_bf16_##R,
#define KERNEL_BY_ROWS(R) kernel_rows_##R,
static kernel_tile_fn *const kernel_tiles[][TILE_ROWS] = {
	[NN_F32] = { KERNELS_TILES(KERNEL_F32) },
	[NN_F16] = { KERNELS_TILES(KERNEL_F16) },
	[NN_BF16] = { KERNELS_TILES(KERNEL_BF16) },
};
static kernel_tile_fn *const kernel_tiles_rows[TILE_ROWS] = { KERNELS_TILES(KERNEL_BY_ROWS) };

/* Parts of about equal height, none above what the registers hold. */
static void kernel_run(const struct kernel_tile *t, kernel_tile_fn *const *fns)
{
	uint32_t parts = (t->rows + TILE_ROWS - 1) / TILE_ROWS;

	for (uint32_t row = 0; row < t->rows; parts--) {
		uint32_t n = (t->rows - row + parts - 1) / parts;

		fns[n - 1](t, row);
		row += n;
	}
}

static void kernel_run_tile(const struct kernel_tile *t)
{
	kernel_run(t, kernel_tiles[t->type]);
}

static void kernel_run_rows(const struct kernel_tile *t)
{
	kernel_run(t, kernel_tiles_rows);
}

/* ---- functions of one number ---- */

/* A polynomial, highest power first. */
SIMD_INLINE vf kernel_poly(vf x, const float *c, const int n)
{
	vf y = vf_set1(c[0]);

	KERNEL_UNROLL for (int i = 1; i < n; i++)
		y = vf_fma(y, x, vf_set1(c[i]));
	return y;
}

/* e^x = 2^n e^r, |r| <= ln 2 / 2; e^r = 1 + r + r^2 p(r), p fitted on Chebyshev's points. */
SIMD_INLINE vf kernel_exp(vf x)
{
	static const float p[] = { 1.98910171e-4f, 1.39336737e-3f, 8.33331091e-3f, 4.16664647e-2f, 1.66666667e-1f, 0.5f };

	x = vf_min(vf_set1(90.0f), vf_max(vf_set1(-105.0f), x));
	vf n = vf_round(x * vf_set1(1.44269504f));
	/* ln 2 in two parts: the first has zeros at its end, so that its product with n is exact. */
	vf r = vf_fma(n, vf_set1(-0.693359375f), x);

	r = vf_fma(n, vf_set1(2.12194440e-4f), r);
	vf e = vf_fma(r * r, kernel_poly(r, p, 6), r) + vf_set1(1.0f);

	return vf_scale2(e, n);
}

SIMD_INLINE vf kernel_sigmoid(vf x)
{
	return vf_set1(1.0f) / (vf_set1(1.0f) + kernel_exp(vf_set1(0) - x));
}

/* Small x: x + x^3 p(x^2); else 1 - 2 / (e^2|x| + 1) with x's sign. */
SIMD_INLINE vf kernel_tanh(vf x)
{
	static const float p[] = { 2.26950164e-3f,  -8.32318700e-3f, 2.17625028e-2f,
				   -5.39584616e-2f, 1.33333001e-1f,  -3.33333331e-1f };
	vf s = x * x, a = vf_abs(x);
	vf small = vf_fma(x * s, kernel_poly(s, p, 6), x);
	vf large = vf_set1(1.0f) - vf_set1(2.0f) / (kernel_exp(a + a) + vf_set1(1.0f));

	return vf_less(vf_set1(0.6f), a, vf_copysign(large, x), small);
}

/* x Phi(x), Phi(x) = (1 + erf(t)) / 2, t = x / sqrt 2. Small t: erf(t) = t p(t^2). Else by erfc(|t|) = e^-t^2 q(w),
 * w = 1 - 6 / (|t| + 2), so that the negative tail keeps its digits. p, q fitted on Chebyshev's points. */
SIMD_INLINE vf kernel_gelu_erf(vf x)
{
	static const float p[] = { -9.66704579e-6f, 1.12659594e-4f,  -8.48408044e-4f, 5.22103181e-3f,
				   -2.68654307e-2f, 1.12837825e-1f, -3.76126385e-1f, 1.12837917f };
	static const float q[] = { 3.46579699e-6f,  1.89189267e-5f,  -1.28967570e-5f, -2.16344737e-4f, 4.45397356e-4f,
				   2.53673881e-3f,  -1.99251873e-2f, 7.44545482e-2f,  -1.94301036e-1f, 1.36999458e-1f };
	vf t = x * vf_set1(0.707106781f), a = vf_min(vf_set1(12.0f), vf_abs(t)), s = a * a, half = x * vf_set1(0.5f);
	vf small = vf_fma(half, t * kernel_poly(s, p, 8), half);
	vf w = vf_set1(1.0f) - vf_set1(6.0f) / (a + vf_set1(2.0f));
	/* e^-(s + rest): the square's rounding error counts in a large exponent. */
	vf rest = vf_fma(a, a, vf_set1(0) - s), e = kernel_exp(vf_set1(0) - s);
	vf erfc = vf_fma(vf_set1(0) - rest, e, e) * kernel_poly(w, q, 10);
	vf large = half * vf_less(x, vf_set1(0), erfc, vf_set1(2.0f) - erfc);

	return vf_less(a, vf_set1(1.0f), small, large);
}

/* 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3). */
SIMD_INLINE vf kernel_gelu_tanh(vf x)
{
	vf u = vf_set1(1.59576912f) * vf_fma(x * x * x, vf_set1(0.044715f), x);

	return x * kernel_sigmoid(u);
}

SIMD_INLINE vf kernel_function(vf x, const enum nn_activation how)
{
	switch (how) {
	case NN_RELU:
		return vf_max(vf_set1(0), x);
	case NN_GELU_ERF:
		return kernel_gelu_erf(x);
	case NN_GELU_TANH:
		return kernel_gelu_tanh(x);
	case NN_GELU_QUICK:
		return x * kernel_sigmoid(x * vf_set1(1.702f));
	case NN_SILU:
		return x * kernel_sigmoid(x);
	case NN_TANH:
		return kernel_tanh(x);
	case NN_SIGMOID:
		return kernel_sigmoid(x);
	default:
		return x;
	}
}

SIMD_INLINE vf kernel_load_part(const float *p, size_t n, float fill)
{
	float part[VL];

	for (size_t i = 0; i < VL; i++)
		part[i] = i < n ? p[i] : fill;
	return vf_load(part);
}

SIMD_INLINE void kernel_store_part(float *p, vf v, size_t n)
{
	float part[VL];

	vf_store(part, v);
	memcpy(p, part, n * sizeof(*p));
}

/* x = f(x), times u where there is one. */
SIMD_INLINE void kernel_map(float *x, const float *u, size_t n, const enum nn_activation how)
{
	size_t i = 0;

	for (; i + VL <= n; i += VL) {
		vf y = kernel_function(vf_load(x + i), how);

		if (u)
			y = y * vf_load(u + i);
		vf_store(x + i, y);
	}
	if (i == n)
		return;
	vf y = kernel_function(kernel_load_part(x + i, n - i, 0), how);

	if (u)
		y = y * kernel_load_part(u + i, n - i, 0);
	kernel_store_part(x + i, y, n - i);
}

static void kernel_gate(float *g, const float *u, size_t n, enum nn_activation how)
{
	switch (how) {
#define KERNEL_CASE(name)                       \
	case name:                              \
		kernel_map(g, u, n, name);      \
		break;
		KERNEL_CASE(NN_IDENTITY)
		KERNEL_CASE(NN_RELU)
		KERNEL_CASE(NN_GELU_ERF)
		KERNEL_CASE(NN_GELU_TANH)
		KERNEL_CASE(NN_GELU_QUICK)
		KERNEL_CASE(NN_SILU)
		KERNEL_CASE(NN_TANH)
		KERNEL_CASE(NN_SIGMOID)
	}
}

static void kernel_activate(float *x, size_t n, enum nn_activation how)
{
	kernel_gate(x, NULL, n, how);
}

/* ---- rows ---- */

static void kernel_scale(float *x, size_t n, float s)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= s;
}

/* x = e^(x - max); returns the sum. */
SIMD_INLINE float kernel_exp_row(float *x, size_t n, float max)
{
	vf m = vf_set1(max), sum = vf_set1(0);
	size_t i = 0;

	for (; i + VL <= n; i += VL) {
		vf e = kernel_exp(vf_load(x + i) - m);

		vf_store(x + i, e);
		sum = sum + e;
	}
	if (i < n) {
		vf e = kernel_exp(kernel_load_part(x + i, n - i, -INFINITY) - m);

		kernel_store_part(x + i, e, n - i);
		sum = sum + e;
	}
	return vf_sum(sum);
}

SIMD_INLINE float kernel_max_row(const float *x, size_t n)
{
	vf m = vf_set1(-INFINITY);
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		m = vf_max(m, vf_load(x + i));
	if (i < n)
		m = vf_max(m, kernel_load_part(x + i, n - i, -INFINITY));
	return vf_most(m);
}

static void kernel_softmax(float *x, size_t n)
{
	float sum = kernel_exp_row(x, n, kernel_max_row(x, n));

	kernel_scale(x, n, 1.0f / sum);
}

/* Milakov and Gimelshein 2018, "Online normalizer calculation for softmax". */
static float kernel_weights(struct kernel_softmax *state, float *s, uint32_t lo, uint32_t hi)
{
	for (uint32_t i = 0; i < KERNEL_PANEL; i++)
		s[i] = i >= lo && i < hi ? s[i] : -INFINITY;
	float block = kernel_max_row(s, KERNEL_PANEL), max = block > state->max ? block : state->max;
	float carry = 1.0f;

	if (lo >= hi || max == -INFINITY) {
		memset(s, 0, KERNEL_PANEL * sizeof(*s));
		return carry;
	}
	if (max > state->max) {
		float part[VL];

		vf_store(part, kernel_exp(vf_set1(state->max - max)));
		carry = part[0];
	}
	state->sum = state->sum * carry + kernel_exp_row(s, KERNEL_PANEL, max);
	state->max = max;
	return carry;
}

SIMD_INLINE vf kernel_add_power(vf sum, vf d, const int power)
{
	if (power == 2)
		return vf_fma(d, d, sum);
	return sum + d;
}

/* Sum of (x - shift)^power, power 1 or 2. */
SIMD_INLINE float kernel_moment(const float *x, size_t n, float shift, const int power)
{
	vf sum = vf_set1(0), m = vf_set1(shift);
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		sum = kernel_add_power(sum, vf_load(x + i) - m, power);
	if (i < n)
		sum = kernel_add_power(sum, kernel_load_part(x + i, n - i, shift) - m, power);
	return vf_sum(sum);
}

/* (x - mean) * scale * w + b */
SIMD_INLINE vf kernel_normed(vf x, vf mean, vf scale, vf w, vf b)
{
	return vf_fma((x - mean) * scale, w, b);
}

SIMD_INLINE void kernel_norm_row(float *y, const float *x, const float *w, const float *b, size_t n, float mean, float scale)
{
	vf m = vf_set1(mean), s = vf_set1(scale), zero = vf_set1(0);
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		vf_store(y + i, kernel_normed(vf_load(x + i), m, s, vf_load(w + i), b ? vf_load(b + i) : zero));
	if (i == n)
		return;
	vf bias = b ? kernel_load_part(b + i, n - i, 0) : zero;

	kernel_store_part(y + i,
			  kernel_normed(kernel_load_part(x + i, n - i, 0), m, s, kernel_load_part(w + i, n - i, 0), bias),
			  n - i);
}

static void kernel_layer_norm(float *y, const float *x, const float *w, const float *b, size_t n, float eps)
{
	float mean = kernel_moment(x, n, 0, 1) / (float)n;

	kernel_norm_row(y, x, w, b, n, mean, 1.0f / sqrtf(kernel_moment(x, n, mean, 2) / (float)n + eps));
}

static void kernel_rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
	kernel_norm_row(y, x, w, NULL, n, 0, 1.0f / sqrtf(kernel_moment(x, n, 0, 2) / (float)n + eps));
}

SIMD_INLINE void kernel_convert_type(float *f, const uint16_t *h, size_t n, const enum nn_type type)
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		vf_store(f + i, type == NN_F16 ? vf_f16(h + i) : vf_bf16(h + i));
	if (i == n)
		return;
	uint16_t part[VL] = { 0 };

	memcpy(part, h + i, (n - i) * sizeof(*part));
	kernel_store_part(f + i, type == NN_F16 ? vf_f16(part) : vf_bf16(part), n - i);
}

static void kernel_convert(float *f, const void *data, size_t n, enum nn_type type)
{
	if (type == NN_F32)
		memcpy(f, data, n * sizeof(*f));
	else if (type == NN_F16)
		kernel_convert_type(f, data, n, NN_F16);
	else
		kernel_convert_type(f, data, n, NN_BF16);
}

const struct nn_kernels KERNELS = {
	.name = KERNELS_NAME,
	.usable = kernels_usable,
	.tile = kernel_run_tile,
	.tile_rows = kernel_run_rows,
	.weights = kernel_weights,
	.activate = kernel_activate,
	.gate = kernel_gate,
	.softmax = kernel_softmax,
	.layer_norm = kernel_layer_norm,
	.rms_norm = kernel_rms_norm,
	.scale = kernel_scale,
	.convert = kernel_convert,
};

/* naive.c - what the operations mean, written as plainly as can be, in doubles. */
#include "tests/nn/naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sdk/nn/pool.h"

float naive_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (float)((double)(*state >> 11) / 4503599627370496.0 - 1.0);
}

void naive_fill(float *x, size_t n, uint64_t seed)
{
	uint64_t state = seed * 977 + 1;

	for (size_t i = 0; i < n; i++)
		x[i] = naive_random(&state);
}

float naive_from_half(uint16_t h, enum nn_type type)
{
	int sign = h >> 15, bits = type == NN_F16 ? 10 : 7, bias = type == NN_F16 ? 15 : 127;
	int fraction = h & ((1 << bits) - 1), exponent = (h & 0x7fff) >> bits;
	double f = exponent ? ldexp(1 + ldexp(fraction, -bits), exponent - bias) : ldexp(fraction, 1 - bias - bits);

	if (exponent == 2 * bias + 1)
		f = fraction ? NAN : INFINITY;
	return (float)(sign ? -f : f);
}

/* By search: the values of a type rise with its bits. */
uint16_t naive_to_half(float f, enum nn_type type)
{
	/* The largest that is not above it. */
	uint16_t lo = 0, hi = type == NN_F16 ? 0x7bff : 0x7f7f;
	float a = fabsf(f);

	while (lo < hi) {
		uint16_t mid = (uint16_t)((lo + hi + 1) / 2);

		if (naive_from_half(mid, type) <= a)
			lo = mid;
		else
			hi = (uint16_t)(mid - 1);
	}
	double below = naive_from_half(lo, type), above = naive_from_half((uint16_t)(lo + 1), type);

	/* Behind the largest number comes what would be the next one. */
	if (isinf(above))
		above = 2 * below - naive_from_half((uint16_t)(lo - 1), type);
	if (a - below > above - a || (a - below == above - a && lo % 2))
		lo++;
	return (uint16_t)(lo | (signbit(f) ? 0x8000 : 0));
}

void naive_linear(float *y, const float *x, const float *w, const float *b, size_t t, size_t n, size_t k)
{
	for (size_t r = 0; r < t; r++) {
		for (size_t j = 0; j < n; j++) {
			double sum = b ? b[j] : 0;

			for (size_t i = 0; i < k; i++)
				sum += (double)x[r * k + i] * w[j * k + i];
			y[r * n + j] = (float)sum;
		}
	}
}

double naive_activation(double x, enum nn_activation how)
{
	switch (how) {
	case NN_RELU:
		return x > 0 ? x : 0;
	case NN_GELU_ERF:
		return 0.5 * x * erfc(-x / sqrt(2));
	case NN_GELU_TANH:
		return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
	case NN_GELU_QUICK:
		return x / (1 + exp(-1.702 * x));
	case NN_SILU:
		return x / (1 + exp(-x));
	case NN_TANH:
		return tanh(x);
	case NN_SIGMOID:
		return 1 / (1 + exp(-x));
	default:
		return x;
	}
}

void naive_layer_norm(float *y, const float *x, const float *w, const float *b, size_t t, size_t n, double eps)
{
	for (size_t r = 0; r < t; r++, x += n, y += n) {
		double mean = 0, var = 0;

		for (size_t i = 0; i < n; i++)
			mean += x[i] / (double)n;
		for (size_t i = 0; i < n; i++)
			var += (x[i] - mean) * (x[i] - mean) / (double)n;
		for (size_t i = 0; i < n; i++)
			y[i] = (float)((x[i] - mean) / sqrt(var + eps) * w[i] + (b ? b[i] : 0));
	}
}

void naive_rms_norm(float *y, const float *x, const float *w, size_t t, size_t n, double eps)
{
	for (size_t r = 0; r < t; r++, x += n, y += n) {
		double sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += (double)x[i] * x[i] / (double)n;
		for (size_t i = 0; i < n; i++)
			y[i] = (float)(x[i] / sqrt(sum + eps) * w[i]);
	}
}

void naive_softmax(float *y, const float *x, size_t t, size_t n)
{
	for (size_t r = 0; r < t; r++, x += n, y += n) {
		double max = -INFINITY, sum = 0;

		for (size_t i = 0; i < n; i++)
			max = x[i] > max ? x[i] : max;
		for (size_t i = 0; i < n; i++)
			sum += exp(x[i] - max);
		for (size_t i = 0; i < n; i++)
			y[i] = (float)(exp(x[i] - max) / sum);
	}
}

/* What a row at `place` adds to head h's score of key j. */
static double naive_relative(const struct nn_attention *how, size_t h, size_t j, size_t place)
{
	const long reach = (long)how->reach, d = (long)j - (long)place;

	return how->relative[h * (2 * how->reach + 1) + (size_t)(reach + (d < -reach ? -reach : d > reach ? reach : d))];
}

static void naive_attention_row(float *out, const float *q, const float *k, const float *v, size_t lo, size_t hi,
				const size_t sizes[6], const struct nn_attention *how)
{
	size_t dk = sizes[0], dv = sizes[1], k_stride = sizes[2], v_stride = sizes[3];
	double max = -INFINITY, sum = 0, *s = calloc(hi + 1, sizeof(*s)), *o = calloc(dv, sizeof(*o));

	for (size_t j = lo; j < hi; j++) {
		for (size_t d = 0; d < dk; d++)
			s[j] += (double)q[d] * k[j * k_stride + d];
		s[j] *= how->scale;
		if (how->softcap > 0)
			s[j] = how->softcap * tanh(s[j] / how->softcap);
		if (how->relative)
			s[j] += naive_relative(how, sizes[4], j, sizes[5]);
		max = s[j] > max ? s[j] : max;
	}
	for (size_t j = lo; j < hi; j++) {
		sum += exp(s[j] - max);
		for (size_t d = 0; d < dv; d++)
			o[d] += exp(s[j] - max) * v[j * v_stride + d];
	}
	for (size_t d = 0; d < dv; d++)
		out[d] = hi > lo ? (float)(o[d] / sum) : 0;
	free(o);
	free(s);
}

void naive_attention(float *out, const float *q, const float *k, const float *v, size_t t, size_t s, size_t dk, size_t dv,
		     const struct nn_attention *how)
{
	for (size_t r = 0; r < t; r++) {
		for (size_t h = 0; h < how->heads; h++) {
			const size_t kv = h / (how->heads / how->kv_heads), end = how->visible ? how->visible[r] : s;
			const size_t sizes[6] = { dk, dv, how->kv_heads * dk, how->kv_heads * dv, h,
						  how->place ? how->place[r] : end - 1 };

			naive_attention_row(out + (r * how->heads + h) * dv, q + (r * how->heads + h) * dk, k + kv * dk,
					    v + kv * dv, how->first ? how->first[r] : 0, end, sizes, how);
		}
	}
}

const struct naive_path naive_paths[] = {
	{ "portable", 1 }, { "portable", 3 }, { "avx2", 1 },	   { "avx2", 3 },
	{ "avx512", 1 },   { "avx512", 3 },   { "avx512vnni", 1 }, { "avx512vnni", 3 },
	{ "avx512bf16", 1 }, { "avx512bf16", 3 }, { "amx", 1 },	   { "amx", 3 },
};
const size_t naive_n_paths = sizeof(naive_paths) / sizeof(*naive_paths);

int naive_init(struct nn *c, size_t i)
{
	*c = (struct nn){ .kernels = nn_kernels_named(naive_paths[i].name), .threads = naive_paths[i].threads };
	if (!c->kernels)
		return 0;
	c->arena = nn_arena_new(0);
	assert_non_null(c->arena);
	if (c->threads > 1) {
		c->runner = nn_pool_new(c->threads);
		assert_non_null(c->runner);
		c->parallel = nn_pool_run;
	}
	return 1;
}

void naive_fini(struct nn *c)
{
	nn_pool_free(c->runner);
	nn_arena_free(c->arena);
}

void naive_expect(const char *what, const struct nn *c, const float *got, const float *want, size_t n, double abs, double rel)
{
	for (size_t i = 0; i < n; i++) {
		if (fabs((double)got[i] - want[i]) <= abs + rel * fabs((double)want[i]))
			continue;
		if ((isnan(got[i]) && isnan(want[i])) || got[i] == want[i])
			continue;
		fail_msg("%s, threads %u: [%zu] is %.9g, should be %.9g", what, c->threads, i, (double)got[i], (double)want[i]);
	}
}

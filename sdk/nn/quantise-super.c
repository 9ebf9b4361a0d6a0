/* quantise-super.c - floats into Q4_K, Q5_K and Q6_K: blocks of 256 whose parts have small whole scales.
 *
 * For each part several scales around the obvious one are tried; the codes that a scale gives have a best scale (and minimum)
 * in the sense of weighted least squares, and the one with the least error is kept. Larger numbers weigh more. */
#include "sdk/nn/quantise.h"

#include <math.h>
#include <string.h>

#include "sdk/nn/half.h"

enum { SUPER = 256 };

static int super_clamp(float f, int low, int high)
{
	const float r = rintf(f);

	return r > (float)low ? (r < (float)high ? (int)r : high) : low;
}

static float super_put_half(uint8_t *to, float f)
{
	const uint16_t h = half_of_f32(f);

	to[0] = (uint8_t)h;
	to[1] = (uint8_t)(h >> 8);
	return half_from_f16(h);
}

/* x [n] as scale * code, code in [-half, half): the best scale. */
static float super_scale(const float *x, int n, int half)
{
	float widest = 0, best = 0, most = 0;

	for (int i = 0; i < n; i++)
		widest = fabsf(x[i]) > fabsf(widest) ? x[i] : widest;
	if (fabsf(widest) < 1e-15f)
		return 0;
	for (int step = -9; step <= 9; step++) {
		const float inverse = -((float)half + 0.1f * (float)step) / widest;
		float dot = 0, squares = 0;

		for (int i = 0; i < n; i++) {
			const float q = (float)super_clamp(x[i] * inverse, -half, half - 1), w = x[i] * x[i];

			dot += w * x[i] * q;
			squares += w * q * q;
		}
		if (squares > 0 && dot * dot > most * squares) {
			most = dot * dot / squares;
			best = dot / squares;
		}
	}
	return best;
}

/* Sums over a part that least squares are made of. */
struct super_fit {
	float w, x, q, xq, qq;
};

static float super_error(const float *x, const float *weight, int n, float scale, float min, float inverse, float low, int levels)
{
	float error = 0;

	for (int i = 0; i < n; i++) {
		const float d = scale * (float)super_clamp((x[i] - low) * inverse, 0, levels) - min - x[i];

		error += weight[i] * d * d;
	}
	return error;
}

/* x [32] as scale * code - min, code in [0, levels], min >= 0. */
static float super_scale_min(const float *x, int levels, float *min)
{
	enum { N = 32 };
	float weight[N], low = 0, high = x[0], mean = 0, best = INFINITY, scale = 0;

	for (int i = 0; i < N; i++) {
		low = x[i] < low ? x[i] : low;
		high = x[i] > high ? x[i] : high;
		mean += x[i] * x[i] / N;
	}
	for (int i = 0; i < N; i++)
		weight[i] = sqrtf(mean) + fabsf(x[i]);
	*min = -low;
	for (int step = -10; step <= 10 && high > low; step++) {
		const float inverse = ((float)levels + 0.1f * (float)step) / (high - low);
		struct super_fit f = { 0 };

		for (int i = 0; i < N; i++) {
			const float q = (float)super_clamp((x[i] - low) * inverse, 0, levels), w = weight[i];

			f.w += w;
			f.x += w * x[i];
			f.q += w * q;
			f.xq += w * x[i] * q;
			f.qq += w * q * q;
		}
		const float det = f.w * f.qq - f.q * f.q;
		/* Where all codes are the same, scale and minimum cannot be told apart. */
		const int apart = det > 1e-5f * f.w * f.qq;
		float s = apart ? (f.w * f.xq - f.x * f.q) / det : 0, m = apart ? (f.q * f.xq - f.qq * f.x) / det : 0;

		if (m < 0 || !apart) {
			m = 0;
			s = f.qq > 0 ? f.xq / f.qq : 0;
		}
		const float error = super_error(x, weight, N, s, m, inverse, low, levels);

		if (s > 0 && error < best) {
			best = error;
			scale = s;
			*min = m;
		}
	}
	return scale;
}

/* 8 scales and 8 minima of 6 bits into 12 bytes. */
static void super_put_sixes(const uint8_t *scale, const uint8_t *min, uint8_t *to)
{
	for (int i = 0; i < 4; i++) {
		to[i] = (uint8_t)(scale[i] | (scale[i + 4] >> 4) << 6);
		to[i + 4] = (uint8_t)(min[i] | (min[i + 4] >> 4) << 6);
		to[i + 8] = (uint8_t)((scale[i + 4] & 15) | min[i + 4] << 4);
	}
}

/* Head of 16 bytes, and the codes. */
static void super_with_minima(const float *x, int levels, uint8_t *head, uint8_t *code)
{
	float scale[8], min[8], widest = 0, deepest = 0;
	uint8_t s[8], m[8];

	for (int i = 0; i < 8; i++) {
		scale[i] = super_scale_min(x + 32 * i, levels, &min[i]);
		widest = fmaxf(widest, scale[i]);
		deepest = fmaxf(deepest, min[i]);
	}
	for (int i = 0; i < 8; i++) {
		s[i] = (uint8_t)(widest > 0 ? super_clamp(63 * scale[i] / widest, 0, 63) : 0);
		m[i] = (uint8_t)(deepest > 0 ? super_clamp(63 * min[i] / deepest, 0, 63) : 0);
	}
	const float d = super_put_half(head, widest / 63), e = super_put_half(head + 2, deepest / 63);

	super_put_sixes(s, m, head + 4);
	for (int i = 0; i < SUPER; i++) {
		const float step = d * (float)s[i / 32];

		code[i] = (uint8_t)(step > 0 ? super_clamp((x[i] + e * (float)m[i / 32]) / step, 0, levels) : 0);
	}
}

static void super_put_nibbles(const uint8_t *code, uint8_t *to)
{
	for (int i = 0; i < SUPER / 2; i++) {
		const int low = i / 32 * 64 + i % 32;

		to[i] = (uint8_t)((code[low] & 15) | code[low + 32] << 4);
	}
}

void nn_quantise_q4_k(const float *x, uint8_t *block)
{
	uint8_t code[SUPER];

	super_with_minima(x, 15, block, code);
	super_put_nibbles(code, block + 16);
}

void nn_quantise_q5_k(const float *x, uint8_t *block)
{
	uint8_t code[SUPER];

	super_with_minima(x, 31, block, code);
	memset(block + 16, 0, 32);
	for (int i = 0; i < SUPER; i++)
		block[16 + i % 32] |= (uint8_t)((code[i] >> 4) << (i / 32));
	super_put_nibbles(code, block + 48);
}

void nn_quantise_q6_k(const float *x, uint8_t *block)
{
	float scale[16], widest = 0;
	int8_t *s = (int8_t *)block + 192;
	uint8_t code[SUPER];

	for (int i = 0; i < 16; i++) {
		scale[i] = super_scale(x + 16 * i, 16, 32);
		widest = fabsf(scale[i]) > fabsf(widest) ? scale[i] : widest;
	}
	const float d = super_put_half(block + 208, widest / -128);

	for (int i = 0; i < 16; i++)
		s[i] = (int8_t)(widest != 0 ? super_clamp(-128 * scale[i] / widest, -128, 127) : 0);
	for (int i = 0; i < SUPER; i++) {
		const float step = d * (float)s[i / 16];

		code[i] = (uint8_t)((step != 0 ? super_clamp(x[i] / step, -32, 31) : 0) + 32);
	}
	memset(block, 0, 192);
	for (int i = 0; i < SUPER; i++) {
		const int half = i / 128, r = i % 128;

		block[half * 64 + r % 64] |= (uint8_t)((code[i] & 15) << (r / 64 * 4));
		block[128 + half * 32 + r % 32] |= (uint8_t)((code[i] >> 4) << (r / 32 * 2));
	}
}

/* test-quant.c - products with weights that stay codes: right, and bitwise the same on every path and in any company. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/nn/naive.h"

/* Where the f16 numbers of a block lie; -1: there is no second. */
static const struct {
	const char *name;
	int d, e;
	int exact; /* its codes are kept as they are */
} formats[] = {
	{ "Q4_0", 0, -1, 1 },   { "Q4_1", 0, 2, 1 },    { "Q5_0", 0, -1, 1 },   { "Q5_1", 0, 2, 1 },   { "Q8_0", 0, -1, 1 },
	{ "Q2_K", 80, 82, 1 },  { "Q3_K", 108, -1, 1 }, { "Q4_K", 0, 2, 1 },    { "Q5_K", 0, 2, 1 },   { "Q6_K", 208, -1, 1 },
	{ "IQ4_NL", 0, -1, 1 }, { "IQ4_XS", 0, -1, 1 }, { "IQ2_XXS", 0, -1, 0 }, { "TQ2_0", 64, -1, 0 }, { "IQ3_S", 0, -1, 0 },
};

enum { FORMATS = sizeof(formats) / sizeof(*formats), COLS = 768, ROWS = 37, TOKENS = 37 };

struct weights {
	struct nn_checkpoint *checkpoint;
	struct nn_weight w;
	float *values;
};

/* The checkpoint owns packed weights; any model will do. */
static void weights_init(struct weights *q, size_t i)
{
	const struct nn_block_format *f = nn_block_format_named(formats[i].name);
	const size_t blocks = ROWS * COLS / f->elements;
	uint8_t *data = malloc(blocks * f->bytes);
	struct nn_error error = { 0 };
	char path[4096];
	uint32_t seed = (uint32_t)i + 7;

	for (size_t b = 0; b < blocks * f->bytes; b++)
		data[b] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 23);
	for (size_t b = 0; b < blocks; b++) {
		/* d from 2^-9 on, e from 2^-7 on, of both signs. */
		const uint16_t d = (uint16_t)(0x1800 | b * 37 % 1024 | b % 3 << 15), e = (uint16_t)(0x2000 | b * 91 % 1024);

		memcpy(data + b * f->bytes + formats[i].d, &d, 2);
		if (formats[i].e >= 0)
			memcpy(data + b * f->bytes + formats[i].e, &e, 2);
	}
	snprintf(path, sizeof(path), "%s/tests/goldens/dec_llama_gqa_theta", getenv("top_srcdir") ? getenv("top_srcdir") : ".");
	q->checkpoint = nn_checkpoint_open(path, &error);
	assert_non_null(q->checkpoint);
	q->w = (struct nn_weight){ .name = formats[i].name, .data = data, .bytes = blocks * f->bytes, .type = NN_BLOCKS,
				   .format = f, .rank = 2, .shape = { ROWS, COLS }, .rows = ROWS, .cols = COLS };
	q->values = malloc(ROWS * COLS * sizeof(float));
	nn_weight_read(&q->w, 0, ROWS, q->values);
	assert_int_equal(nn_weight_pack_codes(q->checkpoint, &q->w, &error), 0);
	assert_string_equal(nn_weight_computed(&q->w), formats[i].exact ? formats[i].name : "Q8_0");
}

static void weights_fini(struct weights *q)
{
	free((void *)q->w.data);
	free(q->values);
	nn_checkpoint_close(q->checkpoint);
}

/* Activations as they are: most small, some large. */
static void tokens_fill(float *x, size_t n, size_t seed)
{
	naive_fill(x, n, seed);
	for (size_t i = 0; i < n; i += 61)
		x[i] *= 40;
}

/* |error| <= what rounding x to 15 bits of the largest of 256, and the weights of others to 8, can do. */
static void expect_near(const struct weights *q, int exact, const float *x, const struct nn_tensor y)
{
	for (size_t t = 0; t < y.rows; t++) {
		for (size_t r = 0; r < ROWS; r++) {
			double want = 0, bound = 0, squares = 0;

			double top = 0;

			for (size_t k = 0; k < COLS; k += 32) {
				double widest = 0;

				for (size_t i = k / 256 * 256; k % 256 == 0 && i < k + 256 && i < COLS; i++)
					top = fmax(i % 256 ? top : 0, fabs((double)x[t * COLS + i]));
				for (size_t i = k; i < k + 32; i++) {
					const double v = q->values[r * COLS + i], a = x[t * COLS + i];

					want += v * a;
					widest = fmax(widest, fabs(v));
					squares += v * v * a * a;
				}
				for (size_t i = k; i < k + 32; i++)
					bound += fabs((double)q->values[r * COLS + i]) * top / 32512 +
						 (exact ? 0 : widest / 254 * 1.01 * fabs((double)x[t * COLS + i]));
			}
			if (!(fabs(y.data[t * y.stride + r] - want) <= bound + 1e-5 * sqrt(squares)))
				fail_msg("%s: token %zu, row %zu: %g instead of %g, the bound is %g", q->w.name, t, r,
					 (double)y.data[t * y.stride + r], want, bound);
		}
	}
}

static void products_are_right_and_alike(void **state)
{
	float x[TOKENS * COLS], b[ROWS];

	tokens_fill(x, TOKENS * COLS, 5);
	naive_fill(b, ROWS, 6);
	for (size_t i = 0; i < FORMATS; i++) {
		float first[TOKENS * ROWS];
		struct weights q;
		int any = 0;

		weights_init(&q, i);
		for (size_t p = 0; p < naive_n_paths; p++) {
			struct nn c;

			if (!naive_init(&c, p))
				continue;
			struct nn_tensor y = nn_linear(&c, nn_view(x, TOKENS, COLS), &q.w, NULL);

			assert_int_equal(c.error, 0);
			assert_int_equal(y.stride, ROWS);
			expect_near(&q, formats[i].exact, x, y);
			if (any++)
				assert_memory_equal(first, y.data, sizeof(first));
			memcpy(first, y.data, sizeof(first));
			/* Alone, and with the bias. */
			for (size_t t = 0; t < TOKENS; t++) {
				y = nn_linear(&c, nn_view(x + t * COLS, 1, COLS), &q.w, b);
				for (size_t r = 0; r < ROWS; r++)
					assert_true(y.data[r] == first[t * ROWS + r] + b[r]);
			}
			naive_fini(&c);
		}
		assert_true(any > 0);
		weights_fini(&q);
	}
}

/* Several weights at once give what each gives alone. */
static void products_together_are_products_alone(void **state)
{
	struct weights q[3];
	const struct nn_weight *w[3];
	float x[TOKENS * COLS], b[ROWS];
	const float *const biases[3] = { NULL, b, NULL };

	tokens_fill(x, TOKENS * COLS, 8);
	naive_fill(b, ROWS, 9);
	for (size_t i = 0; i < 3; i++) {
		weights_init(&q[i], i * 4 + 1);
		w[i] = &q[i].w;
	}
	for (size_t p = 0; p < naive_n_paths; p++) {
		struct nn_tensor y[3];
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		nn_linear_all(&c, nn_view(x, TOKENS, COLS), 3, w, biases, y);
		for (size_t i = 0; i < 3; i++) {
			struct nn_tensor alone = nn_linear(&c, nn_view(x, TOKENS, COLS), w[i], biases[i]);

			assert_int_equal(c.error, 0);
			assert_memory_equal(alone.data, y[i].data, TOKENS * ROWS * sizeof(float));
		}
		naive_fini(&c);
	}
	for (size_t i = 0; i < 3; i++)
		weights_fini(&q[i]);
}

/* Zeros, very small and very large numbers, infinity and NaN: of the row's results only. */
static void odd_activations(void **state)
{
	static const float odd[] = { 0, 1e-38f, 1e-20f, 1e30f, INFINITY, NAN };
	struct weights q;

	weights_init(&q, 1);
	for (size_t p = 0; p < naive_n_paths; p++) {
		float x[7 * COLS];
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		naive_fill(x, 7 * COLS, 3);
		for (size_t t = 0; t < 6; t++)
			for (size_t k = 0; k < COLS; k++)
				x[t * COLS + k] = k % 5 ? 0 : odd[t];
		struct nn_tensor y = nn_linear(&c, nn_view(x, 7, COLS), &q.w, NULL);

		for (size_t r = 0; r < ROWS; r++) {
			for (size_t t = 0; t < 7; t++) {
				const float got = y.data[t * y.stride + r];
				double want = 0;

				for (size_t k = 0; k < COLS; k++)
					want += (double)q.values[r * COLS + k] * (double)x[t * COLS + k];
				if (t == 4 || t == 5)
					assert_true(isnan(got));
				else if (t == 1)
					assert_true(fabsf(got) < 1e-30f);
				else
					assert_true(fabs(got - want) <= 1e-3 * fabs((double)(t < 4 ? odd[t] : 1)) * COLS / 50);
			}
		}
		naive_fini(&c);
	}
	weights_fini(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(products_are_right_and_alike),
		cmocka_unit_test(products_together_are_products_alone),
		cmocka_unit_test(odd_activations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

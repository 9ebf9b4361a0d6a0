/* test-quantise.c - floats into blocks and back: how much is lost, and that odd numbers harm nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sdk/nn/quantise.h"
#include "tests/nn/naive.h"

enum { N = 256 * 64 };

/* The root of the mean square error may be this much of the numbers' own, which are about normal. */
static const struct {
	const char *name;
	double most;
} formats[] = {
	{ "F32", 0 },      { "F16", 3e-4 },   { "BF16", 2.5e-3 }, { "Q8_0", 0.007 }, { "Q6_K", 0.02 }, { "Q5_K", 0.042 },
	{ "Q5_1", 0.05 },  { "Q5_0", 0.055 }, { "Q4_K", 0.083 },  { "Q4_1", 0.1 },   { "Q4_0", 0.115 },
};

static void normal_numbers(float *x)
{
	uint64_t seed = 11;

	for (size_t i = 0; i < N; i++) {
		x[i] = 0;
		for (int k = 0; k < 12; k++)
			x[i] += naive_random(&seed) / 2;
		x[i] *= i % 256 < 128 ? 1 : 0.1f;
	}
}

static double blocks_error(const char *name, const float *x)
{
	const struct nn_block_format *f = nn_block_format_named(name);
	uint8_t *blocks = calloc(N, 4);
	float *y = malloc(N * sizeof(*y));
	double error = 0, size = 0;

	assert_true(nn_quantise_knows(f));
	nn_quantise(f, x, N, blocks);
	nn_blocks_expand(f, blocks, N / f->elements, y);
	for (size_t i = 0; i < N; i++) {
		error += ((double)y[i] - x[i]) * ((double)y[i] - x[i]);
		size += (double)x[i] * x[i];
	}
	free(blocks);
	free(y);
	return size > 0 ? sqrt(error / size) : sqrt(error);
}

static void little_is_lost(void **state)
{
	float *x = malloc(N * sizeof(*x));

	normal_numbers(x);
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		const double error = blocks_error(formats[i].name, x);

		if (!(error <= formats[i].most))
			fail_msg("%s loses %.4f, more than %.4f", formats[i].name, error, formats[i].most);
	}
	free(x);
}

static void zeros_and_constants(void **state)
{
	static const float constants[] = { 0, 1, -1, 3e-8f, 1e4f };
	float *x = malloc(N * sizeof(*x));

	for (size_t k = 0; k < sizeof(constants) / sizeof(*constants); k++) {
		for (size_t i = 0; i < N; i++)
			x[i] = constants[k];
		for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
			const double error = blocks_error(formats[i].name, x);

			/* Scales are 16-bit floats: of very small numbers nothing is left. */
			if (!(error <= (constants[k] == 3e-8f ? 1.01 : 0.01)))
				fail_msg("%s loses %.4f of %g", formats[i].name, error, (double)constants[k]);
		}
	}
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(little_is_lost),
		cmocka_unit_test(zeros_and_constants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

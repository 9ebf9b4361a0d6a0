/* test-linear.c - products with weights: right on every path, and each row by itself. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/nn/naive.h"

/* A weight of any float type, its values as f32 in *values. */
static struct nn_weight weight_new(size_t rows, size_t cols, enum nn_type type, float **values)
{
	size_t n = rows * cols;
	unsigned char *data = malloc(n * 4 + 1);
	float *f = malloc(n * sizeof(*f) + 1);

	naive_fill(f, n, rows * 31 + cols);
	for (size_t i = 0; i < n; i++) {
		uint16_t h = type == NN_F32 ? 0 : naive_to_half(f[i], type);

		if (type == NN_F32)
			memcpy(data + 1 + 4 * i, &f[i], 4);
		else
			memcpy(data + 1 + 2 * i, &h, 2);
		if (type != NN_F32)
			f[i] = naive_from_half(h, type);
	}
	*values = f;
	/* Off by one byte: data in files has no alignment. */
	return (struct nn_weight){ .name = "w", .data = data + 1, .type = type, .rank = 2, .rows = rows, .cols = cols };
}

static void weight_fini(struct nn_weight *w, float *values)
{
	free((unsigned char *)w->data - 1);
	free(values);
}

typedef struct nn_tensor product(struct nn *c, struct nn_tensor x, const struct nn_weight *w, const float *b);

static void product_agrees(product *f, const char *what)
{
	static const size_t shapes[][3] = { { 1, 1, 1 },    { 1, 40, 7 },    { 2, 32, 33 },   { 5, 65, 64 },  { 13, 96, 130 },
					    { 70, 33, 80 }, { 230, 70, 19 }, { 25, 17, 1100 }, { 300, 300, 40 } };

	for (size_t p = 0; p < naive_n_paths * 3; p++) {
		enum nn_type type = (enum nn_type)(p % 3);
		struct nn c;

		if (!naive_init(&c, p / 3))
			continue;
		for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
			size_t t = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
			float *values, *b = malloc(n * 4), *want = malloc(t * n * 4);
			struct nn_weight w = weight_new(n, k, type, &values);
			/* Rows with something between them. */
			struct nn_tensor wide = nn_new(&c, t, k + 3), x = nn_cols(wide, 1, k), whole;

			naive_fill(wide.data, t * (k + 3), i);
			naive_fill(b, n, i + 100);
			whole = nn_copy(&c, x);
			naive_linear(want, whole.data, values, i % 2 ? b : NULL, t, n, k);
			struct nn_tensor y = f(&c, x, &w, i % 2 ? b : NULL);

			assert_int_equal(c.error, 0);
			assert_int_equal(y.rows * y.cols, t * n);
			naive_expect(what, &c, y.data, want, t * n, 3e-6 * sqrt((double)k), 1e-5);
			free(b);
			free(want);
			weight_fini(&w, values);
		}
		naive_fini(&c);
	}
}

static void linear_equals_the_naive_product(void **state)
{
	product_agrees(nn_linear, "nn_linear");
}

static void gemm_equals_the_naive_product(void **state)
{
	product_agrees(nn_gemm, "nn_gemm");
}

/* Every row of a batch of 2 .. 70, alone, packed or not, with one thread or three: the same bits. */
static void a_row_does_not_depend_on_its_batch(void **state)
{
	enum { N = 100, K = 777, ROWS = 70 };

	for (size_t p = 0; p < naive_n_paths * 3; p++) {
		float *values, *alone = malloc(ROWS * N * 4);
		struct nn_weight w = weight_new(N, K, (enum nn_type)(p % 3), &values);
		struct nn one, c;

		/* Alone on one thread; in company on one and on three. */
		if (!naive_init(&c, p / 3) || !naive_init(&one, p / 3 / 2 * 2))
			goto next;
		struct nn_tensor x = nn_new(&c, ROWS, K);

		naive_fill(x.data, ROWS * K, 5);
		for (size_t t = 0; t < ROWS; t++) {
			struct nn_tensor y = nn_linear(&one, nn_rows(x, t, 1), &w, NULL);

			memcpy(alone + t * N, y.data, N * 4);
		}
		for (size_t t = 2; t <= ROWS; t++) {
			size_t first = (ROWS - t) / 2;
			struct nn_tensor y = nn_linear(&c, nn_rows(x, first, t), &w, NULL);

			assert_int_equal(c.error, 0);
			assert_memory_equal(y.data, alone + first * N, t * N * 4);
		}
		naive_fini(&one);
		naive_fini(&c);
next:
		free(alone);
		weight_fini(&w, values);
	}
}

static void gemm_does_not_depend_on_threads(void **state)
{
	enum { N = 600, K = 90, ROWS = 300 };

	for (size_t p = 0; p + 1 < naive_n_paths; p += 2) {
		float *values;
		struct nn_weight w = weight_new(N, K, NN_F16, &values);
		struct nn one, c;

		if (naive_init(&one, p) && naive_init(&c, p + 1)) {
			struct nn_tensor x = nn_new(&one, ROWS, K);

			naive_fill(x.data, ROWS * K, 6);
			struct nn_tensor a = nn_gemm(&one, x, &w, NULL), b = nn_gemm(&c, x, &w, NULL);

			assert_memory_equal(a.data, b.data, ROWS * N * 4);
			naive_fini(&one);
			naive_fini(&c);
		}
		weight_fini(&w, values);
	}
}

static void wrong_shapes_and_types_are_refused(void **state)
{
	float *values;
	struct nn_weight w = weight_new(4, 5, NN_F32, &values);
	struct nn c;

	assert_true(naive_init(&c, 0));
	struct nn_tensor x = nn_new(&c, 2, 6);

	assert_null(nn_linear(&c, x, &w, NULL).data);
	assert_int_equal(c.error, -EINVAL);
	c.error = 0;
	assert_null(nn_gemm(&c, x, NULL, NULL).data);
	assert_int_equal(c.error, -EINVAL);
	c.error = 0;
	w.type = NN_I64;
	assert_null(nn_linear(&c, nn_cols(x, 0, 5), &w, NULL).data);
	assert_int_equal(c.error, -EINVAL);
	/* A failed computation does nothing more. */
	assert_null(nn_add(&c, x, x).data);
	assert_null(nn_new(&c, 1, 1).data);
	naive_fini(&c);
	weight_fini(&w, values);
}

static void memory_limits_fail_the_computation(void **state)
{
	float *values;
	struct nn_weight w = weight_new(300, 300, NN_BF16, &values);

	for (size_t limit = 1 << 12; limit < 1 << 20; limit *= 2) {
		struct nn c = { .arena = nn_arena_new(limit) };
		struct nn_tensor x = nn_new(&c, 100, 300);

		if (x.data)
			naive_fill(x.data, 100 * 300, 1);
		struct nn_tensor y = nn_gemm(&c, nn_linear(&c, x, &w, NULL), &w, NULL);

		assert_true(c.error ? c.error == -ENOMEM && !y.data : y.data != NULL);
		nn_arena_free(c.arena);
	}
	weight_fini(&w, values);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linear_equals_the_naive_product),
		cmocka_unit_test(gemm_equals_the_naive_product),
		cmocka_unit_test(a_row_does_not_depend_on_its_batch),
		cmocka_unit_test(gemm_does_not_depend_on_threads),
		cmocka_unit_test(wrong_shapes_and_types_are_refused),
		cmocka_unit_test(memory_limits_fail_the_computation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

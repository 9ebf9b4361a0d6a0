/* test-attention.c - attention over matrices and over pages: right on every path, and each row by itself. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/nn/naive.h"

struct shape {
	size_t t, s, heads, kv_heads, dk, dv;
	int causal, window, softcap, reach;
};

static const struct shape shapes[] = {
	{ 1, 1, 1, 1, 4, 4, 0, 0, 0, 0 },	     { 5, 31, 2, 2, 16, 16, 0, 0, 0, 0 },	{ 33, 33, 4, 2, 64, 64, 1, 0, 0, 0 },
	{ 7, 100, 6, 1, 80, 72, 1, 0, 0, 0 },   { 50, 50, 16, 1, 24, 8, 1, 0, 1, 0 }, { 70, 70, 4, 4, 33, 40, 1, 9, 0, 0 },
	{ 3, 257, 2, 1, 256, 256, 1, 40, 1, 0 }, { 77, 77, 3, 3, 64, 64, 0, 0, 0, 0 },
	/* Several blocks of keys: of few rows, which are tasks of their own; of many, which are not, and of each of those alone. */
	{ 2, 900, 6, 2, 64, 40, 1, 0, 0, 0 },   { 3, 1100, 2, 1, 40, 96, 1, 300, 1, 0 }, { 60, 600, 16, 16, 16, 16, 1, 0, 0, 0 },
	{ 70, 700, 16, 16, 8, 24, 1, 290, 0, 0 },
	/* Relative positions: of each row's last key, and, where all see all, of a place of its own. */
	{ 1, 1, 1, 1, 4, 4, 1, 0, 0, 1 },      { 60, 60, 3, 3, 9, 9, 1, 0, 0, 20 },   { 50, 50, 4, 4, 16, 16, 0, 0, 0, 7 },
	{ 3, 900, 6, 2, 64, 40, 1, 0, 0, 300 }, { 70, 700, 16, 16, 8, 24, 1, 290, 0, 128 }, { 33, 600, 2, 1, 24, 24, 0, 0, 0, 128 },
};

enum { N_SHAPES = sizeof(shapes) / sizeof(*shapes), MAX_T = 80 };

struct setup {
	struct nn c;
	struct nn_tensor q, k, v;
	uint32_t visible[MAX_T], first[MAX_T], place[MAX_T];
	struct nn_attention how;
	float *want;
};

static int setup_init(struct setup *s, size_t path, const struct shape *f)
{
	if (!naive_init(&s->c, path))
		return 0;
	s->q = nn_new(&s->c, f->t, f->heads * f->dk);
	s->k = nn_new(&s->c, f->s, f->kv_heads * f->dk);
	s->v = nn_new(&s->c, f->s, f->kv_heads * f->dv);
	naive_fill(s->q.data, s->q.rows * s->q.cols, 1);
	naive_fill(s->k.data, s->k.rows * s->k.cols, 2);
	naive_fill(s->v.data, s->v.rows * s->v.cols, 3);
	for (size_t t = 0; t < f->t; t++) {
		s->visible[t] = (uint32_t)(f->s - f->t + t + 1);
		s->first[t] = f->window && s->visible[t] > (uint32_t)f->window ? s->visible[t] - (uint32_t)f->window : 0;
	}
	s->how = (struct nn_attention){ .heads = (uint32_t)f->heads, .kv_heads = (uint32_t)f->kv_heads, .scale = 1.7f,
					.visible = f->causal ? s->visible : NULL, .first = f->window ? s->first : NULL,
					.softcap = f->softcap ? 3.0f : 0 };
	if (f->reach) {
		struct nn_tensor relative = nn_new(&s->c, f->heads, 2 * (size_t)f->reach + 1);

		naive_fill(relative.data, relative.rows * relative.cols, 4);
		s->how.relative = relative.data;
		s->how.reach = (uint32_t)f->reach;
		s->how.place = f->causal ? NULL : s->place;
	}
	for (size_t t = 0; t < f->t; t++)
		s->place[t] = (uint32_t)(t * f->s / f->t);
	s->want = malloc(f->t * f->heads * f->dv * 4);
	naive_attention(s->want, s->q.data, s->k.data, s->v.data, f->t, f->s, f->dk, f->dv, &s->how);
	return 1;
}

static void setup_fini(struct setup *s)
{
	free(s->want);
	naive_fini(&s->c);
}

static void attention_equals_the_naive_one(void **state)
{
	for (size_t i = 0; i < naive_n_paths * N_SHAPES; i++) {
		const struct shape *f = &shapes[i % N_SHAPES];
		struct setup s;

		if (!setup_init(&s, i / N_SHAPES, f))
			continue;
		struct nn_tensor y = nn_attention(&s.c, s.q, s.k, s.v, &s.how);

		assert_int_equal(s.c.error, 0);
		naive_expect("nn_attention", &s.c, y.data, s.want, f->t * f->heads * f->dv, 4e-6, 2e-5);
		setup_fini(&s);
	}
}

/* The keys and values of a setup in pages that nothing was in before but NaN. */
static void **pages_new(struct setup *s, const struct nn_page_shape *shape)
{
	size_t n = s->k.rows / NN_PAGE + 1, bytes = nn_page_bytes(shape);
	void **pages = calloc(n + 1, sizeof(*pages));

	for (size_t i = 0; i < n; i++) {
		pages[i] = aligned_alloc(64, bytes);
		memset(pages[i], shape->type == NN_PAGE_F16 ? 0xff : 0, bytes);
		for (size_t j = 0; shape->type == NN_PAGE_F32 && j < bytes / sizeof(float); j++)
			((float *)pages[i])[j] = NAN;
	}
	for (uint32_t t = 0; t < s->k.rows; t++)
		nn_page_write(&s->c, pages[t / NN_PAGE], shape, t % NN_PAGE, s->k.data + t * s->k.cols, s->v.data + t * s->v.cols);
	return pages;
}

static void pages_free(void **pages)
{
	for (size_t i = 0; pages[i]; i++)
		free(pages[i]);
	free(pages);
}

/* Paged is the same bits as whole, and a row alone the same as in any company. */
static void a_row_does_not_depend_on_its_batch(void **state)
{
	for (size_t i = 0; i < naive_n_paths * N_SHAPES; i++) {
		const struct shape *f = &shapes[i % N_SHAPES];
		size_t row = f->heads * f->dv * 4;
		struct setup s;

		if (!f->causal || !setup_init(&s, i / N_SHAPES, f))
			continue;
		struct nn_page_shape shape = { (uint32_t)f->kv_heads, (uint32_t)f->dk, (uint32_t)f->dv, NN_PAGE_F32 };
		void **pages = pages_new(&s, &shape), *const *lists[MAX_T];
		struct nn_tensor y = nn_attention(&s.c, s.q, s.k, s.v, &s.how);

		for (size_t t = 0; t < f->t; t++)
			lists[t] = pages;
		for (size_t n = 1; n <= f->t; n = n < 14 ? n + 1 : n + 9) {
			for (size_t t = 0; t + n <= f->t; t += n) {
				struct nn_attention how = s.how;

				how.visible = s.visible + t;
				how.first = s.how.first ? s.first + t : NULL;
				struct nn_tensor z = nn_attention_paged(&s.c, nn_rows(s.q, t, n), &shape, lists, &how);

				assert_int_equal(s.c.error, 0);
				assert_memory_equal(z.data, y.data + t * y.cols, n * row);
			}
		}
		pages_free(pages);
		setup_fini(&s);
	}
}

/* Rows of three sequences of different lengths in one call. */
static void sequences_do_not_mix(void **state)
{
	static const struct shape f = { 9, 60, 4, 2, 32, 32, 1, 0, 0, 0 };

	for (size_t p = 0; p < naive_n_paths; p++) {
		struct nn_page_shape shape = { 2, 32, 32, NN_PAGE_F32 };
		struct setup s;

		if (!setup_init(&s, p, &f))
			continue;
		void **a = pages_new(&s, &shape), *const *lists[9];

		naive_fill(s.k.data, s.k.rows * s.k.cols, 12);
		void **b = pages_new(&s, &shape);

		for (size_t t = 0; t < 9; t++) {
			lists[t] = t % 3 == 1 ? b : a;
			s.visible[t] = (uint32_t)(t * 7 % 60 + 1);
		}
		struct nn_tensor y = nn_attention_paged(&s.c, s.q, &shape, lists, &s.how);

		for (size_t t = 0; t < 9; t++) {
			struct nn_attention how = s.how;

			how.visible = s.visible + t;
			struct nn_tensor z = nn_attention_paged(&s.c, nn_rows(s.q, t, 1), &shape, lists + t, &how);

			assert_memory_equal(z.data, y.data + t * y.cols, y.cols * 4);
		}
		pages_free(a);
		pages_free(b);
		setup_fini(&s);
	}
}

static void pages_are_written_by_rows(void **state)
{
	static const struct shape f = { 2, 70, 2, 2, 24, 40, 1, 0, 0, 0 };
	struct nn_page_shape shape = { 2, 24, 40, NN_PAGE_F32 };
	struct setup s;
	uint32_t position[70];
	void *const *lists[70];

	assert_true(setup_init(&s, 0, &f));
	void **a = pages_new(&s, &shape), **b = pages_new(&s, &shape);

	for (uint32_t t = 0; t < 70; t++) {
		position[t] = t;
		lists[t] = b;
	}
	for (size_t i = 0; b[i]; i++)
		memset(b[i], 0xff, nn_page_bytes(&shape));
	nn_page_write_rows(&s.c, &shape, lists, position, s.k, s.v);
	assert_int_equal(s.c.error, 0);
	for (size_t i = 0; i < 2; i++)
		assert_memory_equal(a[i], b[i], nn_page_bytes(&shape));
	pages_free(a);
	pages_free(b);
	setup_fini(&s);
}

/* x as a page of that type keeps it: rows of heads of n numbers. */
static void keep(float *x, size_t rows, size_t heads, size_t n, enum nn_page_type type)
{
	for (size_t i = 0; i < rows * heads; i++, x += n) {
		for (size_t j = 0; type == NN_PAGE_F16 && j < n; j++)
			x[j] = naive_from_half(naive_to_half(x[j], NN_F16), NN_F16);
		for (size_t j = 0; type == NN_PAGE_Q8 && j < n; j += 32) {
			size_t end = j + 32 < n ? j + 32 : n;
			float most = 0;

			for (size_t l = j; l < end; l++)
				most = fmaxf(most, fabsf(x[l]));
			for (size_t l = j; l < end; l++)
				x[l] = (float)lrintf(x[l] * (1 / (most / 127))) * (most / 127);
		}
	}
}

/* Narrow pages give the same bits as whole ones of the rounded numbers. */
static void narrow_pages_round_and_nothing_else(void **state)
{
	for (size_t i = 0; i < 2 * naive_n_paths * N_SHAPES; i++) {
		const struct shape *f = &shapes[i / 2 % N_SHAPES];
		enum nn_page_type type = i % 2 ? NN_PAGE_Q8 : NN_PAGE_F16;
		struct setup s;

		if (!f->causal || !setup_init(&s, i / 2 / N_SHAPES, f))
			continue;
		struct nn_page_shape shape = { (uint32_t)f->kv_heads, (uint32_t)f->dk, (uint32_t)f->dv, type };
		void **pages = pages_new(&s, &shape), *const *lists[MAX_T];

		for (size_t t = 0; t < f->t; t++)
			lists[t] = pages;
		struct nn_tensor y = nn_attention_paged(&s.c, s.q, &shape, lists, &s.how);

		keep(s.k.data, f->s, f->kv_heads, f->dk, type);
		keep(s.v.data, f->s, f->kv_heads, f->dv, type);
		struct nn_tensor z = nn_attention(&s.c, s.q, s.k, s.v, &s.how);

		assert_int_equal(s.c.error, 0);
		assert_memory_equal(y.data, z.data, f->t * f->heads * f->dv * 4);
		pages_free(pages);
		setup_fini(&s);
	}
}

/* The rounding to binary16: every number of that type, its neighbours, and what lies half-way between two. */
static void narrowing_is_to_the_nearest(void **state)
{
	for (size_t p = 0; p < naive_n_paths; p++) {
		struct nn_page_shape shape = { 1, 1, 1, NN_PAGE_F16 };
		_Alignas(64) uint16_t page[2 * NN_PAGE + NN_PAGE * NN_PAGE];
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		assert_true(nn_page_bytes(&shape) <= sizeof(page));
		for (uint32_t h = 0; h < 0x7c00 * 6; h++) {
			float f = naive_from_half((uint16_t)(h / 6), NN_F16), next = naive_from_half((uint16_t)(h / 6 + 1), NN_F16);
			float middle = isinf(next) ? 65520 : (f + next) / 2;
			float x[] = { f, nextafterf(f, INFINITY), middle, nextafterf(middle, 0), nextafterf(middle, INFINITY), -middle };

			nn_page_write(&c, page, &shape, 0, &x[h % 6], &x[h % 6]);
			if (page[0] != naive_to_half(x[h % 6], NN_F16))
				fail_msg("%a is %x, not %x", (double)x[h % 6], page[0], naive_to_half(x[h % 6], NN_F16));
		}
		naive_fini(&c);
	}
}

/* Adding up the values by the weights that are shown gives what attention gives, for every way that keys are kept. */
static void shown_weights_are_those_of_attention(void **state)
{
	for (size_t i = 0; i < 3 * N_SHAPES; i++) {
		const struct shape *f = &shapes[i / 3];
		const enum nn_page_type type = (enum nn_page_type)(i % 3);
		struct setup s;

		if (!f->causal || !setup_init(&s, 0, f))
			continue;
		struct nn_page_shape shape = { (uint32_t)f->kv_heads, (uint32_t)f->dk, (uint32_t)f->dv, type };
		void **pages = pages_new(&s, &shape), *const *lists[MAX_T];

		for (size_t t = 0; t < f->t; t++)
			lists[t] = pages;
		struct nn_tensor y = nn_attention_paged(&s.c, s.q, &shape, lists, &s.how);
		struct nn_tensor w = nn_attention_weights(&s.c, s.q, &shape, lists, &s.how);

		assert_int_equal(s.c.error, 0);
		assert_int_equal(w.cols, f->heads * f->s);
		keep(s.v.data, f->s, f->kv_heads, f->dv, type);
		for (size_t t = 0; t < f->t; t++)
			for (size_t j = 0; j < f->heads * f->dv; j++) {
				const size_t h = j / f->dv, kv = h / (f->heads / f->kv_heads);
				double sum = 0;

				for (size_t k = 0; k < f->s; k++)
					sum += (double)w.data[t * w.cols + h * f->s + k] * s.v.data[k * s.v.cols + kv * f->dv + j % f->dv];
				assert_true(fabs(sum - y.data[t * y.cols + j]) < 2e-5);
			}
		pages_free(pages);
		setup_fini(&s);
	}
}

static void a_row_that_sees_nothing_is_zero(void **state)
{
	static const struct shape f = { 3, 8, 2, 1, 8, 8, 1, 0, 0, 0 };
	struct setup s;

	assert_true(setup_init(&s, 0, &f));
	s.visible[1] = 0;
	struct nn_tensor y = nn_attention(&s.c, s.q, s.k, s.v, &s.how);

	for (size_t i = 0; i < y.cols; i++)
		assert_true(y.data[y.cols + i] == 0 && y.data[i] != 0 && isfinite(y.data[i]));
	setup_fini(&s);
}

static void wrong_shapes_are_refused(void **state)
{
	static const struct shape f = { 3, 8, 2, 1, 8, 8, 1, 0, 0, 0 };

	for (int i = 0; i < 5; i++) {
		struct setup s;

		assert_true(setup_init(&s, 0, &f));
		if (i == 0)
			s.how.heads = 3;
		else if (i == 1)
			s.how.kv_heads = 0;
		else if (i == 2)
			s.visible[2] = 9;
		else if (i == 3)
			s.v = nn_rows(s.v, 0, 7);
		else
			s.how.kv_heads = 2;
		assert_null(nn_attention(&s.c, s.q, s.k, s.v, &s.how).data);
		assert_int_equal(s.c.error, -EINVAL);
		setup_fini(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attention_equals_the_naive_one),
		cmocka_unit_test(a_row_does_not_depend_on_its_batch),
		cmocka_unit_test(sequences_do_not_mix),
		cmocka_unit_test(pages_are_written_by_rows),
		cmocka_unit_test(narrow_pages_round_and_nothing_else),
		cmocka_unit_test(narrowing_is_to_the_nearest),
		cmocka_unit_test(shown_weights_are_those_of_attention),
		cmocka_unit_test(a_row_that_sees_nothing_is_zero),
		cmocka_unit_test(wrong_shapes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

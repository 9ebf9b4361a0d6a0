/* test-dense.c - products in tiles of BF16: what rounding both sides gives and nothing else, or what f32 gives, on every path. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/nn/naive.h"

static const size_t shapes[][3] = { { 1, 1, 1 },    { 1, 40, 7 },    { 2, 32, 33 },    { 17, 65, 64 },   { 33, 96, 130 },
				    { 70, 33, 80 }, { 18, 70, 1300 }, { 650, 17, 130 }, { 31, 300, 40 }, { 34, 40, 2600 } };

enum { SHAPES = sizeof(shapes) / sizeof(*shapes) };

struct dense_case {
	size_t t, n, k;
	struct nn_checkpoint *checkpoint;
	struct nn_weight w, next;
	float *values, *rounded; /* the weight; the rounded one */
	float *b, *scale, *y, *want;
};

static float case_round(float f)
{
	return naive_from_half(naive_to_half(f, NN_BF16), NN_BF16);
}

/* The checkpoint owns packed weights; any model will do. */
static void case_init(struct dense_case *d, const size_t shape[3])
{
	char path[4096];
	struct nn_error error = { 0 };

	snprintf(path, sizeof(path), "%s/tests/goldens/dec_llama_gqa_theta", getenv("top_srcdir") ? getenv("top_srcdir") : ".");
	*d = (struct dense_case){ .t = shape[0], .n = shape[1], .k = shape[2], .checkpoint = nn_checkpoint_open(path, &error) };
	assert_non_null(d->checkpoint);
	d->values = malloc(d->n * d->k * sizeof(float));
	d->rounded = malloc(d->n * d->k * sizeof(float));
	naive_fill(d->values, d->n * d->k, d->k);
	for (size_t i = 0; i < d->n * d->k; i++)
		d->rounded[i] = case_round(d->values[i]);
	d->b = malloc(d->n * sizeof(float));
	d->scale = malloc(d->n * sizeof(float));
	naive_fill(d->b, d->n, 3);
	naive_fill(d->scale, d->n, 4);
	d->y = malloc(d->t * d->n * sizeof(float));
	d->want = malloc(d->t * d->n * sizeof(float));
	d->w = (struct nn_weight){ .name = "w", .data = d->values, .bytes = d->n * d->k * sizeof(float), .type = NN_F32, .rank = 2,
				   .shape = { d->n, d->k }, .rows = d->n, .cols = d->k };
	assert_int_equal(nn_weight_pack_as(d->checkpoint, &d->w, NN_COMPUTE_BF16, &error), 0);
	assert_non_null(d->w.halves);
}

/* After its values have changed. */
static void case_repack(struct dense_case *d)
{
	struct nn_error error = { 0 };

	d->w.halves = NULL;
	assert_int_equal(nn_weight_pack_as(d->checkpoint, &d->w, NN_COMPUTE_BF16, &error), 0);
}

static void case_fini(struct dense_case *d)
{
	nn_checkpoint_close(d->checkpoint);
	free(d->values);
	free(d->rounded);
	free(d->b);
	free(d->scale);
	free(d->y);
	free(d->want);
}

/* Rows with something between them. */
static struct nn_tensor case_rows(struct nn *c, const struct dense_case *d, float **rounded)
{
	struct nn_tensor wide = nn_new(c, d->t, d->k + 3), x = nn_cols(wide, 1, d->k);

	naive_fill(wide.data, d->t * (d->k + 3), d->t);
	*rounded = nn_copy(c, x).data;
	for (size_t i = 0; i < d->t * d->k; i++)
		(*rounded)[i] = case_round((*rounded)[i]);
	return x;
}

/* Sums of k products of f32 in any order. */
static double case_bound(const struct dense_case *d)
{
	return 3e-6 * sqrt((double)d->k);
}

static void products_round_both_sides_only(void **state)
{
	for (size_t p = 0; p < naive_n_paths; p++) {
		struct dense_case d;
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		for (size_t i = 0; i < SHAPES; i++) {
			float *rounded;

			case_init(&d, shapes[i]);
			struct nn_tensor x = case_rows(&c, &d, &rounded);

			naive_linear(d.want, rounded, d.rounded, d.b, d.t, d.n, d.k);
			struct nn_tensor y = nn_gemm(&c, x, &d.w, d.b);

			assert_int_equal(c.error, 0);
			assert_int_equal(y.rows * y.cols, d.t * d.n);
			naive_expect("nn_gemm in BF16", &c, y.data, d.want, d.t * d.n, case_bound(&d), 1e-5);
			case_fini(&d);
		}
		naive_fini(&c);
	}
}

/* y += gelu(x w^T + b) * scale. */
static void products_are_finished_as_said(void **state)
{
	for (size_t p = 0; p < naive_n_paths; p++) {
		struct dense_case d;
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		for (size_t i = 0; i < SHAPES; i++) {
			float *rounded;

			case_init(&d, shapes[i]);
			struct nn_tensor x = case_rows(&c, &d, &rounded);
			const struct nn_operand operand = nn_operand(&c, x, NULL, &d.w);

			naive_fill(d.y, d.t * d.n, 9);
			naive_linear(d.want, rounded, d.rounded, d.b, d.t, d.n, d.k);
			for (size_t j = 0; j < d.t * d.n; j++)
				d.want[j] = (float)(d.y[j] + naive_activation(d.want[j], NN_GELU_ERF) * d.scale[j % d.n]);
			nn_product_add(&c, nn_view(d.y, d.t, d.n), &operand,
				       &(struct nn_product){ &d.w, d.b, NN_GELU_ERF, d.scale });
			assert_int_equal(c.error, 0);
			naive_expect("nn_product_add", &c, d.y, d.want, d.t * d.n, case_bound(&d) + 1e-6, 1e-5);
			case_fini(&d);
		}
		naive_fini(&c);
	}
}

/* A product's result as an operand is the result as a tensor, rounded; a norm's too. */
static void operands_are_rounded_tensors(void **state)
{
	for (size_t p = 0; p < naive_n_paths; p++) {
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		for (size_t i = 0; i < SHAPES; i++) {
			const size_t shape[3] = { shapes[i][0], shapes[i][1], shapes[i][1] };
			struct dense_case d;
			float *rounded;

			case_init(&d, shape);
			struct nn_tensor x = case_rows(&c, &d, &rounded);
			const struct nn_operand_norm norm = { d.scale, d.b, 1e-5f, i % 2 };
			const struct nn_product product = { &d.w, d.b, NN_GELU_ERF, NULL };
			struct nn_operand a = nn_operand(&c, x, &norm, &d.w), b = nn_product_operand(&c, &a, &product, &d.w);
			struct nn_tensor normed = norm.rms ? nn_rms_norm(&c, x, norm.w, norm.eps) :
							     nn_layer_norm(&c, x, norm.w, norm.b, norm.eps);
			struct nn_tensor plain = nn_gemm(&c, normed, &d.w, d.b);

			nn_activate(&c, plain, NN_GELU_ERF);
			struct nn_tensor want = nn_gemm(&c, plain, &d.w, NULL), y = nn_product(&c, &b, &(struct nn_product){ .w = &d.w });

			assert_int_equal(c.error, 0);
			assert_memory_equal(y.data, want.data, d.t * d.n * sizeof(float));
			case_fini(&d);
		}
		naive_fini(&c);
	}
}

/* The weight of a case as another type's, its values rounded to that; in terms. */
static void case_exact(struct dense_case *d, enum nn_type type, uint16_t *halves)
{
	struct nn_error error = { 0 };

	for (size_t i = 0; type != NN_F32 && i < d->n * d->k; i++) {
		halves[i] = naive_to_half(d->values[i], type);
		d->values[i] = naive_from_half(halves[i], type);
	}
	d->w.halves = NULL;
	d->w.type = type;
	d->w.data = type == NN_F32 ? (const void *)d->values : halves;
	d->w.bytes = d->n * d->k * (type == NN_F32 ? sizeof(float) : sizeof(*halves));
	assert_int_equal(nn_weight_pack_as(d->checkpoint, &d->w, NN_COMPUTE_TERMS, &error), 0);
	assert_int_equal(d->w.terms, type == NN_F32 ? 3 : type == NN_F16 ? 2 : 1);
}

/* |got - want| <= 2^-22 of the sum of the products' absolute values: four times the rounding of each product in f32, and less than what
 * a sum of k products of f32 one after the other may be off by, which is k 2^-24. */
static void case_expect_exact(const struct dense_case *d, const struct nn *c, const float *x, const float *y)
{
	for (size_t t = 0; t < d->t; t++)
		for (size_t i = 0; i < d->n; i++) {
			double want = d->b[i], all = fabs(want);
			char what[96];

			for (size_t k = 0; k < d->k; k++) {
				want += (double)x[t * d->k + k] * d->values[i * d->k + k];
				all += fabs((double)x[t * d->k + k] * d->values[i * d->k + k]);
			}
			snprintf(what, sizeof(what), "a product of terms (%zu, %zu) of %zu", t, i, d->k);
			naive_expect(what, c, y + t * d->n + i, (const float[]){ (float)want }, 1, all * 0x1p-22, 0);
		}
}

static void products_of_terms_are_those_of_f32(void **state)
{
	static const enum nn_type types[] = { NN_F32, NN_F16, NN_BF16 };

	for (size_t p = 0; p < naive_n_paths; p++) {
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		for (size_t i = 0; i < SHAPES * 3; i++) {
			struct dense_case d;
			float *rounded;

			case_init(&d, shapes[i / 3]);
			uint16_t *halves = malloc(d.n * d.k * sizeof(*halves));

			assert_non_null(halves);
			case_exact(&d, types[i % 3], halves);
			struct nn_tensor x = case_rows(&c, &d, &rounded), whole = nn_copy(&c, x);

			/* Numbers of very different sizes. */
			for (size_t j = 0; j < x.cols; j++)
				x.data[j] = whole.data[j] *= j % 3 ? 1 : 1e-12f;
			struct nn_tensor y = nn_gemm(&c, x, &d.w, d.b);

			assert_int_equal(c.error, 0);
			case_expect_exact(&d, &c, whole.data, y.data);
			free(halves);
			case_fini(&d);
		}
		naive_fini(&c);
	}
}

/* Two products, one's result the other's operand, with what is between and behind them. */
static void operands_of_terms_are_tensors(void **state)
{
	for (size_t p = 0; p < naive_n_paths; p++) {
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		for (size_t i = 0; i < SHAPES; i++) {
			const size_t shape[3] = { shapes[i][0], shapes[i][1], shapes[i][1] };
			struct dense_case d;
			float *rounded;

			case_init(&d, shape);
			case_exact(&d, NN_F32, NULL);
			struct nn_tensor x = case_rows(&c, &d, &rounded);
			const struct nn_operand_norm norm = { d.scale, d.b, 1e-5f, i % 2 };
			const struct nn_operand a = nn_operand(&c, x, &norm, &d.w);
			const struct nn_operand b = nn_product_operand(&c, &a, &(struct nn_product){ &d.w, d.b, NN_SILU, NULL }, &d.w);
			struct nn_tensor y = nn_new(&c, d.t, d.n);
			struct nn_tensor plain = norm.rms ? nn_rms_norm(&c, x, norm.w, norm.eps) :
							    nn_layer_norm(&c, x, norm.w, norm.b, norm.eps);

			assert_true(a.exact && b.exact);
			naive_fill(y.data, d.t * d.n, 9);
			memcpy(d.y, y.data, d.t * d.n * sizeof(float));
			nn_product_add(&c, y, &b, &(struct nn_product){ &d.w, NULL, NN_IDENTITY, d.scale });
			plain = nn_gemm(&c, plain, &d.w, d.b);
			nn_activate(&c, plain, NN_SILU);
			naive_linear(d.want, plain.data, d.values, NULL, d.t, d.n, d.n);
			for (size_t j = 0; j < d.t * d.n; j++)
				d.want[j] = d.y[j] + d.want[j] * d.scale[j % d.n];
			assert_int_equal(c.error, 0);
			naive_expect("an operand of terms", &c, y.data, d.want, d.t * d.n, case_bound(&d) + 1e-6, 1e-5);
			case_fini(&d);
		}
		naive_fini(&c);
	}
}

/* In f32 the same calls give f32's results. */
static void operands_of_f32_are_tensors(void **state)
{
	for (size_t p = 0; p < naive_n_paths; p++) {
		struct dense_case d;
		struct nn c;
		float *rounded;

		if (!naive_init(&c, p))
			continue;
		case_init(&d, shapes[5]);
		d.w.halves = NULL;
		struct nn_tensor x = case_rows(&c, &d, &rounded), whole = nn_copy(&c, x);
		const struct nn_operand operand = nn_operand(&c, x, NULL, &d.w);

		naive_linear(d.want, whole.data, d.values, d.b, d.t, d.n, d.k);
		for (size_t j = 0; j < d.t * d.n; j++)
			d.want[j] = (float)(naive_activation(d.want[j], NN_GELU_QUICK) * d.scale[j % d.n]);
		struct nn_tensor y = nn_product(&c, &operand, &(struct nn_product){ &d.w, d.b, NN_GELU_QUICK, d.scale });

		assert_int_equal(c.error, 0);
		naive_expect("nn_product in f32", &c, y.data, d.want, d.t * d.n, case_bound(&d) + 1e-6, 1e-5);
		case_fini(&d);
		naive_fini(&c);
	}
}

/* q, k, v and weights are rounded to 8 bits: of weights that sum to 1 and values below 1 that is less than 2^-7, and a score's
 * error moves a weight by its own part. */
static void attention_is_near_that_of_f32(void **state)
{
	/* Rows, keys, heads, heads of keys, dk, dv, and whether rows see a part only. */
	static const struct {
		uint32_t t, s, heads, kv, dk, dv;
		int part;
	} sizes[] = { { 1, 1, 1, 1, 4, 4, 0 },	   { 33, 33, 4, 2, 64, 64, 0 }, { 50, 50, 2, 2, 72, 80, 1 },
		      { 17, 700, 2, 1, 40, 64, 1 }, { 5, 1300, 1, 1, 16, 24, 0 }, { 70, 70, 1, 1, 128, 5, 1 } };

	for (size_t p = 0; p < naive_n_paths; p++) {
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			const uint32_t t = sizes[i].t, s = sizes[i].s, heads = sizes[i].heads, kv = sizes[i].kv;
			struct nn_tensor q = nn_new(&c, t, heads * sizes[i].dk), k = nn_new(&c, s, kv * sizes[i].dk);
			struct nn_tensor v = nn_new(&c, s, kv * sizes[i].dv), want = nn_new(&c, t, heads * sizes[i].dv);
			uint32_t *first = nn_memory(&c, t, sizeof(*first)), *visible = nn_memory(&c, t, sizeof(*visible));
			struct nn_attention how = { .heads = heads, .kv_heads = kv, .scale = 1 / sqrtf((float)sizes[i].dk) };

			naive_fill(q.data, q.rows * q.cols, 1);
			naive_fill(k.data, k.rows * k.cols, 2);
			naive_fill(v.data, v.rows * v.cols, 3);
			for (uint32_t r = 0; r < t; r++) {
				first[r] = r % 5 * s / 9;
				visible[r] = r % 7 == 3 ? first[r] : s - r % 4 * s / 11;
			}
			if (sizes[i].part)
				how.first = first, how.visible = visible;
			naive_attention(want.data, q.data, k.data, v.data, t, s, sizes[i].dk, sizes[i].dv, &how);
			how.compute = NN_COMPUTE_BF16;
			struct nn_tensor y = nn_attention(&c, q, k, v, &how);

			assert_int_equal(c.error, 0);
			naive_expect("nn_attention in BF16", &c, y.data, want.data, y.rows * y.cols, 0.012, 0);
			how.compute = NN_COMPUTE_TERMS;
			y = nn_attention(&c, q, k, v, &how);
			/* As nn_attention in f32. */
			naive_expect("nn_attention in terms", &c, y.data, want.data, y.rows * y.cols, 2e-6, 1e-5);
		}
		naive_fini(&c);
	}
}

/* Where a result is rounded to BF16 anyway, activations have some bits more than that: the result is off by half of BF16's last bit
 * (2^-8) and little more. */
static void activations_are_near_before_rounding(void **state)
{
	static const size_t shape[3] = { 257, 40, 1 }, next[3] = { 1, 40, 40 };

	for (size_t p = 0; p < naive_n_paths; p++) {
		struct dense_case d, e;
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		case_init(&d, shape);
		case_init(&e, next);
		for (size_t i = 0; i < d.n; i++)
			d.values[i] = 1;
		for (size_t i = 0; i < e.n * e.k; i++)
			e.values[i] = i % (e.k + 1) == 0;
		case_repack(&d);
		case_repack(&e);
		struct nn_tensor x = nn_new(&c, d.t, 1);

		for (size_t i = 0; i < d.t; i++)
			x.data[i] = ((float)i - 128) / 4;
		const struct nn_operand operand = nn_operand(&c, x, NULL, &d.w);

		for (enum nn_activation how = NN_IDENTITY; how <= NN_SIGMOID; how++) {
			const struct nn_operand h = nn_product_operand(&c, &operand, &(struct nn_product){ &d.w, NULL, how, NULL }, &e.w);
			struct nn_tensor y = nn_product(&c, &h, &(struct nn_product){ .w = &e.w });

			assert_int_equal(c.error, 0);
			for (size_t i = 0; i < d.t * d.n; i++)
				d.want[i] = (float)naive_activation(x.data[i / d.n], how);
			naive_expect("a rounded activation", &c, y.data, d.want, d.t * d.n, 1e-6, 0x1p-8 + 0x1p-13);
		}
		case_fini(&d);
		case_fini(&e);
		naive_fini(&c);
	}
}

/* The products' attention is that of the products: the same roundings at the same places. */
static void attention_of_products_is_theirs(void **state)
{
	static const struct {
		uint32_t t, heads, kv, dk, dv;
		int part;
	} sizes[] = { { 1, 1, 1, 32, 32, 0 }, { 33, 2, 2, 64, 64, 0 }, { 70, 2, 1, 32, 96, 1 }, { 650, 1, 1, 64, 32, 1 }, { 650, 2, 2, 32, 32, 0 },
		      { 40, 2, 2, 40, 40, 0 } };

	for (size_t p = 0; p < naive_n_paths; p++) {
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		for (size_t at = 0; at < 2 * sizeof(sizes) / sizeof(*sizes); at++) {
			const size_t i = at / 2;
			const uint32_t t = sizes[i].t, heads = sizes[i].heads, kv = sizes[i].kv, dk = sizes[i].dk, dv = sizes[i].dv;
			const size_t qk[3] = { t, heads * dk, 48 }, k_shape[3] = { t, kv * dk, 48 }, v_shape[3] = { t, kv * dv, 48 };
			const size_t out[3] = { t, 50, heads * dv };
			struct nn_attention how = { .heads = heads, .kv_heads = kv, .scale = 0.3f,
						    .compute = at % 2 ? NN_COMPUTE_TERMS : NN_COMPUTE_BF16 };
			uint32_t *first = nn_memory(&c, t, sizeof(*first)), *visible = nn_memory(&c, t, sizeof(*visible));
			struct dense_case d[4];
			float *rounded;

			case_init(&d[0], qk);
			case_init(&d[1], k_shape);
			case_init(&d[2], v_shape);
			case_init(&d[3], out);
			for (int j = 0; at % 2 && j < 4; j++)
				case_exact(&d[j], NN_F32, NULL);
			for (uint32_t r = 0; r < t; r++) {
				first[r] = r % 5 * t / 9;
				visible[r] = r % 7 == 3 ? first[r] : t - r % 4 * t / 11;
			}
			if (sizes[i].part)
				how.first = first, how.visible = visible;
			const struct nn_operand x = nn_operand(&c, case_rows(&c, &d[0], &rounded), NULL, &d[0].w);
			const struct nn_product qkv[3] = { { .w = &d[0].w, .b = d[0].b }, { .w = &d[1].w, .b = d[1].b },
							   { .w = &d[2].w, .b = d[2].b } };
			struct nn_tensor q = nn_product(&c, &x, &qkv[0]), k = nn_product(&c, &x, &qkv[1]), v = nn_product(&c, &x, &qkv[2]);
			const struct nn_operand want = nn_operand(&c, nn_attention(&c, q, k, v, &how), NULL, &d[3].w);
			const struct nn_operand got = nn_product_attention(&c, &x, qkv, &how, &d[3].w);
			struct nn_tensor a = nn_product(&c, &want, &(struct nn_product){ .w = &d[3].w });
			struct nn_tensor b = nn_product(&c, &got, &(struct nn_product){ .w = &d[3].w });

			assert_int_equal(c.error, 0);
			assert_memory_equal(a.data, b.data, a.rows * a.cols * sizeof(float));
			for (int j = 0; j < 4; j++)
				case_fini(&d[j]);
		}
		naive_fini(&c);
	}
}

static void wrong_operands_are_refused(void **state)
{
	struct dense_case d;
	struct nn c;
	float *rounded;

	assert_true(naive_init(&c, 0));
	case_init(&d, shapes[3]);
	struct nn_tensor x = case_rows(&c, &d, &rounded);
	const struct nn_operand plain = nn_operand(&c, x, NULL, NULL);

	nn_product(&c, &plain, &(struct nn_product){ .w = &d.w });
	assert_int_equal(c.error, -EINVAL);
	c.error = 0;
	const struct nn_operand narrow = nn_operand(&c, nn_cols(x, 0, d.k - 1), NULL, &d.w);

	nn_product(&c, &narrow, &(struct nn_product){ .w = &d.w });
	assert_int_equal(c.error, -EINVAL);
	c.error = 0;
	assert_int_equal(nn_compute_named("f64"), -1);
	assert_int_equal(nn_compute_named("bf16"), NN_COMPUTE_BF16);
	case_fini(&d);
	naive_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(products_round_both_sides_only), cmocka_unit_test(products_are_finished_as_said),
		cmocka_unit_test(operands_are_rounded_tensors),   cmocka_unit_test(operands_of_f32_are_tensors),
		cmocka_unit_test(attention_is_near_that_of_f32),  cmocka_unit_test(activations_are_near_before_rounding),
		cmocka_unit_test(attention_of_products_is_theirs), cmocka_unit_test(products_of_terms_are_those_of_f32),
		cmocka_unit_test(operands_of_terms_are_tensors), cmocka_unit_test(wrong_operands_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

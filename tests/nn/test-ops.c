/* test-ops.c - operations on rows: right on every path, and each row by itself. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/nn/naive.h"

static const size_t widths[] = { 1, 3, 16, 19, 64, 100, 1024, 1031 };

enum { N_WIDTHS = sizeof(widths) / sizeof(*widths), ROWS = 21 };

/* Runs `check` on every path and width, with x (ROWS, n) between other columns. */
static void everywhere(void (*check)(struct nn *c, struct nn_tensor x, size_t n))
{
	for (size_t i = 0; i < naive_n_paths * N_WIDTHS; i++) {
		size_t n = widths[i % N_WIDTHS];
		struct nn c;

		if (!naive_init(&c, i / N_WIDTHS))
			continue;
		struct nn_tensor wide = nn_new(&c, ROWS, n + 5);

		naive_fill(wide.data, ROWS * (n + 5), i);
		nn_scale(&c, wide, 4.0f);
		check(&c, nn_cols(wide, 2, n), n);
		assert_int_equal(c.error, 0);
		assert_true(wide.data[1] >= -4 && wide.data[1] < 4);
		naive_fini(&c);
	}
}

/* Each row of y again from its row of x alone: the same bits. */
static void alone(struct nn *c, struct nn_tensor x, struct nn_tensor y, struct nn_tensor (*f)(struct nn *c, struct nn_tensor x))
{
	for (size_t r = 0; r < x.rows; r++) {
		struct nn_tensor z = f(c, nn_rows(x, r, 1));

		assert_memory_equal(z.data, y.data + r * y.stride, z.cols * 4);
	}
}

static const float *norm_weights(struct nn *c, size_t n, uint64_t seed)
{
	float *w = nn_memory(c, n, sizeof(*w));

	naive_fill(w, n, seed);
	return w;
}

static struct nn_tensor layer_norm(struct nn *c, struct nn_tensor x)
{
	return nn_layer_norm(c, x, norm_weights(c, x.cols, 1), norm_weights(c, x.cols, 2), 1e-5f);
}

static void check_layer_norm(struct nn *c, struct nn_tensor x, size_t n)
{
	struct nn_tensor y = layer_norm(c, x), plain = nn_copy(c, x), want = nn_new(c, ROWS, n);

	naive_layer_norm(want.data, plain.data, norm_weights(c, n, 1), norm_weights(c, n, 2), ROWS, n, 1e-5f);
	/* One number has no variance but what rounding leaves: then eps decides, and all is bias. */
	naive_expect("nn_layer_norm", c, y.data, want.data, ROWS * n, 4e-6, 1e-5);
	alone(c, x, y, layer_norm);
	y = nn_layer_norm(c, x, norm_weights(c, n, 1), NULL, 1e-5f);
	naive_layer_norm(want.data, plain.data, norm_weights(c, n, 1), NULL, ROWS, n, 1e-5f);
	naive_expect("nn_layer_norm without bias", c, y.data, want.data, ROWS * n, 4e-6, 1e-5);
}

static void layer_norm_equals_the_naive_one(void **state)
{
	everywhere(check_layer_norm);
}

static struct nn_tensor rms_norm(struct nn *c, struct nn_tensor x)
{
	return nn_rms_norm(c, x, norm_weights(c, x.cols, 1), 1e-6f);
}

static void check_rms_norm(struct nn *c, struct nn_tensor x, size_t n)
{
	struct nn_tensor y = rms_norm(c, x), plain = nn_copy(c, x), want = nn_new(c, ROWS, n);

	naive_rms_norm(want.data, plain.data, norm_weights(c, n, 1), ROWS, n, 1e-6f);
	naive_expect("nn_rms_norm", c, y.data, want.data, ROWS * n, 1e-7, 2e-6);
	alone(c, x, y, rms_norm);
}

static void rms_norm_equals_the_naive_one(void **state)
{
	everywhere(check_rms_norm);
}

static struct nn_tensor softmax(struct nn *c, struct nn_tensor x)
{
	struct nn_tensor y = nn_copy(c, x);

	nn_softmax(c, y);
	return y;
}

static void check_softmax(struct nn *c, struct nn_tensor x, size_t n)
{
	struct nn_tensor y = softmax(c, x), plain = nn_copy(c, x), want = nn_new(c, ROWS, n);

	naive_softmax(want.data, plain.data, ROWS, n);
	naive_expect("nn_softmax", c, y.data, want.data, ROWS * n, 1e-9, 3e-6);
	alone(c, x, y, softmax);
}

static void softmax_equals_the_naive_one(void **state)
{
	everywhere(check_softmax);
}

static void check_sums(struct nn *c, struct nn_tensor x, size_t n)
{
	struct nn_tensor a = nn_copy(c, x), b = nn_copy(c, x), sum;

	naive_fill(b.data, ROWS * n, 9);
	sum = nn_add(c, x, b);
	nn_add_to(c, a, b);
	nn_scale(c, a, 0.5f);
	for (size_t i = 0; i < ROWS * n; i++) {
		float want = x.data[i / n * x.stride + i % n] + b.data[i];

		assert_true(sum.data[i] == want && a.data[i] == want * 0.5f);
	}
}

static void sums_are_exact(void **state)
{
	everywhere(check_sums);
}

static void check_gate(struct nn *c, struct nn_tensor x, size_t n)
{
	struct nn_tensor up = nn_copy(c, x), want = nn_copy(c, x);

	naive_fill(up.data, ROWS * n, 9);
	for (size_t i = 0; i < ROWS * n; i++)
		want.data[i] = (float)(naive_activation(want.data[i], NN_SILU) * up.data[i]);
	struct nn_tensor y = nn_copy(c, nn_gate(c, x, up, NN_SILU));

	naive_expect("nn_gate", c, y.data, want.data, ROWS * n, 1e-9, 1e-6);
}

static void gate_equals_the_naive_one(void **state)
{
	everywhere(check_gate);
}

/* Over all magnitudes, both signs: a few units in the last place, and the special values. */
static void activations_are_exact_to_a_millionth(void **state)
{
	enum { N = 40001 };

	for (size_t i = 0; i < naive_n_paths * 8; i++) {
		enum nn_activation how = (enum nn_activation)(i % 8);
		struct nn c;

		if (!naive_init(&c, i / 8))
			continue;
		struct nn_tensor x = nn_new(&c, 1, N), want = nn_new(&c, 1, N);

		for (int j = 0; j < N; j++) {
			x.data[j] = j % 2 ? (float)(j - N / 2) * 1e-3f : (float)ldexp(j % 4 ? 1.37 : -1.37, j % 50 - 45);
			want.data[j] = (float)naive_activation(x.data[j], how);
		}
		nn_activate(&c, x, how);
		/* The negative tails of gelu are exponentials of squares and cubes, whose rounding errors count in full: one unit
		 * in the last place of an exponent near 50 is 4e-6. */
		naive_expect("nn_activate", &c, x.data, want.data, N, 1e-12,
			     how == NN_GELU_TANH || how == NN_GELU_ERF ? 4e-6 : 1.2e-6);
		naive_fini(&c);
	}
}

static void infinities_pass_and_nan_stays(void **state)
{
	for (size_t i = 0; i < naive_n_paths; i++) {
		struct nn c;

		if (!naive_init(&c, i))
			continue;
		for (int how = NN_RELU; how <= NN_SIGMOID; how++) {
			float x[3] = { INFINITY, NAN, -60.0f };

			nn_activate(&c, nn_view(x, 1, 3), (enum nn_activation)how);
			assert_true(how >= NN_TANH ? x[0] == 1.0f : x[0] == INFINITY);
			assert_true(isnan(x[1]));
			assert_true(how == NN_TANH ? x[2] == -1.0f : x[2] <= 0 || x[2] < 1e-20f);
		}
		naive_fini(&c);
	}
}

static void embeddings_are_rows_of_the_table(void **state)
{
	uint16_t table[7 * 5];
	int32_t ids[] = { 6, 0, 3 }, bad[] = { 7 }, negative[] = { -1 };

	for (size_t i = 0; i < naive_n_paths * 2; i++) {
		enum nn_type type = i % 2 ? NN_F16 : NN_BF16;
		struct nn_weight w = { .data = table, .type = type, .rows = 7, .cols = 5 };
		struct nn c;

		if (!naive_init(&c, i / 2))
			continue;
		for (size_t j = 0; j < 35; j++)
			table[j] = (uint16_t)(j * 1873 % 0x7c00);
		struct nn_tensor y = nn_embed(&c, &w, ids, 3);

		for (size_t j = 0; j < 15; j++)
			assert_true(y.data[j] == naive_from_half(table[(size_t)ids[j / 5] * 5 + j % 5], type));
		nn_embed(&c, &w, bad, 1);
		assert_int_equal(c.error, -EINVAL);
		c.error = 0;
		nn_embed(&c, &w, negative, 1);
		assert_int_equal(c.error, -EINVAL);
		naive_fini(&c);
	}
}

/* All 65536 values of both 16-bit types. */
static void halves_are_widened_exactly(void **state)
{
	uint16_t *all = malloc(65536 * 2);
	struct nn_weight w = { .data = all, .rows = 1, .cols = 65536 };
	int32_t id = 0;

	for (size_t i = 0; i < 65536; i++)
		all[i] = (uint16_t)i;
	for (size_t i = 0; i < naive_n_paths * 2; i++) {
		struct nn c;

		w.type = i % 2 ? NN_F16 : NN_BF16;
		if (!naive_init(&c, i / 2))
			continue;
		struct nn_tensor y = nn_embed(&c, &w, &id, 1);

		for (size_t j = 0; j < 65536; j++) {
			float want = naive_from_half((uint16_t)j, w.type);

			assert_true(isnan(want) ? isnan(y.data[j]) : !memcmp(&want, &y.data[j], 4));
		}
		naive_fini(&c);
	}
	free(all);
}

/* nn_rotate by the same angles gives `want`; a row with the angle 0 stays. */
static void rotate_is_rope(struct nn *c, struct nn_tensor x, struct nn_tensor want, const int32_t *position, uint32_t heads,
			   const struct nn_rope *rope)
{
	const size_t half = rope->dim / 2;
	struct nn_tensor cosine = nn_new(c, x.rows, half), sine = nn_new(c, x.rows, half), y = nn_copy(c, x);
	const struct nn_rotary rotary = { cosine.data, sine.data, rope->dim, rope->interleaved };

	for (size_t i = 0; i < x.rows * half; i++) {
		const float angle = (float)position[i / half] * rope->inv_freq[i % half];

		cosine.data[i] = cosf(angle) * rope->attention_scale;
		sine.data[i] = sinf(angle) * rope->attention_scale;
	}
	nn_rotate(c, y, heads, &rotary);
	for (size_t i = 0; i < x.rows * x.cols; i++)
		assert_true(fabsf(want.data[i] - y.data[i]) < 3e-7f);
	for (size_t i = 0; i < half; i++)
		cosine.data[i] = 1, sine.data[i] = 0;
	memcpy(y.data, x.data, x.rows * x.cols * sizeof(float));
	nn_rotate(c, y, heads, &rotary);
	assert_memory_equal(y.data, x.data, x.cols * sizeof(float));
}

static void rope_turns_pairs(void **state)
{
	enum { T = 5, HEADS = 3, DIM = 16, TURNED = 12 };
	float inv_freq[TURNED / 2];
	int32_t position[T] = { 0, 1, 17, 4000, 2 };

	for (int i = 0; i < TURNED / 2; i++)
		inv_freq[i] = powf(10000.0f, -2.0f * (float)i / TURNED);
	for (int interleaved = 0; interleaved < 2; interleaved++) {
		struct nn_rope rope = { .inv_freq = inv_freq, .attention_scale = 0.75f, .interleaved = interleaved, .dim = TURNED };
		struct nn c;

		assert_true(naive_init(&c, 0));
		struct nn_tensor x = nn_new(&c, T, HEADS * DIM);

		naive_fill(x.data, T * HEADS * DIM, 3);
		struct nn_tensor y = nn_copy(&c, x);

		nn_rope(&c, y, position, HEADS, &rope);
		for (size_t i = 0; i < T * HEADS * DIM; i++) {
			size_t d = i % DIM, half = TURNED / 2, pair = interleaved ? d / 2 : d % half;
			size_t second = interleaved ? d % 2 : d / half;
			size_t other = interleaved ? i + 1 - 2 * second : second ? i - half : i + half;
			float angle = d < TURNED ? (float)position[i / (HEADS * DIM)] * inv_freq[pair] : 0;
			double want = x.data[i];

			if (d < TURNED)
				want = 0.75 * (x.data[i] * cos(angle) + (second ? 1 : -1) * x.data[other] * sin(angle));
			assert_true(fabs(want - y.data[i]) < 3e-7);
		}
		rotate_is_rope(&c, x, y, position, HEADS, &rope);
		rope.dim = DIM + 2;
		nn_rope(&c, y, position, HEADS, &rope);
		assert_int_equal(c.error, -EINVAL);
		naive_fini(&c);
	}
}

/* Each pair turns as if all turned by the component that it is given. */
static void rope_turns_pairs_by_their_components(void **state)
{
	enum { T = 3, HEADS = 2, DIM = 16, TURNED = 12 };
	const float inv_freq[TURNED / 2] = { 1, 0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f };
	const unsigned char axis[TURNED / 2] = { 0, 1, 1, 2, 2, 0 };
	const int32_t positions[T][NN_ROPE_AXES] = { { 0, 3, 9, 0 }, { 5, 5, 5, 5 }, { 700, 2, 41, 0 } };
	struct nn_rope rope = { .inv_freq = inv_freq, .attention_scale = 1, .dim = TURNED }, sections = rope;
	struct nn c;

	sections.axis = axis;
	assert_true(naive_init(&c, 0));
	struct nn_tensor x = nn_new(&c, T, HEADS * DIM), y;

	naive_fill(x.data, T * HEADS * DIM, 4);
	y = nn_copy(&c, x);
	nn_rope(&c, y, positions[0], HEADS, &sections);
	for (size_t a = 0; a < 3; a++) {
		const int32_t one[T] = { positions[0][a], positions[1][a], positions[2][a] };
		struct nn_tensor z = nn_copy(&c, x);

		nn_rope(&c, z, one, HEADS, &rope);
		for (size_t i = 0; i < T * HEADS * DIM; i++) {
			const size_t d = i % DIM;

			if (d >= TURNED || axis[d % (TURNED / 2)] == a)
				assert_true(y.data[i] == z.data[i]);
		}
	}
	assert_int_equal(c.error, 0);
	naive_fini(&c);
}

/* Each channel's 7 x 7 neighbours, zeros around; channels that are no whole vectors, and rows shorter than a block. */
static void depthwise_is_its_sum(void **state)
{
	static const struct {
		uint32_t height, width;
		size_t channels;
	} sizes[] = { { 1, 1, 3 }, { 9, 5, 17 }, { 4, 11, 48 }, { 8, 8, 33 } };

	for (size_t i = 0; i < naive_n_paths * 4; i++) {
		const uint32_t h = sizes[i % 4].height, width = sizes[i % 4].width;
		const size_t n = sizes[i % 4].channels;
		struct nn c;

		if (!naive_init(&c, i / 4))
			continue;
		struct nn_tensor x = nn_new(&c, (size_t)h * width, n), w = nn_new(&c, 49, n), b = nn_new(&c, 1, n);

		naive_fill(x.data, x.rows * n, 1);
		naive_fill(w.data, 49 * n, 1);
		naive_fill(b.data, n, 1);
		struct nn_tensor y = nn_depthwise(&c, x, h, width, w.data, b.data);

		for (size_t at = 0; at < x.rows * n; at++) {
			const long row = (long)(at / n / width), col = (long)(at / n % width);
			double want = b.data[at % n];

			for (long k = 0; k < 49; k++) {
				const long r = row + k / 7 - 3, q = col + k % 7 - 3;

				if (r >= 0 && r < (long)h && q >= 0 && q < (long)width)
					want += (double)x.data[((size_t)r * width + (size_t)q) * n + at % n] * w.data[(size_t)k * n + at % n];
			}
			assert_true(fabs(want - y.data[at]) < 2e-5);
		}
		nn_depthwise(&c, x, h + 1, width, w.data, b.data);
		assert_int_equal(c.error, -EINVAL);
		naive_fini(&c);
	}
}

static void activations_have_names(void **state)
{
	assert_int_equal(nn_activation_named("gelu"), NN_GELU_ERF);
	assert_int_equal(nn_activation_named("quick_gelu"), NN_GELU_QUICK);
	assert_int_equal(nn_activation_named("gelu_pytorch_tanh"), NN_GELU_TANH);
	assert_int_equal(nn_activation_named("silu"), NN_SILU);
	assert_int_equal(nn_activation_named("softsign"), -1);
	assert_int_equal(nn_activation_named(NULL), -1);
}

static void patches_are_rows_of_the_picture(void **state)
{
	struct nn c;
	float pixels[3 * 5 * 7];

	for (int i = 0; i < 105; i++)
		pixels[i] = (float)i;
	assert_true(naive_init(&c, 0));
	struct nn_tensor y = nn_patches(&c, pixels, 5, 7, 2);

	assert_int_equal(y.rows, 6);
	assert_int_equal(y.cols, 12);
	for (size_t i = 0; i < 72; i++) {
		size_t patch = i / 12, plane = i % 12 / 4, row = patch / 3 * 2 + i % 4 / 2, col = patch % 3 * 2 + i % 2;

		assert_true(y.data[i] == (float)(plane * 35 + row * 7 + col));
	}
	nn_patches(&c, pixels, 5, 7, 6);
	assert_int_equal(c.error, -EINVAL);
	naive_fini(&c);
}

static void a_grid_of_its_own_size_stays(void **state)
{
	struct nn c;

	assert_true(naive_init(&c, 1));
	struct nn_tensor x = nn_new(&c, 12, 5);

	naive_fill(x.data, 60, 4);
	struct nn_tensor y = nn_resize_grid(&c, x, 3, 4, 3, 4);

	naive_expect("nn_resize_grid", &c, y.data, x.data, 60, 1e-7, 0);
	nn_resize_grid(&c, x, 4, 4, 3, 4);
	assert_int_equal(c.error, -EINVAL);
	naive_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layer_norm_equals_the_naive_one),
		cmocka_unit_test(rms_norm_equals_the_naive_one),
		cmocka_unit_test(softmax_equals_the_naive_one),
		cmocka_unit_test(sums_are_exact),
		cmocka_unit_test(gate_equals_the_naive_one),
		cmocka_unit_test(activations_are_exact_to_a_millionth),
		cmocka_unit_test(infinities_pass_and_nan_stays),
		cmocka_unit_test(embeddings_are_rows_of_the_table),
		cmocka_unit_test(halves_are_widened_exactly),
		cmocka_unit_test(rope_turns_pairs),
		cmocka_unit_test(depthwise_is_its_sum),
		cmocka_unit_test(rope_turns_pairs_by_their_components),
		cmocka_unit_test(activations_have_names),
		cmocka_unit_test(patches_are_rows_of_the_picture),
		cmocka_unit_test(a_grid_of_its_own_size_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

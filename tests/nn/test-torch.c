/* test-torch.c - operations against what PyTorch computed (tests/goldens/train_ops). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/nn/naive.h"

/* 1e-6 is about eight units in the last place of numbers near 1, what sums of 24 terms in another order may differ by. */
static const double tolerance_abs = 1e-6, tolerance_rel = 2e-6;

static struct nn_checkpoint *goldens_open(struct nn_error *error)
{
	const char *top = getenv("top_srcdir");
	char path[4096];

	snprintf(path, sizeof(path), "%s/tests/goldens/train_ops/io.safetensors", top ? top : ".");
	struct nn_checkpoint *cp = nn_checkpoint_open(path, error);

	if (!cp)
		fail_msg("%s", error->text);
	return cp;
}

/* Tensor NAME.PART as a matrix of `cols` columns. */
static struct nn_tensor golden(struct nn_checkpoint *cp, const char *name, const char *part, size_t cols)
{
	char full[128];

	snprintf(full, sizeof(full), "%s.%s", name, part);
	struct nn_weight *w = nn_checkpoint_weight(cp, full);

	assert_non_null(w);
	return nn_view((float *)nn_weight_f32(cp, w), w->rows * w->cols / cols, cols);
}

static struct nn_tensor run_rms_norm(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	return nn_rms_norm(c, x, golden(cp, "rms_norm", "in.w", 24).data, 1e-5f);
}

static struct nn_tensor run_layer_norm(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	return nn_layer_norm(c, x, golden(cp, "layer_norm", "in.w", 24).data, golden(cp, "layer_norm", "in.b", 24).data, 1e-5f);
}

static struct nn_tensor run_softmax(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	nn_softmax(c, x);
	return x;
}

static struct nn_tensor run_gelu_erf(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	nn_activate(c, x, NN_GELU_ERF);
	return x;
}

static struct nn_tensor run_gelu_tanh(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	nn_activate(c, x, NN_GELU_TANH);
	return x;
}

static struct nn_tensor run_quick_gelu(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	nn_activate(c, x, NN_GELU_QUICK);
	return x;
}

static struct nn_tensor run_silu(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	nn_activate(c, x, NN_SILU);
	return x;
}

static struct nn_tensor run_swiglu(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	return nn_gate(c, x, golden(cp, "swiglu", "in.b", 24), NN_SILU);
}

static struct nn_tensor run_linear(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	const float *b = golden(cp, "linear", "in.b", 7).data;
	struct nn_weight *w = nn_checkpoint_weight(cp, "linear.in.w");
	struct nn_tensor y = nn_linear(c, x, w, b), z;

	assert_int_equal(nn_weight_pack(cp, w, NULL), 0);
	z = nn_linear(c, x, w, b);
	assert_memory_equal(y.data, z.data, 5 * 7 * 4);
	return z;
}

/* Two heads of six rows. */
static struct nn_tensor run_rope(struct nn *c, struct nn_tensor x, int interleaved)
{
	const float inv_freq[] = { 1.0f, 0.1f, 0.01f, 0.001f };
	const int32_t position[] = { 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5 };
	struct nn_rope rope = { .inv_freq = inv_freq, .attention_scale = 1, .interleaved = interleaved, .dim = 8 };

	nn_rope(c, x, position, 1, &rope);
	return x;
}

static struct nn_tensor run_rope_half(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	return run_rope(c, x, 0);
}

static struct nn_tensor run_rope_interleaved(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	return run_rope(c, x, 1);
}

/* Heads before rows: each head by itself. */
static struct nn_tensor run_attention(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor q)
{
	const uint32_t visible[] = { 1, 2, 3, 4, 5, 6 };
	struct nn_attention how = { .heads = 1, .kv_heads = 1, .scale = sqrtf(1.0f / 8), .visible = visible };
	struct nn_tensor k = golden(cp, "attention_causal", "in.k", 8), v = golden(cp, "attention_causal", "in.v", 8);
	struct nn_tensor out = nn_new(c, 12, 8);

	for (size_t h = 0; h < 2; h++) {
		struct nn_tensor y = nn_attention(c, nn_rows(q, h * 6, 6), nn_rows(k, h * 6, 6), nn_rows(v, h * 6, 6), &how);

		memcpy(out.data + h * 48, y.data, 48 * sizeof(float));
	}
	return out;
}

/* x is planes of 4 x 5: as a table of 20 rows, and back. */
static struct nn_tensor run_bicubic(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x)
{
	struct nn_tensor table = nn_new(c, 20, 2), y, out = nn_new(c, 1, 2 * 63);

	for (size_t i = 0; i < 40; i++)
		table.data[i] = x.data[i % 2 * 20 + i / 2];
	y = nn_resize_grid(c, table, 4, 5, 7, 9);
	for (size_t i = 0; i < 126; i++)
		out.data[i] = y.data[i % 63 * 2 + i / 63];
	return out;
}

static const struct golden_op {
	const char *name, *in;
	size_t cols;
	struct nn_tensor (*run)(struct nn *c, struct nn_checkpoint *cp, struct nn_tensor x);
} golden_ops[] = {
	{ "rms_norm", "in.x", 24, run_rms_norm },	  { "layer_norm", "in.x", 24, run_layer_norm },
	{ "softmax", "in.x", 24, run_softmax },		  { "gelu_erf", "in.x", 24, run_gelu_erf },
	{ "gelu_tanh", "in.x", 24, run_gelu_tanh },	  { "quick_gelu", "in.x", 24, run_quick_gelu },
	{ "silu", "in.x", 24, run_silu },		  { "swiglu", "in.a", 24, run_swiglu },
	{ "linear", "in.x", 24, run_linear },		  { "rope_half", "in.x", 8, run_rope_half },
	{ "rope_interleaved", "in.x", 8, run_rope_interleaved }, { "attention_causal", "in.q", 8, run_attention },
	{ "bicubic", "in.x", 20, run_bicubic },
};

static void operations_equal_pytorch(void **state)
{
	struct nn_error error = { 0 };
	struct nn_checkpoint *cp = goldens_open(&error);

	for (size_t p = 0; p < naive_n_paths; p++) {
		struct nn c;

		if (!naive_init(&c, p))
			continue;
		for (size_t i = 0; i < sizeof(golden_ops) / sizeof(*golden_ops); i++) {
			const struct golden_op *op = &golden_ops[i];
			struct nn_tensor x = nn_copy(&c, golden(cp, op->name, op->in, op->cols)), y = op->run(&c, cp, x);
			struct nn_tensor want = golden(cp, op->name, "out", 1);

			assert_int_equal(c.error, 0);
			assert_int_equal(y.rows * y.cols, want.rows);
			naive_expect(op->name, &c, y.data, want.data, want.rows, tolerance_abs, tolerance_rel);
		}
		naive_fini(&c);
	}
	nn_checkpoint_close(cp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_equal_pytorch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

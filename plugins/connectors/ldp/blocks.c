/* blocks.c - what the projectors compute, and the tensors that they are made of. */
#include "plugins/connectors/ldp/ldp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const ldp_prefixes[] = { "model.mm_projector.", "mm_projector.", "", NULL };
static const float ldp_eps = 1e-5f;

/* "<name>.weight" (rows, cols), and "<name>.bias" where there is one. */
static struct affine ldp_affine(struct ldp *p, struct nn_loader *l, size_t rows, size_t cols, const char *name)
{
	struct nn_weight *w = nn_load(l, rows, cols, "%s.weight", name);

	p->weight_bytes += w ? w->bytes + w->rows * sizeof(float) : 0;
	nn_weight_pack(l->checkpoint, w, l->error);
	return (struct affine){ w, w ? nn_load_vector_maybe(l, w->rows, "%s.bias", name) : NULL };
}

static struct norm ldp_norm(struct ldp *p, struct nn_loader *l, const char *name)
{
	struct norm n = { .w = nn_load_vector(l, p->out_dim, "%s.weight", name) };

	n.b = nn_load_vector(l, p->out_dim, "%s.bias", name);
	return n;
}

/* A depthwise kernel (out_dim, 1, 3, 3), turned: taps first. */
static const float *ldp_depthwise(struct ldp *p, struct nn_loader *l, const char *name)
{
	struct nn_weight *w = nn_load(l, p->out_dim, 9, "%s.weight", name);
	struct nn_weight *turned = w ? nn_weight_transposed(l->checkpoint, w) : NULL;
	const float *f = turned ? nn_weight_f32(l->checkpoint, turned) : NULL;

	if (w && !f)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	p->weight_bytes += w ? w->bytes : 0;
	return f;
}

static void ldp_load_block(struct ldp *p, struct nn_loader *l, uint32_t i)
{
	struct ldp_block *b = &p->blocks[i];
	const size_t d = p->out_dim;
	char name[6][64];
	static const char *const parts[] = { "0.0", "0.1", "1.fc1", "1.fc2", "2.0", "2.1" };

	for (size_t k = 0; k < 6; k++)
		snprintf(name[k], sizeof(name[k]), "model.mb_block.%u.block.%s", i + 1, parts[k]);
	b->stride = i ? 2 : 1;
	b->depthwise = ldp_depthwise(p, l, name[0]);
	b->norm1 = ldp_norm(p, l, name[1]);
	b->squeeze = ldp_affine(p, l, 0, d, name[2]);
	b->excite = ldp_affine(p, l, d, b->squeeze.w ? b->squeeze.w->rows : 0, name[3]);
	b->project = ldp_affine(p, l, d, d, name[4]).w;
	b->norm2 = ldp_norm(p, l, name[5]);
}

/* The two layers, by the first of the names that is there: its version. */
static int ldp_load_layers(struct ldp *p, struct nn_loader *l)
{
	static const struct {
		int version;
		const char *fc1, *fc2;
	} names[] = { { 1, "model.mlp.1", "model.mlp.3" }, { 2, "mlp.mlp.0", "mlp.mlp.2" } };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !p->version && !l->error->code; i++) {
		if (!nn_load_maybe(l, 0, 0, "%s.weight", names[i].fc1))
			continue;
		p->version = names[i].version;
		p->fc1 = ldp_affine(p, l, 0, 0, names[i].fc1);
		p->fc2 = ldp_affine(p, l, 0, p->fc1.w ? p->fc1.w->rows : 0, names[i].fc2);
	}
	if (!p->version && !l->error->code)
		nn_fail(l->error, -EINVAL, "%s: no projector of MobileVLM is in there: neither mm_projector.model.mlp.1 nor "
			"mm_projector.mlp.mlp.0.", nn_checkpoint_path(p->checkpoint));
	return l->error->code;
}

int ldp_load(struct ldp *p, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = p->checkpoint, .prefixes = ldp_prefixes, .error = error };

	if (ldp_load_layers(p, &l))
		return error->code;
	p->in_dim = (uint32_t)p->fc1.w->cols;
	p->out_dim = (uint32_t)p->fc2.w->rows;
	for (uint32_t i = 0; i < LDP_BLOCKS && p->version == 1 && !error->code; i++)
		ldp_load_block(p, &l, i);
	if (p->version == 2) {
		p->around = ldp_depthwise(p, &l, "peg.peg.0");
		p->around_bias = nn_load_vector(&l, p->out_dim, "peg.peg.0.bias");
	}
	return error->code;
}

void ldp_grid(const struct ldp *p, uint32_t rows, uint32_t cols, uint32_t *out_rows, uint32_t *out_cols)
{
	*out_rows = p->version == 2 ? LDP_SIDE : rows / 2 + rows % 2;
	*out_cols = p->version == 2 ? LDP_SIDE : cols / 2 + cols % 2;
}

static float ldp_relu6(float x)
{
	return x < 0 ? 0 : x > 6 ? 6 : x;
}

/* x relu6(x + 3) / 6, of each value. */
static void ldp_hard_swish(struct nn_tensor x)
{
	for (size_t i = 0; x.data && i < x.rows * x.cols; i++)
		x.data[i] *= ldp_relu6(x.data[i] + 3) / 6;
}

/* Each channel times what the means of all say: relu6(excite(relu(squeeze(mean))) + 3) / 6. */
static void ldp_gate(struct nn *c, const struct ldp_block *b, struct nn_tensor x, uint32_t rows, uint32_t cols)
{
	struct nn_tensor y = nn_gemm(c, nn_pool_grid(c, x, rows, cols, 1, 1), b->squeeze.w, b->squeeze.b);

	nn_activate(c, y, NN_RELU);
	y = nn_gemm(c, y, b->excite.w, b->excite.b);
	for (size_t i = 0; y.data && i < x.rows; i++)
		for (size_t k = 0; k < x.cols; k++)
			x.data[i * x.stride + k] *= ldp_relu6(y.data[k] + 3) / 6;
}

/* x (rows * cols, out_dim) -> a grid as fine or half as fine. */
static struct nn_tensor ldp_block(struct nn *c, const struct ldp_block *b, struct nn_tensor x, uint32_t rows, uint32_t cols)
{
	const struct nn_kernel kernel = { 3, b->stride };
	const uint32_t out_rows = (rows - 1) / b->stride + 1, out_cols = (cols - 1) / b->stride + 1;
	struct nn_tensor y = nn_channel_conv(c, x, rows, cols, b->depthwise, NULL, &kernel);

	y = nn_layer_norm(c, y, b->norm1.w, b->norm1.b, ldp_eps);
	ldp_hard_swish(y);
	ldp_gate(c, b, y, out_rows, out_cols);
	y = nn_layer_norm(c, nn_gemm(c, y, b->project, NULL), b->norm2.w, b->norm2.b, ldp_eps);
	if (b->stride == 1)
		nn_add_to(c, y, x);
	return y;
}

struct nn_tensor ldp_forward(struct nn *c, const struct ldp *p, struct nn_tensor x, uint32_t rows, uint32_t cols)
{
	const struct nn_kernel near = { 3, 1 };

	x = nn_gemm(c, x, p->fc1.w, p->fc1.b);
	nn_activate(c, x, NN_GELU_ERF);
	x = nn_gemm(c, x, p->fc2.w, p->fc2.b);
	for (uint32_t i = 0; p->version == 1 && i < LDP_BLOCKS; i++)
		x = ldp_block(c, &p->blocks[i], x, rows, cols);
	if (p->version == 1)
		return x;
	x = nn_pool_grid(c, x, rows, cols, LDP_SIDE, LDP_SIDE);
	nn_add_to(c, x, nn_channel_conv(c, x, LDP_SIDE, LDP_SIDE, p->around, p->around_bias, &near));
	return x;
}

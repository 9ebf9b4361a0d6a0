/* qwen.c - Qwen (Bai 2023): q, k, v in one matrix with a bias, no other biases, w2 gates w1. */
#include "plugins/decoders/causal/families/families.h"

static int qwen_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	/* Both files count the hidden sizes of w1 and w2 together. */
	m->shape.d_ff /= 2;
	m->shape.attention_bias = 1;
	m->shape.n_kv_heads = m->shape.n_heads;
	return error->code;
}

static void qwen_load(struct model *m, struct layer *layer, uint32_t i)
{
	block_norms(m, layer, i);
	block_attention_fused(m, layer, i);
	block_mlp(m, layer, i);
}

static const char *const types[] = { "qwen", NULL };
static const char *const classes[] = { "QWenLMHeadModel", NULL };
const struct family family_qwen = {
	.name = "qwen", .types = types, .classes = classes, .configure = qwen_configure, .load = qwen_load,
	.mlp = feed_forward_layer,
};

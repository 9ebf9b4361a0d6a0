/* fused.c - LLaMA with q, k, v in one matrix (the language half of Wang 2023): no biases, gated feed-forward. */
#include <errno.h>

#include "plugins/decoders/causal/families/families.h"

enum { FUSED_THETA = 10000, FUSED_THETA_GROUPED = 500000 };

/* Heads of keys as the configuration says; where it is silent, as the matrix has room for: (heads + 2 * kv_heads) * head_dim rows. */
static int fused_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;
	const struct nn_weight *qkv = model_weight_maybe(m, 0, 0, "attn_qkv.weight", 0);
	const size_t heads = qkv ? qkv->rows / s->head_dim : 0;
	uint32_t fit = s->n_heads;

	if (heads > s->n_heads && heads <= MODEL_DIM_MAX && (heads - s->n_heads) % 2 == 0)
		fit = (uint32_t)(heads - s->n_heads) / 2;
	s->n_kv_heads = model_int(config, "num_multi_query_heads|num_key_value_heads|attention.head_count_kv", fit, MODEL_DIM_MAX, error);
	return error->code;
}

/* The generation with grouped heads turns more slowly, and its configurations do not say so. */
static int fused_positions(struct model *m, const cJSON *config, struct nn_error *error)
{
	const int grouped = m->shape.n_kv_heads < m->shape.n_heads || nn_config_int(config, "num_multi_query_heads", 0, 0, MODEL_DIM_MAX, error);
	const double theta = nn_config_real(config, "rope_theta|rope.freq_base", grouped ? FUSED_THETA_GROUPED : FUSED_THETA, error);

	return error->code ? error->code : model_rope(m, 0, model_rope_scaling(m, config), theta, error);
}

static void fused_load(struct model *m, struct layer *layer, uint32_t i)
{
	block_norms(m, layer, i);
	block_attention_fused(m, layer, i);
	block_mlp(m, layer, i);
}

static const char *const types[] = { "cogvlm", "cogvlm2", NULL };
static const char *const classes[] = { "CogVLMForCausalLM", NULL };
const struct family family_fused = {
	.name = "cogvlm", .types = types, .classes = classes, .configure = fused_configure, .positions = fused_positions,
	.load = fused_load, .mlp = feed_forward_layer,
};

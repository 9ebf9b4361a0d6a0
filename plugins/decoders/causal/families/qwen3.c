/* qwen3.c - Qwen3 (Yang 2025): LLaMA with a norm of each head's q and k; and its mixture. */
#include "plugins/decoders/causal/families/families.h"

static int qwen3_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	if (!nn_config_bool(config, "use_sliding_window", 0, error))
		m->shape.window = 0;
	if (!m->gguf)
		m->shape.head_dim = m->shape.v_dim = model_int(config, "head_dim", 128, NN_HEAD, error);
	return model_windows(m, config, 0, error);
}

static int qwen3_moe_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	if (qwen3_configure(m, config, error) || model_mixture(m, config, error))
		return error->code;
	m->mixture.normed = nn_config_bool(config, "norm_topk_prob|expert_weights_norm", m->gguf, error);
	return error->code;
}

static void qwen3_load(struct model *m, struct layer *layer, uint32_t i)
{
	llama_load(m, layer, i);
	layer->q_norm = model_norm(m, m->shape.head_dim, "attn_q_norm", i);
	layer->k_norm = model_norm(m, m->shape.head_dim, "attn_k_norm", i);
}

static const struct family_defaults qwen3_defaults = { 4096, 22016, 32, 32, 32, 151936, 32768, 0 };
static const char *const types[] = { "qwen3", NULL };
static const char *const classes[] = { "Qwen3ForCausalLM", "Qwen3Model", NULL };
const struct family family_qwen3 = {
	.name = "qwen3", .defaults = &qwen3_defaults, .types = types, .classes = classes, .configure = qwen3_configure, .load = qwen3_load,
	.mlp = feed_forward_layer,
};

static const char *const moe_types[] = { "qwen3_moe", "qwen3moe", NULL };
static const char *const moe_classes[] = { "Qwen3MoeForCausalLM", "Qwen3MoeModel", NULL };
const struct family family_qwen3_moe = {
	.name = "qwen3_moe", .types = moe_types, .classes = moe_classes, .configure = qwen3_moe_configure, .load = qwen3_load,
	.mlp = mixture_layer,
};

/* qwen2.c - Qwen2 and Qwen2.5 (Yang 2024): LLaMA with biases on q, k and v; and its mixture, with an expert that all rows
 * have. */
#include "plugins/decoders/causal/families/families.h"

int qwen2_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	const uint32_t first = (uint32_t)nn_config_int(config, "max_window_layers", 0, 0, INT32_MAX, error);

	if (!nn_config_bool(config, "use_sliding_window", m->gguf, error))
		m->shape.window = 0;
	if (model_windows(m, config, 0, error))
		return error->code;
	/* Older configurations say from which layer on. */
	for (uint32_t i = 0; m->slides && i < first && i < m->shape.n_layers; i++)
		m->slides[i] = cJSON_HasObjectItem(config, "layer_types") && m->slides[i];
	return 0;
}

static int qwen2_moe_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	if (qwen2_configure(m, config, error) || model_mixture(m, config, error))
		return error->code;
	m->mixture.shared_ff = model_int(config, "shared_expert_intermediate_size|expert_shared_feed_forward_length",
					 m->shape.d_ff, MODEL_DIM_MAX, error);
	m->mixture.normed = nn_config_bool(config, "norm_topk_prob|expert_weights_norm", 0, error);
	return error->code;
}

void qwen2_load(struct model *m, struct layer *layer, uint32_t i)
{
	const struct shape *s = &m->shape;

	llama_load(m, layer, i);
	layer->q_bias = model_vector(m, s->q_dim, "attn_q.bias", i);
	layer->k_bias = model_vector(m, s->kv_dim, "attn_k.bias", i);
	layer->v_bias = model_vector(m, s->kv_dim, "attn_v.bias", i);
}

static const struct family_defaults qwen2_defaults = { 4096, 22016, 32, 32, 32, 151936, 32768, 0 };
static const char *const types[] = { "qwen2", NULL };
static const char *const classes[] = { "Qwen2ForCausalLM", "Qwen2Model", NULL };
const struct family family_qwen2 = {
	.name = "qwen2", .defaults = &qwen2_defaults, .types = types, .classes = classes, .configure = qwen2_configure, .load = qwen2_load,
	.mlp = feed_forward_layer,
};

static const char *const moe_types[] = { "qwen2_moe", "qwen2moe", NULL };
static const char *const moe_classes[] = { "Qwen2MoeForCausalLM", "Qwen2MoeModel", NULL };
const struct family family_qwen2_moe = {
	.name = "qwen2_moe", .types = moe_types, .classes = moe_classes, .configure = qwen2_moe_configure, .load = qwen2_load,
	.mlp = mixture_layer,
};

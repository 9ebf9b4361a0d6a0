/* gemma.c - Gemma 2 (Riviere 2024) and Gemma 3 (Kamath 2025): norms before and after each part, embeddings times
 * sqrt(d_model), layers with a window between those without; Gemma 2 caps scores and logits, Gemma 3 norms q and k and turns
 * positions of the layers with a window by another base. */
#include <math.h>

#include "plugins/decoders/causal/families/families.h"

/* GGUF's files do not say the scale of the largest models, whose heads are not what they divide by. */
static float gemma_scale(const struct model *m, const cJSON *config, uint32_t largest, struct nn_error *error)
{
	const struct shape *s = &m->shape;
	double by = s->head_dim;

	if (m->gguf && s->n_layers == largest)
		by = (double)s->d_model / s->n_heads;
	by = nn_config_real(config, "query_pre_attn_scalar", m->gguf ? by : 256, error);
	return by > 0 ? (float)(1 / sqrt(by)) : 1;
}

static int gemma_configure(struct model *m, const cJSON *config, uint32_t largest, struct nn_error *error)
{
	struct shape *s = &m->shape;

	if (!m->gguf)
		s->head_dim = s->v_dim = model_int(config, "head_dim", 256, NN_HEAD, error);
	if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(config, "hidden_activation")))
		s->activation = NN_GELU_TANH;
	s->norm_base = m->gguf ? 0 : 1; /* GGUF's files have it added */
	s->embedding_scale = sqrtf((float)s->d_model);
	s->attention_scale = gemma_scale(m, config, largest, error);
	return error->code;
}

static int gemma2_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;

	if (gemma_configure(m, config, 46, error))
		return error->code;
	s->attention_softcap = (float)nn_config_real(config, "attn_logit_softcapping", m->gguf ? 50 : 0, error);
	s->final_softcap = (float)nn_config_real(config, "final_logit_softcapping", m->gguf ? 30 : 0, error);
	return model_windows(m, config, 2, error);
}

static int gemma3_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;

	if (gemma_configure(m, config, 62, error))
		return error->code;
	s->attention_softcap = (float)nn_config_real(config, "attn_logit_softcapping", 0, error);
	s->final_softcap = (float)nn_config_real(config, "final_logit_softcapping", 0, error);
	return model_windows(m, config, model_int(config, "sliding_window_pattern|_sliding_window_pattern", 6, 4096, error), error);
}

/* rope[0] of the layers that see all, rope[1] of those with a window. */
static int gemma3_positions(struct model *m, const cJSON *config, struct nn_error *error)
{
	const cJSON *scaling = model_rope_scaling(m, config);
	const cJSON *full = nn_config_object(scaling, "full_attention"), *local = nn_config_object(scaling, "sliding_attention");
	const double theta = nn_config_real(config, "rope_theta|rope.freq_base", 1e6, error);
	const double theta_local = nn_config_real(config, "rope_local_base_freq|rope.freq_base_swa", 1e4, error);

	for (uint32_t i = 0; i < m->shape.n_layers; i++)
		m->layers[i].rope = m->layers[i].window != 0;
	return model_rope(m, 0, full ? full : scaling, theta, error) || model_rope(m, 1, local, theta_local, error) ? error->code : 0;
}

static void gemma2_load(struct model *m, struct layer *layer, uint32_t i)
{
	block_norms(m, layer, i);
	layer->attention_post = model_norm(m, m->shape.d_model, "post_attention_norm", i);
	layer->mlp_post = model_norm(m, m->shape.d_model, "post_ffw_norm", i);
	block_attention(m, layer, i);
	block_mlp(m, layer, i);
}

static void gemma3_load(struct model *m, struct layer *layer, uint32_t i)
{
	gemma2_load(m, layer, i);
	layer->q_norm = model_norm(m, m->shape.head_dim, "attn_q_norm", i);
	layer->k_norm = model_norm(m, m->shape.head_dim, "attn_k_norm", i);
}

static const char *const gemma2_types[] = { "gemma2", NULL };
static const char *const gemma2_classes[] = { "Gemma2ForCausalLM", "Gemma2Model", NULL };
const struct family family_gemma2 = {
	.name = "gemma2", .types = gemma2_types, .classes = gemma2_classes, .configure = gemma2_configure,
	.load = gemma2_load, .mlp = feed_forward_layer,
};

static const char *const gemma3_types[] = { "gemma3_text", "gemma3", NULL };
static const char *const gemma3_classes[] = { "Gemma3ForCausalLM", "Gemma3TextModel", NULL };
const struct family family_gemma3 = {
	.name = "gemma3", .types = gemma3_types, .classes = gemma3_classes, .configure = gemma3_configure,
	.positions = gemma3_positions, .load = gemma3_load, .mlp = feed_forward_layer,
};

/* gemma.c - Gemma (Mesnard 2024), Gemma 2 (Riviere 2024) and Gemma 3 (Kamath 2025): embeddings times sqrt(d_model), norms
 * whose weights are counted from 1. From Gemma 2 on: norms before and after each part, layers with a window between those
 * without; Gemma 2 caps scores and logits, Gemma 3 norms q and k and turns positions of the layers with a window by another
 * base. */
#include <math.h>
#include <string.h>

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

/* What all of them have. */
static int gemma_common(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;

	if (!m->gguf)
		s->head_dim = s->v_dim = model_int(config, "head_dim", 256, NN_HEAD, error);
	if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(config, "hidden_activation")))
		s->activation = NN_GELU_TANH;
	s->norm_base = m->gguf ? 0 : 1; /* GGUF's files have it added */
	s->embedding_scale = sqrtf((float)s->d_model);
	return error->code;
}

/* Its first files say "gelu" and mean the tanh form. */
static int gemma1_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	const enum nn_activation said = m->shape.activation;
	const char *name = nn_config_string(config, "hidden_act", "gelu");

	if (gemma_common(m, config, error))
		return error->code;
	if (!m->gguf && strcmp(name, "gelu"))
		m->shape.activation = said;
	return 0;
}

static int gemma_configure(struct model *m, const cJSON *config, uint32_t largest, struct nn_error *error)
{
	if (!gemma_common(m, config, error))
		m->shape.attention_scale = gemma_scale(m, config, largest, error);
	return error->code;
}

/* null: there is none. */
static float gemma_cap(const cJSON *config, const char *name, double missing, struct nn_error *error)
{
	return (float)nn_config_real(config, name, cJSON_HasObjectItem(config, name) ? 0 : missing, error);
}

static int gemma2_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;

	if (gemma_configure(m, config, 46, error))
		return error->code;
	s->attention_softcap = gemma_cap(config, "attn_logit_softcapping", 50, error);
	s->final_softcap = gemma_cap(config, "final_logit_softcapping", 30, error);
	return model_windows(m, config, 2, error);
}

static int gemma3_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;

	if (gemma_configure(m, config, 62, error))
		return error->code;
	s->window_spans = 1;
	s->attention_softcap = (float)nn_config_real(config, "attn_logit_softcapping", 0, error);
	s->final_softcap = (float)nn_config_real(config, "final_logit_softcapping", 0, error);
	return model_windows(m, config, model_int(config, "sliding_window_pattern|_sliding_window_pattern|attention.sliding_window_pattern", 6, 4096, error), error);
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

static void gemma1_load(struct model *m, struct layer *layer, uint32_t i)
{
	block_norms(m, layer, i);
	block_attention(m, layer, i);
	block_mlp(m, layer, i);
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

static const struct family_defaults gemma1_defaults = { 3072, 24576, 28, 16, 16, 256000, 8192, 0 };
static const char *const gemma1_types[] = { "gemma", NULL };
static const char *const gemma1_classes[] = { "GemmaForCausalLM", "GemmaModel", NULL };
const struct family family_gemma = {
	.name = "gemma", .defaults = &gemma1_defaults, .types = gemma1_types, .classes = gemma1_classes, .configure = gemma1_configure,
	.load = gemma1_load, .mlp = feed_forward_layer,
};

static const struct family_defaults gemma2_defaults = { 2304, 9216, 26, 8, 4, 256000, 8192, 4096 };
static const char *const gemma2_types[] = { "gemma2", NULL };
static const char *const gemma2_classes[] = { "Gemma2ForCausalLM", "Gemma2Model", NULL };
const struct family family_gemma2 = {
	.name = "gemma2", .defaults = &gemma2_defaults, .types = gemma2_types, .classes = gemma2_classes, .configure = gemma2_configure,
	.load = gemma2_load, .mlp = feed_forward_layer,
};

static const struct family_defaults gemma3_defaults = { 2304, 9216, 26, 8, 4, 262208, 131072, 4096 };
static const char *const gemma3_types[] = { "gemma3_text", "gemma3", NULL };
static const char *const gemma3_classes[] = { "Gemma3ForCausalLM", "Gemma3TextModel", NULL };
const struct family family_gemma3 = {
	.name = "gemma3", .defaults = &gemma3_defaults, .types = gemma3_types, .classes = gemma3_classes, .configure = gemma3_configure,
	.positions = gemma3_positions, .load = gemma3_load, .mlp = feed_forward_layer,
};

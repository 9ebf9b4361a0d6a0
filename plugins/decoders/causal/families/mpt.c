/* mpt.c - MPT (MosaicML 2023): LayerNorm, q, k, v in one matrix, and ALiBi (Press 2021) instead of positions. */
#include <errno.h>
#include <math.h>

#include "plugins/decoders/causal/families/families.h"

/* What says how attention is done: before "attn_config" came to be, the configuration itself. */
static const cJSON *mpt_attention(const cJSON *config)
{
	const cJSON *own = nn_config_object(config, "attn_config");

	return own ? own : config;
}

static int mpt_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;
	const cJSON *attention = mpt_attention(config);
	const struct nn_weight *up = model_weight_maybe(m, 0, s->d_model, "ffn_up.weight", 0);

	s->layer_norm = 1;
	s->rope_dim = 0;
	s->activation = NN_GELU_ERF;
	s->norm_eps = (float)nn_config_real(config, "layer_norm_epsilon|attention.layer_norm_epsilon", 1e-5, error);
	s->n_kv_heads = model_int(attention, "kv_n_heads", s->n_kv_heads, MODEL_DIM_MAX, error);
	s->attention_scale = (float)nn_config_real(attention, "softmax_scale", 0, error);
	/* The configuration's "expansion_ratio" is not what all files were made with. */
	if (up)
		s->d_ff = (uint32_t)up->rows;
	if (nn_config_real(attention, "clip_qkv|attn_clip_qkv", nn_config_real(config, "attention.clamp_kqv", 0, error), error) != 0)
		return nn_fail(error, -ENOTSUP, "config.json: clip_qkv is not known here.");
	s->qk_rows = nn_config_bool(attention, "qk_ln|attn_qk_ln", m->gguf && model_weight_maybe(m, 0, s->d_model, "attn_q_norm.weight", 0), error);
	if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(config, "logit_scale")))
		s->logit_scale = (float)nn_config_real(config, "logit_scale", 1, error);
	else if (cJSON_IsString(cJSON_GetObjectItemCaseSensitive(config, "logit_scale")))
		s->logit_scale = 1 / sqrtf((float)s->d_model); /* "inv_sqrt_d_model" */
	return error->code;
}

/* Slopes fall geometrically to 2^-most; for a number of heads that is no power of two the gaps of the next one are used. */
static int mpt_slopes(struct model *m, double most, struct nn_error *error)
{
	const uint32_t n = m->shape.n_heads;
	uint32_t power = 1;

	while (power < n)
		power *= 2;
	m->slopes = nn_checkpoint_alloc(m->checkpoint, n * sizeof(*m->slopes));
	if (!m->slopes)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	for (uint32_t h = 0; h < n; h++) {
		const uint32_t step = power == n ? h + 1 : h < power / 2 ? 2 * h + 2 : 2 * (h - power / 2) + 1;

		m->slopes[h] = (float)exp2(-(double)step * most / power);
	}
	return 0;
}

static int mpt_positions(struct model *m, const cJSON *config, struct nn_error *error)
{
	const cJSON *attention = mpt_attention(config);
	const double most = nn_config_real(attention, "alibi_bias_max",
					   nn_config_real(config, "attention.max_alibi_bias", m->gguf ? 0 : 8, error), error);

	if (nn_config_bool(attention, "alibi", !m->gguf, error) || (m->gguf && most > 0))
		return error->code ? error->code : mpt_slopes(m, most, error);
	m->positions = model_weight(m, m->shape.context, m->shape.d_model, "position_embd.weight", 0);
	m->weight_bytes += m->positions ? m->positions->bytes : 0;
	return error->code;
}

static void mpt_load(struct model *m, struct layer *layer, uint32_t i)
{
	block_norms(m, layer, i);
	block_attention_fused(m, layer, i);
	if (m->shape.qk_rows) {
		layer->q_norm = model_norm(m, m->shape.q_dim, "attn_q_norm", i);
		layer->k_norm = model_norm(m, m->shape.kv_dim, "attn_k_norm", i);
	}
	block_mlp_plain(m, layer, i);
}

static const char *const types[] = { "mpt", NULL };
static const char *const classes[] = { "MptForCausalLM", "MPTForCausalLM", "MptModel", NULL };
const struct family family_mpt = {
	.name = "mpt", .types = types, .classes = classes, .configure = mpt_configure,
	.positions = mpt_positions, .load = mpt_load, .mlp = feed_forward_layer,
};
static const char *const first_types[] = { "mosaic_gpt", NULL };
static const char *const first_classes[] = { "MosaicGPT", NULL };
const struct family family_mosaic_gpt = {
	.name = "mosaic_gpt", .types = first_types, .classes = first_classes, .configure = mpt_configure,
	.positions = mpt_positions, .load = mpt_load, .mlp = feed_forward_layer,
};

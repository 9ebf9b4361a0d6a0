/* gpt_neox.c - GPT-NeoX, Pythia, RedPajama-INCITE (Black 2022): LayerNorm, rotary positions in a part of a head, q, k, v of each head
 * together, and attention and feed-forward beside each other where the configuration says so. */
#include <errno.h>
#include <string.h>

#include "plugins/decoders/causal/families/families.h"

static int gpt_neox_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	static const char part[] = "partial_rotary_factor";
	struct shape *s = &m->shape;
	const cJSON *scaling = model_rope_scaling(m, config);

	s->layer_norm = 1;
	s->norm_eps = (float)nn_config_real(config, "layer_norm_eps|attention.layer_norm_epsilon", 1e-5, error);
	s->parallel = nn_config_bool(config, "use_parallel_residual", 1, error);
	s->attention_bias = m->gguf || nn_config_bool(config, "attention_bias", 1, error);
	s->mlp_bias = 1;
	if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(config, "hidden_act")))
		s->activation = NN_GELU_ERF;
	if (!cJSON_HasObjectItem(scaling, part) && !cJSON_HasObjectItem(config, part) && !cJSON_HasObjectItem(config, "rotary_pct"))
		s->rope_part = 0.25f;
	if (s->n_kv_heads != s->n_heads && !error->code)
		return nn_fail(error, -EINVAL, "config.json: GPT-NeoX has as many key-value heads as heads, %u.", s->n_heads);
	return error->code;
}

/* Rows of one part, 0 to 2, of each head: a copy, since they lie apart. */
static struct nn_weight *gpt_neox_part(struct model *m, const struct nn_weight *qkv, uint32_t part)
{
	const struct shape *s = &m->shape;
	const size_t row = qkv ? nn_weight_row_bytes(qkv) : 0, head = s->head_dim * row;
	struct nn_weight *w = qkv ? nn_weight_rows(m->checkpoint, qkv, 0, s->q_dim, 0) : NULL;
	unsigned char *data = w ? nn_checkpoint_alloc(m->checkpoint, s->n_heads * head) : NULL;

	for (uint32_t h = 0; data && h < s->n_heads; h++)
		memcpy(data + h * head, (const unsigned char *)qkv->data + (h * (size_t)3 + part) * head, head);
	if (data)
		w->data = data;
	return data ? w : NULL;
}

static const float *gpt_neox_bias(struct model *m, const float *qkv, uint32_t part)
{
	const struct shape *s = &m->shape;
	float *b = qkv ? nn_checkpoint_alloc(m->checkpoint, s->q_dim * sizeof(*b)) : NULL;

	for (uint32_t i = 0; b && i < s->q_dim; i++)
		b[i] = qkv[(i / s->head_dim * (size_t)3 + part) * s->head_dim + i % s->head_dim];
	return b;
}

static void gpt_neox_load(struct model *m, struct layer *layer, uint32_t i)
{
	const struct shape *s = &m->shape;
	const size_t all = 3 * (size_t)s->q_dim;

	block_norms(m, layer, i);
	block_mlp_plain(m, layer, i);
	if (m->gguf) {
		block_attention_fused(m, layer, i);
		return;
	}
	const struct nn_weight *qkv = model_weight(m, all, s->d_model, "attn_qkv.weight", i);
	const float *bias = s->attention_bias ? model_vector(m, all, "attn_qkv.bias", i) : NULL;

	layer->q = model_pack(m, gpt_neox_part(m, qkv, 0));
	layer->k = model_pack(m, gpt_neox_part(m, qkv, 1));
	layer->v = model_pack(m, gpt_neox_part(m, qkv, 2));
	layer->q_bias = gpt_neox_bias(m, bias, 0);
	layer->k_bias = gpt_neox_bias(m, bias, 1);
	layer->v_bias = gpt_neox_bias(m, bias, 2);
	layer->o = model_matrix(m, s->d_model, s->q_dim, "attn_output.weight", i);
	layer->o_bias = s->attention_bias ? model_vector(m, s->d_model, "attn_output.bias", i) : NULL;
}

/* transformers' defaults. */
static const struct family_defaults defaults = { 6144, 24576, 44, 64, 0, 50432, 2048, 0 };
static const char *const types[] = { "gpt_neox", "gptneox", NULL };
static const char *const classes[] = { "GPTNeoXForCausalLM", "GPTNeoXModel", NULL };
const struct family family_gpt_neox = {
	.name = "gpt_neox", .defaults = &defaults, .types = types, .classes = classes, .configure = gpt_neox_configure,
	.load = gpt_neox_load, .mlp = feed_forward_layer,
};

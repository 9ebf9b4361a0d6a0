/* gpt2.c - GPT-2 (Radford 2019): LayerNorm, learned positions, q, k, v in one matrix, biases everywhere. */
#include <math.h>

#include "plugins/decoders/causal/families/families.h"

static int gpt2_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;

	s->layer_norm = 1;
	s->rope_dim = 0;
	s->attention_bias = s->mlp_bias = 1;
	s->d_ff = model_int(config, "n_inner|feed_forward_length", 4 * (int64_t)s->d_model, MODEL_DIM_MAX, error);
	if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(config, "activation_function")))
		s->activation = NN_GELU_TANH;
	if (!nn_config_bool(config, "scale_attn_weights", 1, error))
		s->attention_scale = 1;
	return error->code;
}

static int gpt2_positions(struct model *m, const cJSON *config, struct nn_error *error)
{
	m->positions = model_weight(m, m->shape.context, m->shape.d_model, "position_embd.weight", 0);
	m->weight_bytes += m->positions ? m->positions->bytes : 0;
	for (uint32_t i = 0; nn_config_bool(config, "scale_attn_by_inverse_layer_idx", 0, error) && i < m->shape.n_layers; i++)
		m->layers[i].attention_scale /= (float)(i + 1);
	return error->code;
}

/* Hugging Face's files have the matrices as (in, out). */
static struct nn_weight *gpt2_matrix(struct model *m, size_t rows, size_t cols, const char *name, uint32_t i)
{
	struct nn_weight *w = m->gguf ? model_weight(m, rows, cols, name, i) : model_weight(m, cols, rows, name, i);

	return w && !m->gguf ? nn_weight_transposed(m->checkpoint, w) : w;
}

static void gpt2_load(struct model *m, struct layer *layer, uint32_t i)
{
	const struct shape *s = &m->shape;
	const uint32_t d = s->d_model;
	const struct nn_weight *qkv = gpt2_matrix(m, 3 * (size_t)d, d, "attn_qkv.weight", i);
	const float *bias = model_vector(m, 3 * (size_t)d, "attn_qkv.bias", i);

	block_norms(m, layer, i);
	layer->q = model_rows(m, qkv, 0, d);
	layer->k = model_rows(m, qkv, d, d);
	layer->v = model_rows(m, qkv, 2 * (size_t)d, d);
	layer->q_bias = bias;
	layer->k_bias = bias ? bias + d : NULL;
	layer->v_bias = bias ? bias + 2 * (size_t)d : NULL;
	layer->o = model_pack(m, gpt2_matrix(m, d, d, "attn_output.weight", i));
	layer->o_bias = model_vector(m, d, "attn_output.bias", i);
	layer->mlp.up = model_pack(m, gpt2_matrix(m, s->d_ff, d, "ffn_up.weight", i));
	layer->mlp.up_bias = model_vector(m, s->d_ff, "ffn_up.bias", i);
	layer->mlp.down = model_pack(m, gpt2_matrix(m, d, s->d_ff, "ffn_down.weight", i));
	layer->mlp.down_bias = model_vector(m, d, "ffn_down.bias", i);
}

static const char *const types[] = { "gpt2", NULL };
static const char *const classes[] = { "GPT2LMHeadModel", "GPT2Model", NULL };
const struct family family_gpt2 = {
	.name = "gpt2", .types = types, .classes = classes, .configure = gpt2_configure,
	.positions = gpt2_positions, .load = gpt2_load, .mlp = feed_forward_layer,
};

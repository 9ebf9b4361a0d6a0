/* blocks.c - the parts of a transformer's block that families share: their weights and what is computed with them. */
#include "plugins/decoders/causal/model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sdk/nn/gguf.h"

void block_norms(struct model *m, struct layer *layer, uint32_t i)
{
	layer->attention_norm = model_norm(m, m->shape.d_model, "attn_norm", i);
	layer->mlp_norm = model_norm(m, m->shape.d_model, "ffn_norm", i);
}

/* A bias that must be there where the configuration says so, and else may be. */
static const float *block_bias(struct model *m, int required, size_t n, const char *name, uint32_t i)
{
	return required ? model_vector(m, n, name, i) : model_vector_maybe(m, n, name, i);
}

void block_attention(struct model *m, struct layer *layer, uint32_t i)
{
	const struct shape *s = &m->shape;
	const int bias = s->attention_bias;

	layer->q = model_matrix(m, s->q_dim, s->d_model, "attn_q.weight", i);
	layer->k = model_matrix(m, s->kv_dim, s->d_model, "attn_k.weight", i);
	layer->v = model_matrix(m, s->kv_dim, s->d_model, "attn_v.weight", i);
	layer->o = model_matrix(m, s->d_model, s->q_dim, "attn_output.weight", i);
	layer->q_bias = block_bias(m, bias, s->q_dim, "attn_q.bias", i);
	layer->k_bias = block_bias(m, bias, s->kv_dim, "attn_k.bias", i);
	layer->v_bias = block_bias(m, bias, s->kv_dim, "attn_v.bias", i);
	layer->o_bias = block_bias(m, bias, s->d_model, "attn_output.bias", i);
}

void block_attention_fused(struct model *m, struct layer *layer, uint32_t i)
{
	const struct shape *s = &m->shape;
	const size_t all = s->q_dim + 2 * (size_t)s->kv_dim;
	const struct nn_weight *qkv = model_weight(m, all, s->d_model, "attn_qkv.weight", i);
	const float *bias = block_bias(m, s->attention_bias, all, "attn_qkv.bias", i);

	layer->q = model_rows(m, qkv, 0, s->q_dim);
	layer->k = model_rows(m, qkv, s->q_dim, s->kv_dim);
	layer->v = model_rows(m, qkv, s->q_dim + s->kv_dim, s->kv_dim);
	if (bias) {
		layer->q_bias = bias;
		layer->k_bias = bias + s->q_dim;
		layer->v_bias = bias + s->q_dim + s->kv_dim;
	}
	layer->o = model_matrix(m, s->d_model, s->q_dim, "attn_output.weight", i);
	layer->o_bias = block_bias(m, 0, s->d_model, "attn_output.bias", i);
}

void block_mlp(struct model *m, struct layer *layer, uint32_t i)
{
	const struct shape *s = &m->shape;
	struct feed_forward *f = &layer->mlp;

	f->gate = model_matrix(m, s->d_ff, s->d_model, "ffn_gate.weight", i);
	f->up = model_matrix(m, s->d_ff, s->d_model, "ffn_up.weight", i);
	f->down = model_matrix(m, s->d_model, s->d_ff, "ffn_down.weight", i);
	f->gate_bias = block_bias(m, s->mlp_bias, s->d_ff, "ffn_gate.bias", i);
	f->up_bias = block_bias(m, s->mlp_bias, s->d_ff, "ffn_up.bias", i);
	f->down_bias = block_bias(m, s->mlp_bias, s->d_model, "ffn_down.bias", i);
}

void block_mlp_plain(struct model *m, struct layer *layer, uint32_t i)
{
	const struct shape *s = &m->shape;
	struct feed_forward *f = &layer->mlp;

	f->up = model_matrix(m, s->d_ff, s->d_model, "ffn_up.weight", i);
	f->down = model_matrix(m, s->d_model, s->d_ff, "ffn_down.weight", i);
	f->up_bias = block_bias(m, s->mlp_bias, s->d_ff, "ffn_up.bias", i);
	f->down_bias = block_bias(m, s->mlp_bias, s->d_model, "ffn_down.bias", i);
}

struct nn_tensor feed_forward(struct nn *c, const struct model *m, const struct feed_forward *f, struct nn_tensor x)
{
	struct nn_tensor y[2];

	nn_linear_all(c, x, f->gate ? 2 : 1, (const struct nn_weight *const[]){ f->up, f->gate },
		      (const float *const[]){ f->up_bias, f->gate_bias }, y);
	if (f->gate)
		y[0] = nn_gate(c, y[1], y[0], m->shape.activation);
	else
		nn_activate(c, y[0], m->shape.activation);
	return nn_linear(c, y[0], f->down, f->down_bias);
}

struct nn_tensor feed_forward_layer(struct nn *c, const struct model *m, const struct layer *layer, struct nn_tensor x)
{
	return feed_forward(c, m, &layer->mlp, x);
}

/* A GGUF file may say it layer by layer. */
static int windows_listed(struct model *m, const cJSON *config, struct nn_error *error)
{
	char key[128];

	snprintf(key, sizeof(key), "%.64s.attention.sliding_window_pattern", nn_config_string(config, "model_type", ""));
	const struct nn_gguf_value *v = m->gguf ? nn_gguf_value(nn_checkpoint_gguf(m->checkpoint), key) : NULL;

	if (!v || !v->is_array)
		return 0;
	if (v->type == NN_GGUF_STRING || v->n != m->shape.n_layers)
		return nn_fail(error, -EINVAL, "The file's \"%s\" does not name %u layers.", key, m->shape.n_layers);
	for (uint32_t i = 0; i < m->shape.n_layers; i++)
		m->slides[i] = nn_gguf_number(v, i) != 0;
	return 0;
}

int model_windows(struct model *m, const cJSON *config, uint32_t pattern, struct nn_error *error)
{
	const cJSON *types = cJSON_GetObjectItemCaseSensitive(config, "layer_types");
	const uint32_t window = m->shape.window;

	if (!window)
		return 0;
	if (cJSON_IsArray(types) && cJSON_GetArraySize(types) != (int)m->shape.n_layers)
		return nn_fail(error, -EINVAL, "config.json: \"layer_types\" does not name %u layers.", m->shape.n_layers);
	m->slides = nn_checkpoint_alloc(m->checkpoint, m->shape.n_layers);
	if (!m->slides)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < m->shape.n_layers; i++)
		m->slides[i] = !pattern || (i + 1) % pattern != 0;
	const cJSON *type;
	uint32_t i = 0;

	cJSON_ArrayForEach(type, types)
		m->slides[i++] = cJSON_IsString(type) && !strcmp(type->valuestring, "sliding_attention");
	return windows_listed(m, config, error);
}

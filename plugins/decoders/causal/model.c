/* model.c - a model's configuration and weights, from its files. */
#include "plugins/decoders/causal/model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_DIM_MAX = 1 << 20, MODEL_LAYERS_MAX = 4096, MODEL_VOCAB_MAX = 1 << 24, MODEL_CONTEXT_MAX = 1 << 26 };

static uint32_t model_int(const cJSON *config, const char *names, int64_t fallback, int64_t max, struct nn_error *error)
{
	return (uint32_t)nn_config_int(config, names, fallback, 1, max, error);
}

/* What all families' configurations say. Missing keys have the values that transformers' LlamaConfig gives them. */
static int model_configure(struct model *m, const cJSON *config, uint32_t context, struct nn_error *error)
{
	struct shape *s = &m->shape;
	const char *activation = nn_config_string(config, "hidden_act|hidden_activation", "silu");
	const int act = nn_activation_named(activation);

	s->d_model = model_int(config, "hidden_size", 4096, MODEL_DIM_MAX, error);
	s->d_ff = model_int(config, "intermediate_size", 11008, MODEL_DIM_MAX, error);
	s->n_layers = model_int(config, "num_hidden_layers", 32, MODEL_LAYERS_MAX, error);
	s->n_heads = model_int(config, "num_attention_heads", 32, MODEL_DIM_MAX, error);
	s->n_kv_heads = model_int(config, "num_key_value_heads", s->n_heads, MODEL_DIM_MAX, error);
	s->vocab = model_int(config, "vocab_size", 32000, MODEL_VOCAB_MAX, error);
	s->context = model_int(config, "max_position_embeddings", 2048, MODEL_CONTEXT_MAX, error);
	s->norm_eps = (float)nn_config_real(config, "rms_norm_eps", 1e-6, error);
	s->attention_bias = nn_config_bool(config, "attention_bias", 0, error);
	s->mlp_bias = nn_config_bool(config, "mlp_bias", 0, error);
	if (error->code)
		return error->code;
	if (act < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", activation);
	if (s->n_heads % s->n_kv_heads || !(s->norm_eps >= 0 && isfinite(s->norm_eps)))
		return nn_fail(error, -EINVAL, "config.json: %u attention heads cannot share %u key-value heads, or "
			       "rms_norm_eps is out of range.", s->n_heads, s->n_kv_heads);
	s->activation = (enum nn_activation)act;
	s->head_dim = model_int(config, "head_dim", s->d_model / s->n_heads ? s->d_model / s->n_heads : 1, 4096, error);
	if (!error->code && (s->head_dim % 2 || s->head_dim > NN_HEAD || (uint64_t)s->head_dim * s->n_heads > MODEL_DIM_MAX))
		return nn_fail(error, -EINVAL, "config.json: %u heads of %u values are out of range.", s->n_heads, s->head_dim);
	s->q_dim = s->n_heads * s->head_dim;
	s->kv_dim = s->n_kv_heads * s->head_dim;
	if (context > s->context && !error->code)
		return nn_fail(error, -EINVAL, "A context of %u tokens is more than the %u that this model was made for.", context,
			       s->context);
	if (context)
		s->context = context;
	return error->code;
}

const struct nn_weight *model_matrix(struct model *m, struct nn_loader *l, size_t rows, size_t cols, const char *format,
				     uint32_t layer)
{
	char name[160];

	snprintf(name, sizeof(name), format, layer);
	struct nn_weight *w = nn_load(l, rows, cols, "%s", name);

	m->weight_bytes += w ? w->bytes : 0;
	if (nn_weight_pack(m->checkpoint, w, l->error))
		return NULL;
	return w;
}

const float *model_vector(struct model *m, struct nn_loader *l, size_t n, const char *format, uint32_t layer)
{
	char name[160];

	snprintf(name, sizeof(name), format, layer);
	const float *v = nn_load_vector(l, n, "%s", name);

	m->weight_bytes += v ? n * sizeof(float) : 0;
	return v;
}

static int model_load(struct model *m, struct nn_error *error)
{
	const struct shape *s = &m->shape;
	struct nn_loader body = { .checkpoint = m->checkpoint, .prefixes = m->family->body, .error = error };
	struct nn_loader head = { .checkpoint = m->checkpoint, .prefixes = m->family->head, .error = error };

	m->layers = calloc(s->n_layers, sizeof(*m->layers));
	if (!m->layers)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	m->embeddings = nn_load(&body, s->vocab, s->d_model, "embed_tokens.weight");
	m->weight_bytes += m->embeddings ? m->embeddings->bytes : 0;
	m->norm = model_vector(m, &body, s->d_model, "norm.weight", 0);
	/* A file without a head of its own has the embeddings as its head. */
	m->head = nn_load_maybe(&head, s->vocab, s->d_model, "lm_head.weight");
	if (m->head)
		m->weight_bytes += m->head->bytes;
	else
		m->head = m->embeddings;
	nn_weight_pack(m->checkpoint, m->head, error);
	for (uint32_t i = 0; i < s->n_layers && !error->code; i++)
		m->family->load(m, &m->layers[i], &body, i);
	return error->code;
}

int model_open(struct model *m, const char *path, uint32_t context, struct nn_error *error)
{
	*m = (struct model){ 0 };
	m->checkpoint = nn_checkpoint_open(path, error);
	if (!m->checkpoint)
		return error->code ? error->code : -EINVAL;
	const cJSON *root = nn_checkpoint_config(m->checkpoint), *text = nn_config_object(root, "text_config");
	const cJSON *config = text ? text : root;
	int failed = !(m->family = family_find(config, error));

	failed = failed || model_configure(m, config, context, error) || model_rope(m, config, error) ||
		 model_end_tokens(m, config, root, error);
	failed = failed || (m->family->configure && m->family->configure(m, config, error)) || model_load(m, error);
	if (failed)
		model_close(m);
	return failed ? error->code : 0;
}

void model_close(struct model *m)
{
	free(m->layers);
	free(m->inv_freq);
	free(m->end);
	nn_checkpoint_close(m->checkpoint);
	*m = (struct model){ 0 };
}

/* model.c - a model's configuration and weights, from its files. */
#include "plugins/decoders/causal/model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_LAYERS_MAX = 4096, MODEL_CONTEXT_MAX = 1 << 26, MODEL_HEAD_MAX = 4096,
       ROPE_DIM_PART = MODEL_HEAD_MAX + 1 };

/* Prefixes of tensors in published files, transformers' own, and bundles; tried in order. */
static const char *const body_prefixes[] = { "model.", "language_model.model.", "model.language_model.", "transformer.",
					     "language_model.transformer.", "language_model.", "model.text_model.", "gpt_neox.", "", NULL };
static const char *const head_prefixes[] = { "", "language_model.", "model.", NULL };
static const char *const gguf_prefixes[] = { "", NULL };

uint32_t model_int(const cJSON *config, const char *names, int64_t fallback, int64_t max, struct nn_error *error)
{
	return (uint32_t)nn_config_int(config, names, fallback, 1, max, error);
}

/* Without these a GGUF file would be taken for another model than it is. */
static int model_required(const cJSON *config, struct nn_error *error)
{
	static const char *const keys[] = { "block_count", "embedding_length", "attention.head_count" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(config, keys[i])))
			return nn_fail(error, -EINVAL, "The file does not say its \"%s\" as a number.", keys[i]);
	return 0;
}

/* LLaMA's, and of what does not say its own. */
static const struct family_defaults model_defaults = { 4096, 11008, 32, 32, 0, 32000, 2048, 0 };

/* Sizes. Missing keys have the values that transformers' configurations give them. */
static void model_sizes(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;
	const struct family_defaults *d = m->family->defaults && !m->gguf ? m->family->defaults : &model_defaults;
	const int window = !cJSON_HasObjectItem(config, "sliding_window"); /* null: there is none */

	s->d_model = model_int(config, "hidden_size|n_embd|d_model|embedding_length", d->d_model, MODEL_DIM_MAX, error);
	s->d_ff = model_int(config, "intermediate_size|n_inner|feed_forward_length", d->d_ff, MODEL_DIM_MAX, error);
	s->n_layers = model_int(config, "num_hidden_layers|n_layer|n_layers|block_count", d->n_layers, MODEL_LAYERS_MAX, error);
	s->n_heads = model_int(config, "num_attention_heads|n_head|n_heads|attention.head_count", d->n_heads, MODEL_DIM_MAX, error);
	s->n_kv_heads = model_int(config, "num_key_value_heads|attention.head_count_kv", d->n_kv_heads ? d->n_kv_heads : s->n_heads,
				  MODEL_DIM_MAX, error);
	s->vocab = model_int(config, "vocab_size", m->embeddings ? (int64_t)m->embeddings->rows : d->vocab, MODEL_VOCAB_MAX, error);
	if (nn_load_maybe(&m->body, 0, 0, MODEL_ADDED_WORDS))
		s->vocab_added = (uint32_t)nn_config_int(config, "additional_vocab_size", 0, 0, MODEL_VOCAB_MAX, error);
	s->vocab += s->vocab_added;
	s->context = model_int(config, "max_position_embeddings|n_positions|max_seq_len|seq_length|n_ctx|context_length",
			       d->context, MODEL_CONTEXT_MAX, error);
	s->head_dim = model_int(config, "head_dim|kv_channels|attention.key_length",
				s->n_heads && s->d_model / s->n_heads ? s->d_model / s->n_heads : 1, MODEL_HEAD_MAX, error);
	s->v_dim = s->head_dim;
	s->word_dim = s->d_model;
	s->window = (uint32_t)nn_config_int(config, "sliding_window|attention.sliding_window", window ? d->window : 0, 0,
					    MODEL_CONTEXT_MAX, error);
}

/* What all families' configurations say. */
static int model_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;
	const char *activation = nn_config_string(config, "hidden_activation|hidden_act|activation_function", "silu");
	const int act = nn_activation_named(activation);

	if (m->gguf && model_required(config, error))
		return error->code;
	model_sizes(m, config, error);
	s->norm_eps = (float)nn_config_real(config, "rms_norm_eps|layer_norm_epsilon|layer_norm_eps|"
					    "attention.layer_norm_rms_epsilon|attention.layer_norm_epsilon", 1e-6, error);
	s->attention_bias = nn_config_bool(config, "attention_bias", 0, error);
	s->mlp_bias = nn_config_bool(config, "mlp_bias", 0, error);
	if (error->code)
		return error->code;
	if (act < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", activation);
	s->activation = (enum nn_activation)act;
	s->embedding_scale = s->logit_scale = 1;
	s->last_norm = 1;
	const cJSON *scaling = model_rope_scaling(m, config);
	const double part = nn_config_real(scaling, "partial_rotary_factor",
					   nn_config_real(config, "partial_rotary_factor|rotary_pct", 1, error), error);

	s->rope_part = part >= 0 && part <= 1 ? (float)part : 1;
	s->rope_dim = (uint32_t)nn_config_int(config, "rope.dimension_count", ROPE_DIM_PART, 0, MODEL_HEAD_MAX, error);
	return error->code;
}

/* What the family has made of it must fit together. */
static int model_check(struct model *m, struct nn_error *error)
{
	struct shape *s = &m->shape;

	if (s->rope_dim == ROPE_DIM_PART)
		s->rope_dim = (uint32_t)((float)s->head_dim * s->rope_part);
	if (s->n_heads % s->n_kv_heads || !(s->norm_eps >= 0 && isfinite(s->norm_eps)))
		return nn_fail(error, -EINVAL, "config.json: %u attention heads cannot share %u key-value heads, or "
			       "the norms' epsilon is out of range.", s->n_heads, s->n_kv_heads);
	if (s->rope_dim % 2 || s->head_dim > NN_HEAD || s->v_dim > NN_HEAD || s->rope_dim > s->head_dim ||
	    (uint64_t)s->head_dim * s->n_heads > MODEL_DIM_MAX || (uint64_t)s->v_dim * s->n_heads > MODEL_DIM_MAX)
		return nn_fail(error, -EINVAL, "config.json: %u heads of %u values, of which %u rotate, are out of range.",
			       s->n_heads, s->head_dim, s->rope_dim);
	/* Each layer has tensors of its own. */
	if (s->n_layers > nn_checkpoint_count(m->checkpoint))
		return nn_fail(error, -EINVAL, "%s: announces %u layers and holds %zu tensors.",
			       nn_checkpoint_path(m->checkpoint), s->n_layers, nn_checkpoint_count(m->checkpoint));
	s->q_dim = s->n_heads * s->head_dim;
	s->kv_dim = s->n_kv_heads * s->head_dim;
	if (!s->attention_scale)
		s->attention_scale = 1 / sqrtf((float)s->head_dim);
	return 0;
}

/* The embeddings' rows are the vocabulary where the configuration leaves it out. */
static void model_find_embeddings(struct model *m, struct nn_error *error)
{
	m->body = (struct nn_loader){ m->checkpoint, m->gguf ? gguf_prefixes : body_prefixes, error };
	m->head_loader = (struct nn_loader){ m->checkpoint, m->gguf ? gguf_prefixes : head_prefixes, error };
	m->embeddings = model_weight_maybe(m, 0, 0, "token_embd.weight", 0);
}

static int model_load(struct model *m, struct nn_error *error)
{
	const struct shape *s = &m->shape;

	if (vocabulary_load(m, error))
		return error->code;
	if (s->last_norm)
		m->norm = model_norm(m, s->d_model, "output_norm", 0);
	if (error->code)
		return error->code;
	m->layers = calloc(s->n_layers, sizeof(*m->layers));
	if (!m->layers)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < s->n_layers; i++) {
		m->layers[i].attention_scale = s->attention_scale;
		m->layers[i].window = m->slides && m->slides[i] ? s->window : 0;
		m->layers[i].kv = m->layers[i].window != 0;
		m->layers[i].kv_layer = m->kv_layers[m->layers[i].kv]++;
	}
	for (uint32_t i = 0; i < s->n_layers && !error->code; i++)
		m->family->load(m, &m->layers[i], i);
	return error->code;
}

/* Everything between the opened files and the loaded weights. */
static int model_read(struct model *m, uint32_t context, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(m->checkpoint), *text = nn_config_object(root, "text_config|llm_config");
	const cJSON *config = text ? text : root;

	m->gguf = nn_checkpoint_gguf(m->checkpoint) != NULL;
	m->family = family_find(config, error);
	if (!m->family)
		return error->code;
	model_find_embeddings(m, error);
	if (error->code || model_configure(m, config, error) ||
	    (m->family->configure && m->family->configure(m, config, error)) || model_check(m, error) ||
	    model_load(m, error) || model_positions(m, config, error) ||
	    ends_read(&m->ends, m->checkpoint, m->shape.vocab + m->shape.vocab_read, config, root, error))
		return error->code;
	if (context > m->shape.context)
		return nn_fail(error, -EINVAL, "A context of %u tokens is more than the %u that this model was made for.", context,
			       m->shape.context);
	if (context)
		m->shape.context = context;
	return 0;
}

int model_open(struct model *m, const char *path, const struct model_choice *choice, struct nn_error *error)
{
	*m = (struct model){ .fast = choice->fast };
	m->checkpoint = nn_checkpoint_open(path, error);
	if (m->checkpoint && choice->words)
		m->words = nn_checkpoint_open(choice->words, error);
	if (!m->checkpoint || (choice->words && !m->words)) {
		model_close(m);
		return error->code ? error->code : -EINVAL;
	}
	if (model_read(m, choice->context, error))
		model_close(m);
	return error->code;
}

void model_close(struct model *m)
{
	free(m->layers);
	free(m->ends.ids);
	nn_checkpoint_close(m->words);
	nn_checkpoint_close(m->checkpoint);
	*m = (struct model){ 0 };
}

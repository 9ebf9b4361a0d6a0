/* model.c - the model's configuration, from its files. */
#include "plugins/decoders/t5/model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { T5_LAYERS_MAX = 4096, T5_VOCAB_MAX = 1 << 24, T5_CONTEXT_MAX = 1 << 20, T5_BUCKETS_MAX = 1 << 12, T5_REACH_MAX = 1 << 14,
       T5_POSITIONS = 512 };

static const char *const t5_types[] = { "t5", "mt5", "umt5" };
static const char *const t5_classes[] = { "T5ForConditionalGeneration", "MT5ForConditionalGeneration",
					  "UMT5ForConditionalGeneration", "T5Model", "T5WithLMHeadModel" };

/* Which of the family it is; NULL if it is another model. */
static const char *t5_type(const cJSON *config)
{
	const char *type = nn_config_string(config, "model_type", "");
	const char *class = cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(config, "architectures"), 0));

	for (size_t i = 0; i < sizeof(t5_types) / sizeof(t5_types[0]); i++)
		if (!strcmp(t5_types[i], type))
			return t5_types[i];
	for (size_t i = 0; class && !*type && i < sizeof(t5_classes) / sizeof(t5_classes[0]); i++)
		if (!strcmp(t5_classes[i], class))
			return t5_types[0];
	return NULL;
}

static uint32_t t5_int(const cJSON *config, const char *names, int64_t fallback, int64_t max, struct nn_error *error)
{
	return (uint32_t)nn_config_int(config, names, fallback, 1, max, error);
}

/* Missing keys have the values that transformers' T5Config gives them. */
static void t5_sizes(struct t5_model *m, const cJSON *config, struct nn_error *error)
{
	struct t5_shape *s = &m->shape;
	const struct nn_weight *words = m->gguf ? nn_checkpoint_weight(m->checkpoint, "token_embd.weight") : NULL;

	s->vocab = t5_int(config, "vocab_size", words && words->rows <= T5_VOCAB_MAX ? (int64_t)words->rows : 32128, T5_VOCAB_MAX, error);
	s->d_model = t5_int(config, "d_model|hidden_size|embedding_length", 512, T5_DIM_MAX, error);
	s->head_dim = t5_int(config, "d_kv|attention.key_length", 64, NN_HEAD, error);
	s->d_ff = t5_int(config, "d_ff|feed_forward_length", 2048, T5_DIM_MAX, error);
	s->n_encoder = t5_int(config, "num_layers|num_hidden_layers|block_count", 6, T5_LAYERS_MAX, error);
	s->n_decoder = t5_int(config, "num_decoder_layers|decoder_block_count", s->n_encoder, T5_LAYERS_MAX, error);
	s->n_heads = t5_int(config, "num_heads|num_attention_heads|attention.head_count", 8, T5_DIM_MAX, error);
	s->buckets = (uint32_t)nn_config_int(config, "relative_attention_num_buckets|attention.relative_buckets_count", 32, 4,
					     T5_BUCKETS_MAX, error);
	s->reach = t5_int(config, "relative_attention_max_distance", 128, T5_REACH_MAX, error);
	s->norm_eps = (float)nn_config_real(config, "layer_norm_epsilon|attention.layer_norm_rms_epsilon|"
					    "attention.layer_norm_epsilon", 1e-6, error);
	s->context = 2 * t5_int(config, "n_positions|context_length", T5_POSITIONS, T5_CONTEXT_MAX / 2, error);
	s->start = (int32_t)nn_config_int(config, "decoder_start_token_id|pad_token_id", 0, 0, T5_VOCAB_MAX, error);
}

/* "relu", or "gated-gelu", whose gelu is the one with tanh. GGUF files do not say: a gate means that. */
static int t5_feed_forward(struct t5_model *m, const cJSON *config, struct nn_error *error)
{
	struct t5_shape *s = &m->shape;
	const int gated = m->gguf && nn_checkpoint_weight(m->checkpoint, "enc.blk.0.ffn_gate.weight");
	const char *how = m->gguf ? (gated ? "gated-gelu" : "relu") : nn_config_string(config, "feed_forward_proj", "relu");

	s->gated = !strncmp(how, "gated-", 6);
	const int activation = !strcmp(how, "gated-gelu") ? NN_GELU_TANH : nn_activation_named(how + (s->gated ? 6 : 0));

	if (activation < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the feed-forward part \"%.64s\" is not known here.", how);
	s->activation = (enum nn_activation)activation;
	return 0;
}

static int t5_check(struct t5_model *m, struct nn_error *error)
{
	struct t5_shape *s = &m->shape;

	if (!(s->norm_eps >= 0 && isfinite(s->norm_eps)))
		return nn_fail(error, -EINVAL, "config.json: the norms' epsilon is out of range.");
	if ((uint64_t)s->n_heads * s->head_dim > T5_DIM_MAX)
		return nn_fail(error, -EINVAL, "config.json: %u heads of %u values are out of range.", s->n_heads, s->head_dim);
	if (s->start >= (int64_t)s->vocab)
		return nn_fail(error, -EINVAL, "config.json: the token that decoding starts with, %d, is not of the vocabulary of %u.",
			       s->start, s->vocab);
	if (s->reach <= s->buckets / 2)
		return nn_fail(error, -EINVAL, "config.json: %u buckets do not fit relative positions up to %u.", s->buckets, s->reach);
	/* Each block has tensors of its own. */
	if ((uint64_t)s->n_encoder + s->n_decoder > nn_checkpoint_count(m->checkpoint))
		return nn_fail(error, -EINVAL, "%s: announces %u blocks and holds %zu tensors.", nn_checkpoint_path(m->checkpoint),
			       s->n_encoder + s->n_decoder, nn_checkpoint_count(m->checkpoint));
	s->inner = s->n_heads * s->head_dim;
	return 0;
}

static int t5_read(struct t5_model *m, uint32_t context, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(m->checkpoint), *text = nn_config_object(root, "text_config");
	const cJSON *config = text ? text : root;
	const char *type = t5_type(config);

	if (!type)
		return nn_fail(error, -ENOTSUP, "config.json names the language model \"%.64s\"; the t5 decoder knows: t5, mt5, umt5.",
			       nn_config_string(config, "model_type", ""));
	snprintf(m->type, sizeof(m->type), "%s", type);
	m->gguf = nn_checkpoint_gguf(m->checkpoint) != NULL;
	t5_sizes(m, config, error);
	if (error->code || t5_feed_forward(m, config, error) || t5_check(m, error) || t5_model_load(m, config, text != NULL, error))
		return error->code;
	if (context)
		m->shape.context = context;
	return ends_read(&m->ends, m->checkpoint, m->shape.vocab, config, root, error);
}

int t5_model_open(struct t5_model *m, const char *path, uint32_t context, int fast, struct nn_error *error)
{
	*m = (struct t5_model){ .fast = fast };
	m->checkpoint = nn_checkpoint_open(path, error);
	if (!m->checkpoint)
		return error->code ? error->code : -EINVAL;
	if (t5_read(m, context, error))
		t5_model_close(m);
	return error->code;
}

void t5_model_close(struct t5_model *m)
{
	free(m->encoder);
	free(m->decoder);
	free(m->ends.ids);
	nn_checkpoint_close(m->checkpoint);
	*m = (struct t5_model){ 0 };
}

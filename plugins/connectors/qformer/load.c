/* load.c - a Q-Former's configuration and weights, by the names that Hugging Face's BLIP-2 and InstructBLIP give them. */
#include "plugins/connectors/qformer/qformer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOAD_PATH_MAX = 4096 };

static const char *const load_prefixes[] = { "", "model.", NULL };

static uint32_t load_number(const cJSON *config, const char *name, int64_t fallback, int64_t most, struct nn_error *error)
{
	return (uint32_t)nn_config_int(config, name, fallback, 1, most, error);
}

static int load_configure(struct qformer *q, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(q->checkpoint), *config = nn_config_object(root, "qformer_config");
	const int instructed = !strcmp(nn_config_string(root, "model_type", ""), "instructblip");
	const char *activation = nn_config_string(config, "hidden_act", "gelu");
	const int act = nn_activation_named(activation);

	q->d_model = load_number(config, "hidden_size", 768, QFORMER_DIM_MAX, error);
	q->d_ff = load_number(config, "intermediate_size", 3072, QFORMER_DIM_MAX, error);
	q->n_layers = load_number(config, "num_hidden_layers", 12, QFORMER_LAYERS_MAX, error);
	q->n_heads = load_number(config, "num_attention_heads", 12, QFORMER_DIM_MAX, error);
	q->frequency = load_number(config, "cross_attention_frequency", 2, QFORMER_LAYERS_MAX, error);
	q->in_dim = load_number(config, "encoder_hidden_size", 1408, QFORMER_DIM_MAX, error);
	q->n_queries = load_number(root, "num_query_tokens", 32, QFORMER_QUERIES_MAX, error);
	q->norm_eps = (float)nn_config_real(config, "layer_norm_eps", 1e-12, error);
	if (instructed || nn_config_bool(config, "use_qformer_text_input", 0, error)) {
		q->context = load_number(config, "max_position_embeddings", 512, QFORMER_ROWS_MAX, error);
		q->vocab = load_number(config, "vocab_size", 30523, 1 << 24, error);
	}
	if (error->code)
		return error->code;
	if (act < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", activation);
	if (q->d_model % q->n_heads || q->d_model / q->n_heads > NN_HEAD || !(q->norm_eps >= 0))
		return nn_fail(error, -EINVAL, "config.json: %u values cannot be divided into %u attention heads, or layer_norm_eps is "
			       "out of range.", q->d_model, q->n_heads);
	q->activation = (enum nn_activation)act;
	return 0;
}

static struct affine load_affine(struct qformer *q, struct nn_loader *l, size_t rows, size_t cols, const char *name)
{
	struct nn_weight *w = nn_load(l, rows, cols, "%s.weight", name);

	if (w && nn_weight_pack(q->checkpoint, w, l->error))
		w = NULL;
	q->weight_bytes += w ? w->bytes : 0;
	return (struct affine){ w, w ? nn_load_vector(l, w->rows, "%s.bias", name) : NULL };
}

static struct norm load_norm(struct qformer *q, struct nn_loader *l, const char *name)
{
	return (struct norm){ nn_load_vector(l, q->d_model, "%s.weight", name), nn_load_vector(l, q->d_model, "%s.bias", name) };
}

/* `in`: values of a row of what keys and values are made of. */
static struct attention load_attention(struct qformer *q, struct nn_loader *l, uint32_t i, const char *part, uint32_t in)
{
	const size_t d = q->d_model;
	char name[5][128];

	for (int k = 0; k < 5; k++)
		snprintf(name[k], sizeof(name[k]), "qformer.encoder.layer.%u.%s.%s", i, part,
			 (const char *const[]){ "attention.query", "attention.key", "attention.value", "output.dense",
						"output.LayerNorm" }[k]);
	return (struct attention){
		.q = load_affine(q, l, d, d, name[0]), .k = load_affine(q, l, d, in, name[1]), .v = load_affine(q, l, d, in, name[2]),
		.out = load_affine(q, l, d, d, name[3]), .norm = load_norm(q, l, name[4]),
	};
}

static struct feed_forward load_feed_forward(struct qformer *q, struct nn_loader *l, uint32_t i, const char *suffix)
{
	char name[3][128];

	for (int k = 0; k < 3; k++)
		snprintf(name[k], sizeof(name[k]), "qformer.encoder.layer.%u.%s%s.%s", i, k ? "output" : "intermediate", suffix,
			 k == 2 ? "LayerNorm" : "dense");
	return (struct feed_forward){
		.in = load_affine(q, l, q->d_ff, q->d_model, name[0]), .out = load_affine(q, l, q->d_model, q->d_ff, name[1]),
		.norm = load_norm(q, l, name[2]),
	};
}

static void load_layers(struct qformer *q, struct nn_loader *l)
{
	if (q->n_layers > nn_checkpoint_count(q->checkpoint)) {
		nn_fail(l->error, -EINVAL, "%s: announces %u Q-Former layers and holds %zu tensors.", nn_checkpoint_path(q->checkpoint),
			q->n_layers, nn_checkpoint_count(q->checkpoint));
		return;
	}
	q->layers = calloc(q->n_layers, sizeof(*q->layers));
	if (!q->layers)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < q->n_layers && !l->error->code; i++) {
		q->layers[i].self = load_attention(q, l, i, "attention", q->d_model);
		if (i % q->frequency == 0)
			q->layers[i].cross = load_attention(q, l, i, "crossattention", q->in_dim);
		q->layers[i].queries = load_feed_forward(q, l, i, "_query");
		if (q->context)
			q->layers[i].text = load_feed_forward(q, l, i, "");
	}
}

/* A matrix of `values` numbers as floats. */
static const float *load_table(struct nn_loader *l, size_t values, const char *name)
{
	struct nn_weight *w = nn_load(l, 0, 0, "%s", name);

	if (w && w->rows * w->cols != values)
		nn_fail(l->error, -EINVAL, "%s has %zu values instead of %zu.", name, w->rows * w->cols, values);
	const float *f = l->error->code ? NULL : nn_weight_f32(l->checkpoint, w);

	if (!f && !l->error->code)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	return f;
}

/* The instruction's words, positions, and the tokenizer that comes with the model. */
static void load_text(struct qformer *q, struct nn_loader *l)
{
	char path[LOAD_PATH_MAX];

	q->words = nn_load(l, q->vocab, q->d_model, "qformer.embeddings.word_embeddings.weight");
	q->positions = load_table(l, (size_t)q->context * q->d_model, "qformer.embeddings.position_embeddings.weight");
	if (l->error->code)
		return;
	if (snprintf(path, sizeof(path), "%s/qformer_tokenizer", nn_checkpoint_path(q->checkpoint)) >= (int)sizeof(path))
		nn_fail(l->error, -ENAMETOOLONG, "The model's path is too long.");
	else
		q->tokenizer = nn_tokenizer_open(path, l->error);
}

int qformer_load(struct qformer *q, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = q->checkpoint, .prefixes = load_prefixes, .error = error };

	if (load_configure(q, error))
		return error->code;
	q->query = load_table(&l, (size_t)q->n_queries * q->d_model, "query_tokens");
	q->norm = load_norm(q, &l, q->context ? "qformer.embeddings.layernorm" : "qformer.layernorm");
	load_layers(q, &l);
	q->projection = load_affine(q, &l, 0, q->d_model, "language_projection");
	if (!error->code && q->context)
		load_text(q, &l);
	if (!error->code && q->projection.w->rows > QFORMER_DIM_MAX)
		nn_fail(error, -EINVAL, "language_projection.weight has too many rows.");
	q->out_dim = error->code ? 0 : (uint32_t)q->projection.w->rows;
	return error->code;
}

void qformer_close(void *connector)
{
	struct qformer *q = connector;

	nn_tokenizer_close(q->tokenizer);
	free(q->layers);
	nn_checkpoint_close(q->checkpoint);
	free(q);
}

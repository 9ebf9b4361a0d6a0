/* weights.c - the model's tensors by their names in Hugging Face's files and in GGUF's. */
#include "plugins/decoders/t5/model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum part { ENCODER, DECODER };

/* Names within a block. %d is the feed-forward's place among its parts: 1, or 2 behind the decoder's cross-attention. */
static const struct {
	const char *name, *hf;
} names[] = {
	{ "attn_norm", "layer.0.layer_norm" },
	{ "attn_q", "layer.0.SelfAttention.q" },
	{ "attn_k", "layer.0.SelfAttention.k" },
	{ "attn_v", "layer.0.SelfAttention.v" },
	{ "attn_o", "layer.0.SelfAttention.o" },
	{ "attn_rel_b", "layer.0.SelfAttention.relative_attention_bias" },
	{ "cross_attn_norm", "layer.1.layer_norm" },
	{ "cross_attn_q", "layer.1.EncDecAttention.q" },
	{ "cross_attn_k", "layer.1.EncDecAttention.k" },
	{ "cross_attn_v", "layer.1.EncDecAttention.v" },
	{ "cross_attn_o", "layer.1.EncDecAttention.o" },
	{ "ffn_norm", "layer.%d.layer_norm" },
	{ "ffn_gate", "layer.%d.DenseReluDense.wi_0" },
	{ "ffn_up", "layer.%d.DenseReluDense.wi_1" },
	{ "ffn_down", "layer.%d.DenseReluDense.wo" },
};
static const char *const hf_prefixes[] = { "", "language_model.", "model.language_model.", "model.", NULL };
static const char *const gguf_prefixes[] = { "", NULL };

/* A block's tensor. */
static void t5_name(const struct t5_model *m, enum part part, uint32_t i, const char *name, char out[128])
{
	char hf[64] = "";

	/* Where it is not gated there is one matrix, without a number. */
	if (!m->gguf && !m->shape.gated && !strcmp(name, "ffn_up")) {
		snprintf(hf, sizeof(hf), "layer.%d.DenseReluDense.wi", part == DECODER ? 2 : 1);
	} else {
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			if (!strcmp(names[k].name, name))
				snprintf(hf, sizeof(hf), names[k].hf, part == DECODER ? 2 : 1);
	}
	if (m->gguf)
		snprintf(out, 128, "%s.blk.%u.%s.weight", part == DECODER ? "dec" : "enc", i, name);
	else
		snprintf(out, 128, "%s.block.%u.%s.weight", part == DECODER ? "decoder" : "encoder", i, hf);
}

static struct nn_weight *t5_pack(struct t5_model *m, struct nn_weight *w)
{
	if (!w || (m->fast ? nn_weight_pack_codes : nn_weight_pack)(m->checkpoint, w, m->loader.error))
		return NULL;
	m->weight_bytes += w->packed_bytes;
	return w;
}

static const struct nn_weight *t5_matrix(struct t5_model *m, enum part part, uint32_t i, const char *name, size_t rows, size_t cols)
{
	char full[128];

	t5_name(m, part, i, name, full);
	return t5_pack(m, nn_load(&m->loader, rows, cols, "%s", full));
}

static const float *t5_norm(struct t5_model *m, enum part part, uint32_t i, const char *name)
{
	char full[128];

	t5_name(m, part, i, name, full);
	m->weight_bytes += m->shape.d_model * sizeof(float);
	return nn_load_vector(&m->loader, m->shape.d_model, "%s", full);
}

/* `prefix`: "attn" or "cross_attn". */
static void t5_load_attention(struct t5_model *m, struct t5_attention *a, enum part part, uint32_t i, const char *prefix)
{
	const struct t5_shape *s = &m->shape;
	const struct nn_weight **const weights[] = { &a->q, &a->k, &a->v, &a->o };
	char name[32];

	snprintf(name, sizeof(name), "%s_norm", prefix);
	a->norm = t5_norm(m, part, i, name);
	for (size_t k = 0; k < 4; k++) {
		snprintf(name, sizeof(name), "%s_%c", prefix, "qkvo"[k]);
		*weights[k] = t5_matrix(m, part, i, name, k == 3 ? s->d_model : s->inner, k == 3 ? s->inner : s->d_model);
	}
}

/* A block without a table of its own has the first one's. */
static const float *t5_load_relative(struct t5_model *m, enum part part, uint32_t i, const struct t5_layer *first)
{
	const size_t n = (size_t)m->shape.buckets * m->shape.n_heads;
	char full[128];

	t5_name(m, part, i, "attn_rel_b", full);
	const float *table = i ? nn_load_vector_maybe(&m->loader, n, "%s", full) : nn_load_vector(&m->loader, n, "%s", full);
	const float *relative = table ? t5_relative(m, table, part == ENCODER) : first->self.relative;

	if (table && !relative)
		nn_fail(m->loader.error, -ENOMEM, "Memory is out.");
	return relative;
}

static struct t5_layer *t5_load_blocks(struct t5_model *m, enum part part, uint32_t n)
{
	const struct t5_shape *s = &m->shape;
	struct t5_layer *layers = calloc(n, sizeof(*layers));

	if (!layers)
		nn_fail(m->loader.error, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; layers && i < n && !m->loader.error->code; i++) {
		struct t5_layer *l = &layers[i];

		t5_load_attention(m, &l->self, part, i, "attn");
		l->self.relative = t5_load_relative(m, part, i, layers);
		if (part == DECODER)
			t5_load_attention(m, &l->cross, part, i, "cross_attn");
		l->mlp.norm = t5_norm(m, part, i, "ffn_norm");
		l->mlp.gate = s->gated ? t5_matrix(m, part, i, "ffn_gate", s->d_ff, s->d_model) : NULL;
		l->mlp.up = t5_matrix(m, part, i, "ffn_up", s->d_ff, s->d_model);
		l->mlp.down = t5_matrix(m, part, i, "ffn_down", s->d_model, s->d_ff);
	}
	return layers;
}

/* The same numbers in the same type. */
static int t5_is_copy(const struct nn_weight *a, const struct nn_weight *b)
{
	return a->type == b->type && a->format == b->format && a->bytes == b->bytes && !memcmp(a->data, b->data, a->bytes);
}

/* A file without a head of its own has the words as its head, and then, but for mT5, scales what
 * that takes. Some files with tied words hold
 * a copy of them under the head's name. */
static void t5_load_head(struct t5_model *m, const cJSON *config)
{
	const struct t5_shape *s = &m->shape;
	const int tied = nn_config_bool(config, "tie_word_embeddings", 1, m->loader.error);

	m->head = nn_load_maybe(&m->loader, s->vocab, s->d_model, m->gguf ? "output.weight" : "lm_head.weight");
	m->head_scale = 1;
	if (!m->head || (tied && !m->gguf && t5_is_copy(m->head, m->words))) {
		m->head = m->words;
		m->head_scale = strcmp(m->type, "mt5") ? 1 / sqrtf((float)s->d_model) : 1;
	}
	t5_pack(m, m->head);
}

/* Most files hold the words once. Where encoder and decoder have their own, a bundle's prompt still is of the shared ones. */
static void t5_load_words(struct t5_model *m, int bundle)
{
	static const char *const part_names[] = { "encoder.embed_tokens.weight", "decoder.embed_tokens.weight" };
	const uint32_t rows = m->shape.vocab, cols = m->shape.d_model;
	struct nn_weight *shared = nn_load_maybe(&m->loader, rows, cols, m->gguf ? "token_embd.weight" : "shared.weight");
	struct nn_weight *own[2] = { NULL, NULL };

	for (size_t i = 0; !m->gguf && i < 2; i++)
		own[i] = nn_load_maybe(&m->loader, rows, cols, "%s", part_names[i]);
	if (!shared)
		shared = own[0] ? own[0] : nn_load(&m->loader, rows, cols, m->gguf ? "token_embd.weight" : "shared.weight");
	m->words = own[0] && !bundle ? own[0] : shared;
	m->decoder_words = own[1] ? own[1] : shared;
	m->weight_bytes += shared ? shared->bytes : 0;
}

int t5_model_load(struct t5_model *m, const cJSON *config, int bundle, struct nn_error *error)
{
	const struct t5_shape *s = &m->shape;

	m->loader = (struct nn_loader){ m->checkpoint, m->gguf ? gguf_prefixes : hf_prefixes, error };
	t5_load_words(m, bundle);
	if (error->code)
		return error->code;
	m->encoder = t5_load_blocks(m, ENCODER, s->n_encoder);
	m->decoder = t5_load_blocks(m, DECODER, s->n_decoder);
	m->encoder_norm = nn_load_vector(&m->loader, s->d_model, m->gguf ? "enc.output_norm.weight" : "encoder.final_layer_norm.weight");
	m->decoder_norm = nn_load_vector(&m->loader, s->d_model, m->gguf ? "dec.output_norm.weight" : "decoder.final_layer_norm.weight");
	if (!error->code)
		t5_load_head(m, config);
	return error->code;
}

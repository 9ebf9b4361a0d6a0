/* decoder.c - BLIP's text decoder (Li 2022): BERT's layers (Devlin 2019), each with attention over the picture's rows. */
#include "plugins/experts/caption/caption.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DECODER_LAYERS_MAX = 1024, DECODER_DIM_MAX = 1 << 16, DECODER_VOCAB_MAX = 1 << 22 };

static const char *const prefixes[] = { "text_decoder.", "model.text_decoder.", "", NULL };

/* Missing keys have the values that transformers' BlipTextConfig gives them. */
static int decoder_configure(struct decoder *d, const struct nn_checkpoint *cp, const cJSON *config, struct nn_error *error)
{
	const char *activation = nn_config_string(config, "hidden_act", "gelu");
	const int act = nn_activation_named(activation);

	d->d_model = (uint32_t)nn_config_int(config, "hidden_size", 768, 1, DECODER_DIM_MAX, error);
	d->d_ff = (uint32_t)nn_config_int(config, "intermediate_size", 3072, 1, DECODER_DIM_MAX, error);
	d->n_layers = (uint32_t)nn_config_int(config, "num_hidden_layers", 12, 1, DECODER_LAYERS_MAX, error);
	d->n_heads = (uint32_t)nn_config_int(config, "num_attention_heads", 8, 1, DECODER_DIM_MAX, error);
	d->vocab = (uint32_t)nn_config_int(config, "vocab_size", 30524, 1, DECODER_VOCAB_MAX, error);
	d->context = (uint32_t)nn_config_int(config, "max_position_embeddings", 512, 2, DECODER_VOCAB_MAX, error);
	d->norm_eps = (float)nn_config_real(config, "layer_norm_eps", 1e-12, error);
	d->start = (int32_t)nn_config_int(config, "bos_token_id", 30522, 0, DECODER_VOCAB_MAX, error);
	d->end = (int32_t)nn_config_int(config, "sep_token_id", 102, 0, DECODER_VOCAB_MAX, error);
	if (error->code)
		return error->code;
	if (act < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", activation);
	d->activation = (enum nn_activation)act;
	if (d->d_model % d->n_heads || d->d_model / d->n_heads > NN_HEAD || !(d->norm_eps >= 0) ||
	    d->start >= (int32_t)d->vocab || d->n_layers > nn_checkpoint_count(cp))
		return nn_fail(error, -EINVAL, "config.json: a text decoder of %u layers, %u values, %u heads and %u words does not fit "
			       "together.", d->n_layers, d->d_model, d->n_heads, d->vocab);
	return 0;
}

static struct affine decoder_affine(struct decoder *d, struct nn_loader *l, size_t rows, size_t cols, const char *name)
{
	struct nn_weight *w = nn_load(l, rows, cols, "%s.weight", name);
	struct affine a = { .b = nn_load_vector(l, rows, "%s.bias", name) };

	if (w && !nn_weight_pack(l->checkpoint, w, l->error)) {
		d->weight_bytes += w->packed_bytes;
		a.w = w;
	}
	return a;
}

static struct norm decoder_norm(const struct decoder *d, struct nn_loader *l, const char *name)
{
	return (struct norm){ nn_load_vector(l, d->d_model, "%s.weight", name), nn_load_vector(l, d->d_model, "%s.bias", name) };
}

/* `seen`: values of a row that keys and values are made of. */
static void decoder_attention(struct decoder *d, struct nn_loader *l, uint32_t i, const char *what, uint32_t seen, struct attention *a)
{
	const struct {
		const char *name;
		struct affine *to;
		uint32_t cols;
	} parts[] = { { "self.query", &a->q, d->d_model }, { "self.key", &a->k, seen }, { "self.value", &a->v, seen },
		      { "output.dense", &a->out, d->d_model } };
	char name[128];

	for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++) {
		snprintf(name, sizeof(name), "bert.encoder.layer.%u.%s.%s", i, what, parts[k].name);
		*parts[k].to = decoder_affine(d, l, d->d_model, parts[k].cols, name);
	}
	snprintf(name, sizeof(name), "bert.encoder.layer.%u.%s.output.LayerNorm", i, what);
	a->norm = decoder_norm(d, l, name);
}

static void decoder_block(struct decoder *d, struct nn_loader *l, uint32_t i)
{
	struct block *b = &d->blocks[i];
	char name[128];

	decoder_attention(d, l, i, "attention", d->d_model, &b->self);
	decoder_attention(d, l, i, "crossattention", d->seen, &b->cross);
	snprintf(name, sizeof(name), "bert.encoder.layer.%u.intermediate.dense", i);
	b->up = decoder_affine(d, l, d->d_ff, d->d_model, name);
	snprintf(name, sizeof(name), "bert.encoder.layer.%u.output.dense", i);
	b->down = decoder_affine(d, l, d->d_model, d->d_ff, name);
	snprintf(name, sizeof(name), "bert.encoder.layer.%u.output.LayerNorm", i);
	b->norm = decoder_norm(d, l, name);
}

/* A file without a head of its own has the words as its head. */
static void decoder_head(struct decoder *d, struct nn_loader *l)
{
	struct nn_weight *w = nn_load_maybe(l, d->vocab, d->d_model, "cls.predictions.decoder.weight");

	w = w ? w : d->words;
	d->head.b = nn_load_vector_maybe(l, d->vocab, "cls.predictions.decoder.bias");
	if (!d->head.b)
		d->head.b = nn_load_vector_maybe(l, d->vocab, "cls.predictions.bias");
	if (w && !nn_weight_pack(l->checkpoint, w, l->error)) {
		d->weight_bytes += w->packed_bytes;
		d->head.w = w;
	}
}

int decoder_open(struct decoder *d, struct nn_checkpoint *checkpoint, uint32_t seen, struct nn_error *error)
{
	const cJSON *config = nn_config_object(nn_checkpoint_config(checkpoint), "text_config");
	struct nn_loader l = { checkpoint, prefixes, error };

	d->seen = seen;
	if (decoder_configure(d, checkpoint, config, error))
		return error->code;
	d->words = nn_load(&l, d->vocab, d->d_model, "bert.embeddings.word_embeddings.weight");
	d->positions = nn_load(&l, d->context, d->d_model, "bert.embeddings.position_embeddings.weight");
	d->norm = decoder_norm(d, &l, "bert.embeddings.LayerNorm");
	d->blocks = error->code ? NULL : calloc(d->n_layers, sizeof(*d->blocks));
	if (!error->code && !d->blocks)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < d->n_layers && !error->code; i++)
		decoder_block(d, &l, i);
	d->transform = decoder_affine(d, &l, d->d_model, d->d_model, "cls.predictions.transform.dense");
	d->head_norm = decoder_norm(d, &l, "cls.predictions.transform.LayerNorm");
	if (!error->code)
		decoder_head(d, &l);
	return error->code;
}

void decoder_fini(struct decoder *d)
{
	free(d->blocks);
	*d = (struct decoder){ 0 };
}

/* ---- saying ---- */

/* Keys and values of one layer: of what was said, (most, d_model), and of the picture, (n, d_model). */
struct memory {
	struct nn_tensor k, v, seen_k, seen_v;
};

/* x = LayerNorm(x + out(attention(q over k, v))). */
static struct nn_tensor decoder_attend(struct nn *c, const struct decoder *d, const struct attention *a, struct nn_tensor x,
				       struct nn_tensor k, struct nn_tensor v)
{
	const struct nn_attention how = { .heads = d->n_heads, .kv_heads = d->n_heads,
					  .scale = 1 / sqrtf((float)(d->d_model / d->n_heads)) };
	struct nn_tensor h = nn_attention(c, nn_linear(c, x, a->q.w, a->q.b), k, v, &how);

	h = nn_linear(c, h, a->out.w, a->out.b);
	nn_add_to(c, h, x);
	return nn_layer_norm(c, h, a->norm.w, a->norm.b, d->norm_eps);
}

static void decoder_keep(struct nn_tensor to, uint32_t at, struct nn_tensor row)
{
	if (to.data && row.data)
		memcpy(to.data + at * to.stride, row.data, row.cols * sizeof(float));
}

/* (1, vocab): the logits behind token `id` at place `at`. */
static struct nn_tensor decoder_step(struct nn *c, const struct decoder *d, struct memory *m, int32_t id, uint32_t at)
{
	const int32_t place = (int32_t)at;
	struct nn_tensor x = nn_embed(c, d->words, &id, 1), h;

	nn_add_to(c, x, nn_embed(c, d->positions, &place, 1));
	x = nn_layer_norm(c, x, d->norm.w, d->norm.b, d->norm_eps);
	for (uint32_t i = 0; i < d->n_layers && !nn_stopped(c); i++) {
		const struct block *b = &d->blocks[i];

		decoder_keep(m[i].k, at, nn_linear(c, x, b->self.k.w, b->self.k.b));
		decoder_keep(m[i].v, at, nn_linear(c, x, b->self.v.w, b->self.v.b));
		x = decoder_attend(c, d, &b->self, x, nn_rows(m[i].k, 0, at + 1), nn_rows(m[i].v, 0, at + 1));
		x = decoder_attend(c, d, &b->cross, x, m[i].seen_k, m[i].seen_v);
		h = nn_linear(c, x, b->up.w, b->up.b);
		nn_activate(c, h, d->activation);
		h = nn_linear(c, h, b->down.w, b->down.b);
		nn_add_to(c, h, x);
		x = nn_layer_norm(c, h, b->norm.w, b->norm.b, d->norm_eps);
	}
	x = nn_linear(c, x, d->transform.w, d->transform.b);
	nn_activate(c, x, d->activation);
	x = nn_layer_norm(c, x, d->head_norm.w, d->head_norm.b, d->norm_eps);
	return nn_linear(c, x, d->head.w, d->head.b);
}

/* The best id, and *log_p its probability's logarithm. */
static int32_t decoder_best(struct nn_tensor logits, double *log_p)
{
	size_t best = 0;
	double sum = 0;

	for (size_t i = 1; i < logits.cols; i++)
		best = logits.data[i] > logits.data[best] ? i : best;
	for (size_t i = 0; i < logits.cols; i++)
		sum += exp((double)logits.data[i] - logits.data[best]);
	*log_p = -log(sum);
	return (int32_t)best;
}

static struct memory *decoder_remember(struct nn *c, const struct decoder *d, struct nn_tensor picture, uint32_t most)
{
	struct memory *m = nn_memory(c, d->n_layers, sizeof(*m));

	for (uint32_t i = 0; m && i < d->n_layers && !nn_stopped(c); i++) {
		const struct attention *a = &d->blocks[i].cross;

		m[i] = (struct memory){ nn_new(c, most, d->d_model), nn_new(c, most, d->d_model),
					nn_linear(c, picture, a->k.w, a->k.b), nn_linear(c, picture, a->v.w, a->v.b) };
	}
	return m;
}

int decoder_say(struct nn *c, const struct decoder *d, struct nn_tensor picture, int32_t *ids, uint32_t most, float *confidence)
{
	const uint32_t end = most < d->context ? most : d->context;
	struct memory *m = decoder_remember(c, d, picture, end);
	double log_p, sum = 0;
	int32_t id = d->start;
	uint32_t n = 0, said = 0;

	while (n < end && !nn_stopped(c)) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		struct nn_tensor logits = decoder_step(c, d, m, id, n);

		if (c->error)
			break;
		id = decoder_best(logits, &log_p);
		nn_arena_release(c->arena, mark);
		sum += log_p;
		said++;
		if (id == d->end)
			break;
		ids[n++] = id;
	}
	*confidence = said ? (float)exp(sum / said) : -1;
	return c->error ? c->error : (int)n;
}

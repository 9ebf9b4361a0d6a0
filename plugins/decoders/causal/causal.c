/* causal.c - the plugin: causal language models with paged keys and values. */
#include "plugins/decoders/causal/causal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/decoders/causal/choice.h"

static void causal_close(void *decoder)
{
	struct causal *d = decoder;

	nn_arena_free(d->arena);
	kv_fini(&d->kv[0]);
	kv_fini(&d->kv[1]);
	model_close(&d->model);
	free(d);
}

static int causal_open(struct percept_call *call, const struct percept_open *open, void **decoder)
{
	struct nn_error error = { 0 };

	if (!open->model)
		return percept_fail(call, -EINVAL, "The causal decoder needs a model: name a directory with config.json and "
				    "model.safetensors, or a .gguf file.");
	struct causal *d = calloc(1, sizeof(*d));

	if (!d)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	const struct percept_value *words = percept_option(open, "words");
	const struct model_choice choice = { .context = choice_number(open, "context", 0), .words = words ? words->string : NULL,
					     .fast = !choice_is(open, "compute", "f32") };

	if (model_open(&d->model, open->model, &choice, &error)) {
		free(d);
		return percept_fail(call, error.code, "%s", error.text);
	}
	for (const struct recoded *r = d->model.recoded; r < d->model.recoded + MODEL_RECODED && r->n; r++)
		call->host->note(call, PERCEPT_LOG_INFO, "%u tensors of %s are computed as Q8_0.", r->n, r->format->name);
	const struct shape *s = &d->model.shape;

	const struct nn_page_shape pages = { s->n_kv_heads, s->head_dim, s->v_dim, choice_pages(open) };

	d->arena = nn_arena_new(0);
	d->max_batch = choice_number(open, "batch", 8192);
	d->budget.most = choice_budget(open);
	if (!d->arena || kv_init(&d->kv[0], d->model.kv_layers[0], &pages, open->max_sequences, 0, &d->budget) ||
	    kv_init(&d->kv[1], d->model.kv_layers[1], &pages, open->max_sequences, s->window, &d->budget)) {
		causal_close(d);
		return percept_fail(call, -ENOMEM, "Memory is out.");
	}
	snprintf(d->identity, sizeof(d->identity), "causal-1-%s%s%s", nn_checkpoint_identity(d->model.checkpoint), words ? "-" : "",
		 words ? nn_checkpoint_identity(d->model.words) : "");
	*decoder = d;
	return 0;
}

static int causal_info(void *decoder, struct percept_decoder_info *info)
{
	const struct causal *d = decoder;
	const struct shape *s = &d->model.shape;

	*info = (struct percept_decoder_info){
		.size = sizeof(*info),
		.capabilities = PERCEPT_CAN_EMBEDDINGS | PERCEPT_CAN_BIDIRECTIONAL | PERCEPT_CAN_FORK | PERCEPT_CAN_TRIM |
				PERCEPT_CAN_HOOK_LAYERS | PERCEPT_CAN_HIDDEN |
				(d->model.family->project ? 0 : PERCEPT_CAN_HOOK_PROJECT) |
				(d->model.rope[0].axis ? PERCEPT_CAN_MROPE : 0),
		.vocab = s->vocab, .d_model = s->d_model, .n_layers = s->n_layers, .context = s->context,
		.max_batch = d->max_batch, .n_end = d->model.ends.n, .end = d->model.ends.ids, .start = -1, .n_heads = s->n_heads,
		.family = d->model.family->name, .identity = d->identity, .weight_bytes = d->model.weight_bytes,
		.qkv_dim = s->q_dim + 2 * s->kv_dim, .out_dim = s->n_heads * s->v_dim,
	};
	return 0;
}

/* What is wrong with row `i`; NULL if nothing is. */
static const char *causal_row_fault(const struct causal *d, const struct percept_row *row)
{
	if (row->sequence >= d->kv[0].n_sequences)
		return "its sequence number is out of range";
	if (row->token >= (int64_t)d->model.shape.vocab + d->model.shape.vocab_read)
		return "its token is not of the vocabulary";
	if (row->token < 0 && !row->embedding)
		return "it has neither a token nor an embedding";
	if (row->position[0] < 0 || (d->model.rope[0].axis && (row->position[1] < 0 || row->position[2] < 0)))
		return "its position is negative";
	if (row->adapter)
		return "it names an adapter, and this decoder takes none";
	if (row->wants & PERCEPT_ENCODER_ROW)
		return "it is for an encoder, and this decoder has none";
	return NULL;
}

/* The next row of a row's sequence in the batch, if it is of the same span; else b->n. */
static uint32_t causal_span_next(const struct percept_batch *b, uint32_t t)
{
	for (uint32_t later = t + 1; b->rows[t].span && later < b->n; later++) {
		if (b->rows[later].sequence == b->rows[t].sequence)
			return b->rows[later].span == b->rows[t].span ? later : b->n;
	}
	return b->n;
}

/* A span's rows see each other. */
static void causal_place_spans(const struct percept_batch *b, struct place *places)
{
	for (uint32_t t = b->n; t-- > 0;) {
		const uint32_t next = causal_span_next(b, t);

		if (next < b->n)
			places[t].visible = places[next].visible;
	}
	for (uint32_t t = 0; t < b->n; t++) {
		const uint32_t next = causal_span_next(b, t);

		if (next < b->n)
			places[next].begin = places[t].begin;
	}
}

/* Where each row lies; a span's rows see all rows of the batch up to the span's last. */
static int causal_place(struct percept_call *call, struct causal *d, const struct percept_batch *b, struct place *places,
			uint32_t *counts)
{
	for (uint32_t t = 0; t < b->n; t++) {
		const struct percept_row *row = &b->rows[t];
		const char *fault = causal_row_fault(d, row);

		if (fault)
			return percept_fail(call, -EINVAL, "Row %u of the batch is refused: %s.", t, fault);
		const uint32_t index = d->kv[0].sequences[row->sequence].n + counts[row->sequence]++;

		if (index >= d->model.shape.context)
			return percept_fail(call, -E2BIG, "The sequence is longer than the context of %u tokens.",
					    d->model.shape.context);
		places[t] = (struct place){ row->sequence, index, index + 1, index };
	}
	causal_place_spans(b, places);
	return 0;
}

/* `n` rows more of a sequence are valid; pages that were reserved for others, or that no window covers, are given back. */
static void causal_keep(struct causal *d, uint32_t sequence, uint32_t n)
{
	for (uint32_t i = 0; i < 2; i++) {
		d->kv[i].sequences[sequence].n += n;
		kv_trim(&d->kv[i], sequence, d->kv[i].sequences[sequence].n);
		kv_forget(&d->kv[i], sequence);
	}
}

static int causal_step(struct percept_call *call, void *decoder, struct percept_batch *batch)
{
	struct causal *d = decoder;
	struct place *places = percept_alloc(call, ((size_t)batch->n + 1) * sizeof(*places));
	uint32_t *counts = percept_alloc(call, ((size_t)d->kv[0].n_sequences + 1) * sizeof(*counts));

	batch->logits = batch->hidden = NULL;
	if (!places || !counts)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	if (batch->n > d->max_batch)
		return percept_fail(call, -EINVAL, "A step takes at most %u rows, and %u were given.", d->max_batch, batch->n);
	int error = causal_place(call, d, batch, places, counts);

	for (uint32_t i = 0; i < d->kv[0].n_sequences && !error; i++) {
		if (kv_reserve(&d->kv[0], i, counts[i]) || kv_reserve(&d->kv[1], i, counts[i]))
			error = percept_fail(call, -ENOMEM, "Memory for keys and values is out (%llu MiB, option kv_memory).",
					     (unsigned long long)(d->budget.most >> 20));
	}
	if (!error && batch->n)
		error = causal_forward(call, d, batch, places);
	for (uint32_t i = 0; i < d->kv[0].n_sequences; i++) {
		if (!counts[i])
			continue;
		causal_keep(d, i, error ? 0 : counts[i]);
	}
	return error;
}

/* Rows that a window needs may be gone: then neither half is changed. */
static int causal_sequence_trim(void *decoder, uint32_t sequence, uint32_t length)
{
	struct causal *d = decoder;
	const int error = kv_trim(&d->kv[1], sequence, length);

	return error ? error : kv_trim(&d->kv[0], sequence, length);
}

static int causal_sequence_new(void *decoder, uint32_t sequence)
{
	return causal_sequence_trim(decoder, sequence, 0);
}

static int causal_sequence_fork(void *decoder, uint32_t from, uint32_t to, uint32_t length)
{
	struct causal *d = decoder;
	int error = kv_fork(&d->kv[1], from, to, length);

	if (!error)
		error = kv_fork(&d->kv[0], from, to, length);
	if (error && to < d->kv[0].n_sequences && to != from)
		causal_sequence_new(decoder, to);
	return error;
}

static void causal_sequence_free(void *decoder, uint32_t sequence)
{
	causal_sequence_trim(decoder, sequence, 0);
}

static uint64_t causal_sequence_bytes(void *decoder, uint32_t sequence)
{
	const struct causal *d = decoder;

	return kv_bytes(&d->kv[0], sequence) + kv_bytes(&d->kv[1], sequence);
}

static int causal_embed(struct percept_call *call, void *decoder, const int32_t *ids, uint32_t n, const float **embeddings)
{
	struct causal *d = decoder;
	const size_t dim = d->model.shape.d_model;
	struct nn c;

	nn_arena_reset(d->arena);
	nn_begin(&c, call, d->arena);
	struct nn_tensor x = causal_embeddings(&c, &d->model, ids, n);
	float *out = percept_alloc(call, ((size_t)n + 1) * dim * sizeof(float));

	if (c.error == -EINVAL)
		return percept_fail(call, c.error, "A token is not of the vocabulary of %u.", d->model.shape.vocab + d->model.shape.vocab_read);
	if (c.error || !out)
		return percept_fail(call, c.error ? c.error : -ENOMEM, "The embeddings of %u tokens were not made.", n);
	for (size_t i = 0; i < n * dim; i++)
		out[i] = x.data[i / dim * x.stride + i % dim];
	*embeddings = out;
	return 0;
}

static const struct percept_option options[] = {
	{ .name = "context", .type = PERCEPT_OPTION_INT, .min = 1, .max = 1 << 26,
	  .help = "tokens that a sequence can hold; the model's own number by default" },
	{ .name = "batch", .type = PERCEPT_OPTION_INT, .fallback = "8192", .min = 1, .max = 65536,
	  .help = "tokens that one step computes at most, those of a picture that sees itself both ways included" },
	{ .name = "words", .type = PERCEPT_OPTION_PATH,
	  .help = "files of token embeddings, and of a head where they have one, that take the place of the model's" },
	CHOICE_OPTIONS,
};
static const struct percept_decoder ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options,
	.open = causal_open, .close = causal_close, .info = causal_info, .step = causal_step,
	.sequence_new = causal_sequence_new, .sequence_fork = causal_sequence_fork,
	.sequence_trim = causal_sequence_trim, .sequence_free = causal_sequence_free,
	.sequence_bytes = causal_sequence_bytes, .embed = causal_embed,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_DECODER, .name = "causal", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Causal language models: LLaMA, Mistral, Mixtral, Qwen, Qwen2-VL, Gemma, Phi-3, GPT-2, GPT-NeoX, OPT, MPT, DeepSeek-V2, Idefics, Llama 3.2 Vision", .ops = &ops,
};

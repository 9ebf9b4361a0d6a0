/* t5.c - the plugin: encoder-decoder language models. A sequence is its encoder's rows, then its decoder's. */
#include "plugins/decoders/t5/t5.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/decoders/causal/choice.h"

static void t5_close(void *decoder)
{
	struct t5 *d = decoder;

	nn_arena_free(d->arena);
	kv_fini(&d->self);
	kv_fini(&d->cross);
	t5_model_close(&d->model);
	free(d);
}

static int t5_open(struct percept_call *call, const struct percept_open *open, void **decoder)
{
	struct nn_error error = { 0 };
	struct t5 *d = open->model ? calloc(1, sizeof(*d)) : NULL;

	if (!open->model)
		return percept_fail(call, -EINVAL, "The t5 decoder needs a model: name a directory with config.json and "
				    "model.safetensors, or a .gguf file.");
	if (!d)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	if (t5_model_open(&d->model, open->model, choice_number(open, "context", 0), !choice_is(open, "compute", "f32"), &error)) {
		free(d);
		return percept_fail(call, error.code, "%s", error.text);
	}
	const struct t5_shape *s = &d->model.shape;
	const struct nn_page_shape pages = { s->n_heads, s->head_dim, s->head_dim, choice_pages(open) };
	const uint32_t batch = choice_number(open, "batch", 0);

	/* An encoder's rows come in one step, however many, beside a row of each other sequence. */
	d->max_batch = (batch > s->context ? batch : s->context) + open->max_sequences;
	d->arena = nn_arena_new(0);
	d->budget.most = choice_budget(open);
	if (!d->arena || kv_init(&d->self, s->n_decoder, &pages, open->max_sequences, 0, &d->budget) ||
	    kv_init(&d->cross, s->n_decoder, &pages, open->max_sequences, 0, &d->budget)) {
		t5_close(d);
		return percept_fail(call, -ENOMEM, "Memory is out.");
	}
	snprintf(d->identity, sizeof(d->identity), "t5-1-%s", nn_checkpoint_identity(d->model.checkpoint));
	*decoder = d;
	return 0;
}

static int t5_info(void *decoder, struct percept_decoder_info *info)
{
	const struct t5 *d = decoder;
	const struct t5_shape *s = &d->model.shape;

	*info = (struct percept_decoder_info){
		.size = sizeof(*info),
		.capabilities = PERCEPT_CAN_EMBEDDINGS | PERCEPT_CAN_BIDIRECTIONAL | PERCEPT_CAN_FORK | PERCEPT_CAN_TRIM |
				PERCEPT_CAN_ENCODE | PERCEPT_CAN_HIDDEN,
		.vocab = s->vocab, .d_model = s->d_model, .n_layers = s->n_decoder, .context = s->context,
		.max_batch = d->max_batch, .n_end = d->model.ends.n, .end = d->model.ends.ids, .start = s->start,
		.n_heads = s->n_heads, .family = d->model.type, .identity = d->identity, .weight_bytes = d->model.weight_bytes,
	};
	return 0;
}

/* What a step does to a sequence. */
struct t5_change {
	uint32_t rows[2]; /* new ones of its encoder and of its decoder */
};

/* What is wrong with a row; NULL if nothing is. */
static const char *t5_row_fault(const struct t5 *d, const struct percept_row *row, const struct t5_change *changes)
{
	if (row->sequence >= d->self.n_sequences)
		return "its sequence number is out of range";
	if (row->token >= (int64_t)d->model.shape.vocab)
		return "its token is not of the vocabulary";
	if (row->token < 0 && !row->embedding)
		return "it has neither a token nor an embedding";
	if (row->position[0] < 0)
		return "its position is negative";
	if (row->adapter)
		return "it names an adapter, and this decoder takes none";
	const int encoder = (row->wants & PERCEPT_ENCODER_ROW) != 0;

	if (encoder && (row->wants & PERCEPT_WANT_LOGITS))
		return "it is the encoder's, and wants logits";
	if (encoder && (d->cross.sequences[row->sequence].n || changes[row->sequence].rows[1]))
		return "its sequence has all its encoder rows already";
	if (!encoder && !d->cross.sequences[row->sequence].n && !changes[row->sequence].rows[0])
		return "its sequence has no encoder rows yet";
	return NULL;
}

/* Where each row lies, and how many each sequence gets. */
static int t5_place(struct percept_call *call, struct t5 *d, const struct percept_batch *b, struct t5_place *places,
		    struct t5_change *changes)
{
	for (uint32_t t = 0; t < b->n; t++) {
		const struct percept_row *row = &b->rows[t];
		const char *fault = t5_row_fault(d, row, changes);

		if (fault)
			return percept_fail(call, -EINVAL, "Row %u of the batch is refused: %s.", t, fault);
		const int part = !(row->wants & PERCEPT_ENCODER_ROW);
		struct t5_change *change = &changes[row->sequence];
		const uint32_t before = part ? d->self.sequences[row->sequence].n : 0;

		places[t].index = before + change->rows[part]++;
		if ((uint64_t)d->cross.sequences[row->sequence].n + d->self.sequences[row->sequence].n + change->rows[0] +
		    change->rows[1] > d->model.shape.context)
			return percept_fail(call, -E2BIG, "The sequence is longer than the context of %u tokens.",
					    d->model.shape.context);
	}
	return 0;
}

/* The rows of either part, sequence by sequence. */
static void t5_divide(const struct t5 *d, const struct percept_batch *b, const struct t5_change *changes, struct t5_place *places,
		      struct t5_rows parts[2])
{
	for (uint32_t s = 0; s < d->self.n_sequences; s++) {
		if (!changes[s].rows[0] && !changes[s].rows[1])
			continue;
		for (uint32_t t = 0; t < b->n; t++) {
			struct t5_rows *part = &parts[!(b->rows[t].wants & PERCEPT_ENCODER_ROW)];

			if (b->rows[t].sequence != s)
				continue;
			places[t].slot = part->n;
			part->rows[part->n++] = t;
		}
	}
}

static int t5_reserve(struct percept_call *call, struct t5 *d, const struct t5_change *changes)
{
	for (uint32_t s = 0; s < d->self.n_sequences; s++)
		if (kv_reserve(&d->cross, s, changes[s].rows[0]) || kv_reserve(&d->self, s, changes[s].rows[1]))
			return percept_fail(call, -ENOMEM, "Memory for keys and values is out (%llu MiB, option kv_memory).",
					    (unsigned long long)(d->budget.most >> 20));
	return 0;
}

/* The step's rows are valid, or never were: pages that were reserved for them are given back. */
static void t5_keep(struct t5 *d, const struct t5_change *changes, int valid)
{
	for (uint32_t s = 0; s < d->self.n_sequences; s++) {
		if (!changes[s].rows[0] && !changes[s].rows[1])
			continue;
		d->cross.sequences[s].n += valid ? changes[s].rows[0] : 0;
		d->self.sequences[s].n += valid ? changes[s].rows[1] : 0;
		kv_trim(&d->cross, s, d->cross.sequences[s].n);
		kv_trim(&d->self, s, d->self.sequences[s].n);
	}
}

static int t5_step(struct percept_call *call, void *decoder, struct percept_batch *batch)
{
	struct t5 *d = decoder;
	const size_t n = (size_t)batch->n + 1, sequences = (size_t)d->self.n_sequences + 1;
	struct t5_place *places = percept_alloc(call, n * sizeof(*places));
	struct t5_change *changes = percept_alloc(call, sequences * sizeof(*changes));
	uint32_t *seen = percept_alloc(call, sequences * sizeof(*seen)), *rows = percept_alloc(call, 2 * n * sizeof(*rows));
	struct t5_rows parts[2] = { { rows, 0 }, { rows ? rows + n : NULL, 0 } };

	batch->logits = batch->hidden = NULL;
	if (!places || !changes || !seen || !rows)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	if (batch->n > d->max_batch)
		return percept_fail(call, -EINVAL, "A step takes at most %u rows, and %u were given.", d->max_batch, batch->n);
	int error = t5_place(call, d, batch, places, changes);

	if (error)
		return error;
	t5_divide(d, batch, changes, places, parts);
	for (uint32_t s = 0; s < d->self.n_sequences; s++)
		seen[s] = d->cross.sequences[s].n + changes[s].rows[0];
	error = t5_reserve(call, d, changes);
	if (!error && batch->n)
		error = t5_forward(call, d, batch, places, parts, seen);
	t5_keep(d, changes, !error);
	return error;
}

/* Either all of the encoder's rows stay, or none do: they saw each other. */
static int t5_sequence_trim(void *decoder, uint32_t sequence, uint32_t length)
{
	struct t5 *d = decoder;

	if (sequence >= d->self.n_sequences)
		return -EINVAL;
	const uint32_t encoder = length ? d->cross.sequences[sequence].n : 0;

	if (length < encoder)
		return -ERANGE;
	const int error = kv_trim(&d->self, sequence, length - encoder);

	return error ? error : kv_trim(&d->cross, sequence, encoder);
}

static int t5_sequence_new(void *decoder, uint32_t sequence)
{
	return t5_sequence_trim(decoder, sequence, 0);
}

static int t5_sequence_fork(void *decoder, uint32_t from, uint32_t to, uint32_t length)
{
	struct t5 *d = decoder;

	if (from >= d->self.n_sequences || to >= d->self.n_sequences)
		return -EINVAL;
	if (from == to)
		return t5_sequence_trim(decoder, to, length);
	const uint32_t encoder = length ? d->cross.sequences[from].n : 0;

	if (length < encoder)
		return -ERANGE;
	int error = kv_fork(&d->self, from, to, length - encoder);

	if (!error)
		error = kv_fork(&d->cross, from, to, encoder);
	if (error)
		t5_sequence_new(decoder, to);
	return error;
}

static void t5_sequence_free(void *decoder, uint32_t sequence)
{
	t5_sequence_trim(decoder, sequence, 0);
}

static uint64_t t5_sequence_bytes(void *decoder, uint32_t sequence)
{
	const struct t5 *d = decoder;

	return kv_bytes(&d->self, sequence) + kv_bytes(&d->cross, sequence);
}

static int t5_embed(struct percept_call *call, void *decoder, const int32_t *ids, uint32_t n, const float **embeddings)
{
	struct t5 *d = decoder;
	const size_t dim = d->model.shape.d_model;
	float *out = percept_alloc(call, ((size_t)n + 1) * dim * sizeof(float));
	struct nn c;

	nn_arena_reset(d->arena);
	nn_begin(&c, call, d->arena);
	struct nn_tensor x = t5_words(&c, d->model.words, ids, n);

	if (c.error == -EINVAL)
		return percept_fail(call, c.error, "A token is not of the vocabulary of %u.", d->model.shape.vocab);
	if (c.error || !out)
		return percept_fail(call, c.error ? c.error : -ENOMEM, "The embeddings of %u tokens were not made.", n);
	for (uint32_t t = 0; t < n; t++)
		memcpy(out + t * dim, x.data + t * x.stride, dim * sizeof(float));
	*embeddings = out;
	return 0;
}

static const struct percept_option options[] = {
	{ .name = "context", .type = PERCEPT_OPTION_INT, .min = 2, .max = 1 << 20,
	  .help = "tokens that a sequence can hold, encoder and decoder together; twice the length that the model was trained with by default" },
	{ .name = "batch", .type = PERCEPT_OPTION_INT, .fallback = "512", .min = 1, .max = 65536,
	  .help = "tokens that one step computes at most; an encoder's whole input is always possible" },
	CHOICE_OPTIONS,
};
static const struct percept_decoder ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options,
	.open = t5_open, .close = t5_close, .info = t5_info, .step = t5_step,
	.sequence_new = t5_sequence_new, .sequence_fork = t5_sequence_fork, .sequence_trim = t5_sequence_trim,
	.sequence_free = t5_sequence_free, .sequence_bytes = t5_sequence_bytes, .embed = t5_embed,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_DECODER, .name = "t5", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Encoder-decoder language models: T5, Flan-T5, mT5, UMT5", .ops = &ops,
};

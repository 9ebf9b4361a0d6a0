/* tint.c - a plugin to start from: feature fusion. Rows that have seen a picture move, behind one of the decoder's layers, by the
 * mean of the picture's features: hidden += strength mean, repeated to the decoder's width. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <percept/plugin.h>

/* What is remembered of one picture. It is made once, and serves every request that shows the picture. */
struct tint_memory {
	uint32_t dim;
	float mean[];
};

/* The pictures that a sequence of the decoder has, by their number in its prompt, less one. */
struct tint_sequence {
	const struct tint_memory **items;
	uint32_t n;
};

struct tint {
	uint32_t width, layer, n_sequences;
	float strength;
	struct tint_sequence *sequences;
	char identity[64];
};

static void tint_close(void *fusion)
{
	struct tint *t = fusion;

	for (uint32_t i = 0; i < t->n_sequences; i++)
		free(t->sequences[i].items);
	free(t->sequences);
	free(t);
}

static int tint_open(struct percept_call *call, const struct percept_open *open, void **fusion)
{
	struct tint *t = calloc(1, sizeof(*t));

	if (!t)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	t->width = (uint32_t)percept_option(open, "width")->integer;
	t->layer = (uint32_t)percept_option(open, "layer")->integer;
	t->strength = (float)percept_option(open, "strength")->real;
	t->n_sequences = open->max_sequences;
	t->sequences = calloc((size_t)t->n_sequences + 1, sizeof(*t->sequences));
	if (!t->sequences) {
		free(t);
		return percept_fail(call, -ENOMEM, "Memory is out.");
	}
	/* Whatever changes what is remembered belongs in the identity. */
	snprintf(t->identity, sizeof(t->identity), "tint-1-%u-%u-%g", t->width, t->layer, (double)t->strength);
	*fusion = t;
	return 0;
}

/* The host compares this with the encoder and the decoder: a mismatch is refused before anybody asks. */
static int tint_info(void *fusion, struct percept_fusion_info *info)
{
	const struct tint *t = fusion;

	info->in_dim = 0;
	info->d_model = t->width;
	info->n_layers = 0;
	info->hooks = PERCEPT_CAN_HOOK_LAYERS;
	info->max_rows = 0;
	/* Nothing enters the prompt: the row behind a picture is the first that has seen it. */
	info->marker = NULL;
	info->identity = t->identity;
	info->weight_bytes = 0;
	return 0;
}

static int tint_remember(struct percept_call *call, void *fusion, const struct percept_features *f, void **memory,
			 uint64_t *bytes)
{
	const uint64_t rows = (uint64_t)f->layout.items * f->layout.tokens;
	const uint32_t dim = f->layout.dim;
	struct tint_memory *m = calloc(1, sizeof(*m) + dim * sizeof(float));

	if (!m)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	m->dim = dim;
	for (uint64_t i = 0; i < rows; i++)
		for (uint32_t j = 0; j < dim; j++)
			m->mean[j] += f->data[i * dim + j] / (float)rows;
	*memory = m;
	*bytes = sizeof(*m) + dim * sizeof(float);
	return 0;
}

static void tint_forget(void *fusion, void *memory)
{
	free(memory);
}

static int tint_bind(struct percept_call *call, void *fusion, uint32_t sequence, uint32_t media, void *memory)
{
	struct tint *t = fusion;
	struct tint_sequence *s = &t->sequences[sequence];

	if (media > s->n) {
		const struct tint_memory **items = realloc(s->items, media * sizeof(*items));

		if (!items)
			return percept_fail(call, -ENOMEM, "Memory is out.");
		s->items = items;
		while (s->n < media)
			s->items[s->n++] = NULL;
	}
	s->items[media - 1] = memory;
	return 0;
}

/* Rows of several sequences come together; those of a sequence without a picture stay as they are. */
static int tint_after(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows, uint32_t n,
		      float *hidden)
{
	const struct tint *t = state;

	for (uint32_t i = 0; i < n && layer == t->layer; i++) {
		const struct tint_sequence *s = &t->sequences[rows[i].sequence];
		const uint32_t seen = rows[i].media_seen;
		const struct tint_memory *m = seen && seen <= s->n ? s->items[seen - 1] : NULL;

		for (uint32_t j = 0; m && j < t->width; j++)
			hidden[(uint64_t)i * t->width + j] += t->strength * m->mean[j % m->dim];
	}
	return 0;
}

static int tint_hooks(struct percept_call *call, void *fusion, struct percept_hooks *hooks)
{
	hooks->state = fusion;
	hooks->after_layer = tint_after;
	return 0;
}

static const struct percept_option options[] = {
	{ .name = "width", .type = PERCEPT_OPTION_INT, .fallback = "192", .min = 1, .max = 65536, .help = "of the decoder" },
	{ .name = "layer", .type = PERCEPT_OPTION_INT, .fallback = "0", .max = 1023, .help = "of the decoder, behind which it works" },
	{ .name = "strength", .type = PERCEPT_OPTION_FLOAT, .fallback = "1", .min = -1000, .max = 1000,
	  .help = "what the mean is multiplied by" },
};

static const struct percept_fusion ops = {
	.size = sizeof(ops),
	.n_options = 3,
	.options = options,
	.open = tint_open,
	.close = tint_close,
	.info = tint_info,
	.remember = tint_remember,
	.forget = tint_forget,
	.bind = tint_bind,
	.hooks = tint_hooks,
};

const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin),
	.abi = PERCEPT_ABI,
	.kind = PERCEPT_FUSION,
	.name = "tint",
	.version = "1.0",
	.license = "MIT",
	.summary = "Moves hidden states by a picture's mean feature",
	.ops = &ops,
};

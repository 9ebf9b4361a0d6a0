/* causal.h - an opened decoder. */
#ifndef CAUSAL_H
#define CAUSAL_H

#include <percept/plugin.h>

#include "plugins/decoders/causal/kv.h"
#include "plugins/decoders/causal/model.h"

/* Where a row of the batch lies and what it sees. */
struct place {
	uint32_t sequence;
	uint32_t index;   /* in its sequence */
	uint32_t visible; /* it sees rows [0, visible) of its sequence */
	uint32_t begin;   /* in layers with a window it sees at least the rows from here on: its span's, or itself */
};

struct causal {
	struct model model;
	struct kv_budget budget; /* of both */
	struct kv kv[2];        /* of layers without a window, and of those with */
	struct nn_arena *arena; /* a step's memory */
	uint32_t max_batch;
	char identity[192];
};

/* x (n, d_model): tokens' embeddings as they enter the first block, without positions. */
struct nn_tensor causal_embeddings(struct nn *c, const struct model *m, const int32_t *ids, uint32_t n);
/* (n, vocab) = the head's products with x (n, word_dim). */
struct nn_tensor causal_head(struct nn *c, const struct model *m, struct nn_tensor x);
/* Runs a checked batch whose rows' pages are reserved; fills batch->logits and batch->hidden. 0, -ENOMEM, -ECANCELED, or
 * what a hook returned; the text of a failure has been recorded. [one] */
int causal_forward(struct percept_call *call, struct causal *d, struct percept_batch *batch, const struct place *places);
/* Where a layer's rows are attended: pages[t] are those of row t's sequence. */
struct causal_shown {
	struct nn *c;
	struct percept_call *call; /* somebody looks into it */
	const struct percept_batch *batch;
	uint32_t layer;
	const struct nn_page_shape *shape;
	void *const *const *pages;
};
/* Shows what the rows that want logits attend, "attention_layerN" [rows][heads][keys]. q (T, heads * dim). */
void causal_show(const struct causal_shown *shown, struct nn_tensor q, const struct nn_attention *how);

#endif

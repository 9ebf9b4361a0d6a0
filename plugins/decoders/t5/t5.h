/* t5.h - an opened encoder-decoder. */
#ifndef T5_H
#define T5_H

#include <percept/plugin.h>

#include "plugins/decoders/causal/kv.h"
#include "plugins/decoders/t5/model.h"

/* Where a row of the batch lies. */
struct t5_place {
	uint32_t index; /* in the encoder's or the decoder's part of its sequence */
	uint32_t slot;  /* among the batch's rows of that part */
};

/* The rows of the batch that one part takes, those of one sequence together. */
struct t5_rows {
	uint32_t *rows; /* [n] their places in the batch */
	uint32_t n;
};

struct t5 {
	struct t5_model model;
	struct kv_budget budget; /* of both */
	struct kv self, cross;   /* the decoder's own rows; the encoder's, as the decoder's blocks see them */
	struct nn_arena *arena;  /* a step's memory */
	uint32_t max_batch;
	char identity[128];
};

/* x (n, d_model): the words as they enter the first block. `words`: the encoder's or the decoder's. */
struct nn_tensor t5_words(struct nn *c, const struct nn_weight *words, const int32_t *ids, uint32_t n);
/* Runs a checked batch whose rows' pages are reserved; fills batch->logits and batch->hidden. `seen` [sequences]: rows of each
 * one's encoder, with those of this batch. 0, -ENOMEM or -ECANCELED; the text of a failure has been recorded. [one] */
int t5_forward(struct percept_call *call, struct t5 *d, struct percept_batch *batch, const struct t5_place *places,
	       const struct t5_rows parts[2], const uint32_t *seen);

#endif

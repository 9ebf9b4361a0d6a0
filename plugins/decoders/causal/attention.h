/* attention.h - attention of a batch's rows over their sequences' pages. */
#ifndef CAUSAL_ATTENTION_H
#define CAUSAL_ATTENTION_H

#include "plugins/decoders/causal/kv.h"
#include "sdk/nn/tensor.h"

/* Where a row of the batch lies and what it sees. */
struct place {
	uint32_t sequence;
	uint32_t index;   /* in its sequence */
	uint32_t visible; /* it sees rows [0, visible) of its sequence */
};

/* Writes keys k and values v (T, kv_heads * head_dim) of a layer to the rows' places, which kv_reserve() made. */
void attention_store(struct nn *c, struct kv *kv, uint32_t layer, const struct place *places, struct nn_tensor k,
		     struct nn_tensor v);
/* out (T, heads * head_dim) = softmax(q k^T / sqrt(head_dim)) v per row (Vaswani 2017, eq. 1), grouped heads. A row's result
 * depends on its sequence alone. q is (T, heads * head_dim). */
struct nn_tensor attention(struct nn *c, const struct kv *kv, uint32_t layer, const struct place *places, struct nn_tensor q,
			   float scale);

#endif

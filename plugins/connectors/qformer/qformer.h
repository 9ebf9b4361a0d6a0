/* qformer.h - an opened Q-Former (Li 2023, BLIP-2; Dai 2023, InstructBLIP): learned queries that read features by cross-attention,
 * with the instruction beside them where the model was trained so. */
#ifndef QFORMER_H
#define QFORMER_H

#include <percept/plugin.h>

#include "sdk/nn/affine.h"
#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"
#include "sdk/nn/tokenizer.h"

enum { QFORMER_LAYERS_MAX = 256, QFORMER_DIM_MAX = 1 << 16, QFORMER_QUERIES_MAX = 1 << 12, QFORMER_ROWS_MAX = 1 << 20 };

/* norm(out(attention(q, k, v)) + x). q.w NULL: there is none. */
struct attention {
	struct affine q, k, v, out;
	struct norm norm;
};

/* norm(out(gelu(in x)) + x). */
struct feed_forward {
	struct affine in, out;
	struct norm norm;
};

struct layer {
	struct attention self, cross;      /* cross: in each `frequency`-th layer, of the queries alone */
	struct feed_forward queries, text; /* text: where there is an instruction */
};

struct qformer {
	struct nn_checkpoint *checkpoint;
	struct nn_tokenizer *tokenizer;  /* of the instruction; NULL: there is none */
	uint32_t d_model, d_ff, n_layers, n_heads, n_queries, frequency;
	uint32_t in_dim, out_dim;
	uint32_t context, vocab;         /* of the instruction; 0: none is read */
	uint32_t window, stride;         /* rows of features that the queries read at a time; window 0: all */
	float norm_eps;
	enum nn_activation activation;
	const float *query;              /* (n_queries, d_model) */
	struct nn_weight *words;         /* (vocab, d_model) */
	const float *positions;          /* (context, d_model) */
	struct norm norm;
	struct layer *layers;
	struct affine projection;        /* (out_dim, d_model) */
	uint64_t weight_bytes;
	char identity[192];
};

/* Reads configuration and weights into *q, whose checkpoint is open. 0 or error->code; qformer_close() in either case. [any] */
int qformer_load(struct qformer *q, struct nn_error *error);
void qformer_close(void *connector);
/* (n_queries, out_dim) of features x (n, in_dim) and the instruction's ids. */
struct nn_tensor qformer_forward(struct nn *c, struct percept_call *call, const struct qformer *q, struct nn_tensor x,
				 const int32_t *ids, size_t n_ids);

#endif

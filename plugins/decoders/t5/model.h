/* model.h - an encoder-decoder model (T5, Raffel 2020): its shape and its weights. */
#ifndef T5_MODEL_H
#define T5_MODEL_H

#include <stdint.h>

#include "plugins/decoders/causal/ends.h"
#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

enum { T5_DIM_MAX = 1 << 20 };

/* The numbers of a model, read from its configuration. */
struct t5_shape {
	uint32_t d_model, d_ff, n_heads, head_dim, inner; /* inner = n_heads * head_dim */
	uint32_t n_encoder, n_decoder;  /* blocks */
	uint32_t vocab, context;        /* context: rows of encoder and decoder together */
	uint32_t buckets, reach;        /* of relative positions; from `reach` on all distances are one */
	float norm_eps;
	int gated;
	enum nn_activation activation;
	int32_t start;                  /* the token that decoding starts with */
};

struct t5_attention {
	const float *norm;                     /* [d_model] */
	const struct nn_weight *q, *k, *v, *o; /* (inner, d_model), (d_model, inner) */
	const float *relative;                 /* [n_heads][2 * reach + 1]; NULL: positions count for nothing */
};

/* wo(activate(gate x) * (up x)), or wo(activate(up x)) where gate is NULL. */
struct t5_feed_forward {
	const float *norm;
	const struct nn_weight *gate, *up, *down;
};

struct t5_layer {
	struct t5_attention self, cross; /* cross: of the decoder's blocks only */
	struct t5_feed_forward mlp;
};

struct t5_model {
	struct nn_checkpoint *checkpoint;
	int gguf, fast;                       /* fast: products with weights of block formats in integers */
	char type[32];                        /* "t5", "mt5" ... */
	struct t5_shape shape;
	struct nn_weight *words, *decoder_words, *head; /* (vocab, d_model) */
	float head_scale;                     /* of what the head takes: d_model^-0.5 where it is the words */
	struct t5_layer *encoder, *decoder;
	const float *encoder_norm, *decoder_norm; /* [d_model] */
	uint64_t weight_bytes;
	struct ends ends;
	struct nn_loader loader;
};

/* Opens the model at `path`: a directory, a bundle with a language model in it, or a GGUF file. `context` 0: as the
 * configuration says. -errno and *error on failure, with nothing left behind. [any] */
int t5_model_open(struct t5_model *m, const char *path, uint32_t context, int fast, struct nn_error *error);
void t5_model_close(struct t5_model *m);

/* weights.c: all tensors, by their names in either kind of file. 0, or *error. `bundle`: the model lies in one. */
int t5_model_load(struct t5_model *m, const cJSON *config, int bundle, struct nn_error *error);

/* relative.c: [n_heads][2 * reach + 1] values by distance from `table` (buckets, n_heads); owned by the checkpoint. NULL when
 * memory is out. `both`: keys on either side; else those behind a row count as its own place. */
const float *t5_relative(struct t5_model *m, const float *table, int both);
/* The bucket of a distance, key minus row. Raffel 2020, section 2.1. */
uint32_t t5_bucket(int32_t distance, int both, uint32_t buckets, uint32_t reach);

#endif

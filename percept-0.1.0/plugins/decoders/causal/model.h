/* model.h - a causal language model: its shape, its weights, and what its family adds. */
#ifndef CAUSAL_MODEL_H
#define CAUSAL_MODEL_H

#include <stdint.h>
#include <cjson/cJSON.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

struct family;

/* The numbers of a model, read from its config.json. */
struct shape {
	uint32_t d_model, d_ff, n_layers, n_heads, n_kv_heads, head_dim, vocab, context;
	uint32_t q_dim, kv_dim; /* n_heads * head_dim, n_kv_heads * head_dim */
	float norm_eps;
	enum nn_activation activation;
	int attention_bias, mlp_bias, tied;
};

/* One block. A bias that a model does not have is NULL. */
struct layer {
	const float *attention_norm, *mlp_norm;                   /* [d_model] */
	const struct nn_weight *q, *k, *v, *o;                    /* (q_dim | kv_dim, d_model), (d_model, q_dim) */
	const float *q_bias, *k_bias, *v_bias, *o_bias;
	const struct nn_weight *gate, *up, *down;                 /* (d_ff, d_model), (d_model, d_ff) */
	const float *gate_bias, *up_bias, *down_bias;
};

struct model {
	const struct family *family;
	struct nn_checkpoint *checkpoint;
	struct shape shape;
	struct nn_rope rope;
	float *inv_freq;                     /* [head_dim / 2], what rope points to */
	struct nn_weight *embeddings;   /* (vocab, d_model) */
	struct nn_weight *head;        /* (vocab, d_model); the embeddings where tied */
	const float *norm;                   /* [d_model] */
	struct layer *layers;
	uint64_t weight_bytes;               /* of the tensors above */
	int32_t *end;                        /* tokens that end an answer */
	uint32_t n_end;
};

/* A family of models. Adding one is a file in families/ and a line in families.c. */
struct family {
	const char *name;             /* for people */
	const char *const *types;     /* config.json's model_type; NULL-terminated */
	const char *const *classes;   /* config.json's architectures, for configurations without a type */
	const char *const *body;      /* prefixes of the tensors but the head: tried in order */
	const char *const *head;      /* prefixes of "lm_head" */
	/* What the configuration says beyond model_configure(); NULL: nothing. */
	int (*configure)(struct model *m, const cJSON *config, struct nn_error *error);
	/* The weights of layer `i`. */
	void (*load)(struct model *m, struct layer *layer, struct nn_loader *loader, uint32_t i);
	/* y (T, d_model) = the feed-forward part of a block for its normed input x (T, d_model). */
	struct nn_tensor (*mlp)(struct nn *c, const struct model *m, const struct layer *layer, struct nn_tensor x);
};

/* The family of a configuration; NULL and *error, which lists those there are. */
const struct family *family_find(const cJSON *config, struct nn_error *error);

/* Opens the model at `path`, a directory or a bundle with a language model in it. -errno and *error on failure, with
 * nothing left behind. `context` 0: as the configuration says. [any] */
int model_open(struct model *m, const char *path, uint32_t context, struct nn_error *error);
void model_close(struct model *m);

/* A matrix for nn_linear(), packed, and a vector; counted into m->weight_bytes. */
const struct nn_weight *model_matrix(struct model *m, struct nn_loader *l, size_t rows, size_t cols, const char *format,
				     uint32_t layer);
const float *model_vector(struct model *m, struct nn_loader *l, size_t n, const char *format, uint32_t layer);

/* m->rope from rope_parameters (transformers 5) or rope_theta and rope_scaling: plain, linear, llama3. */
int model_rope(struct model *m, const cJSON *config, struct nn_error *error);
/* m->end from generation_config.json beside the model, else from the configurations. */
int model_end_tokens(struct model *m, const cJSON *config, const cJSON *root, struct nn_error *error);

#endif

/* tower.h - the transformer that the picture and text towers of CLIP (Radford 2021) and SigLIP (Zhai 2023) share. */
#ifndef CLIP_TOWER_H
#define CLIP_TOWER_H

#include <stdint.h>
#include <cjson/cJSON.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

struct percept_call;

/* A matrix and its bias. */
struct affine {
	const struct nn_weight *w;
	const float *b;
};

/* A layer norm's weight and bias. */
struct norm {
	const float *w, *b;
};

struct tower_layer {
	struct norm norm1, norm2;
	struct affine q, k, v, out, fc1, fc2;
	const float *scale1, *scale2; /* [d_model], of what each half adds; NULL: none */
};

/* What the parts of a layer are called, behind `layer`, where %u is its number. */
struct tower_names {
	const char *layer, *norm1, *norm2, *q, *k, *v, *out, *fc1, *fc2;
	const char *scale1, *scale2; /* NULL: none */
};

struct tower {
	uint32_t d_model, d_ff, n_layers, n_heads;
	float norm_eps;
	enum nn_activation activation;
	const struct tower_names *names;
	struct tower_layer *layers;
	uint64_t weight_bytes;
};

/* What a tower's numbers are where config.json leaves them out. */
struct tower_defaults {
	uint32_t d_model, d_ff, n_layers, n_heads;
	double norm_eps;
	const char *activation;
};

/* Reads the numbers. 0 or error->code. */
int tower_configure(struct tower *t, const cJSON *config, const struct tower_defaults *defaults, struct nn_error *error);
/* Loads the layers, as t->names calls them. 0 or loader->error->code. tower_fini() frees them, after failure too. */
int tower_load(struct tower *t, struct nn_loader *loader);
void tower_fini(struct tower *t);
/* Loads "<name>.weight" and "<name>.bias", counted into t->weight_bytes. */
struct norm tower_norm(struct tower *t, struct nn_loader *loader, const char *name);
/* Loads "<name>.weight" (rows, cols) and "<name>.bias". */
struct affine tower_affine(struct tower *t, struct nn_loader *loader, size_t rows, size_t cols, const char *name);
/* One block on x (T, d_model), in place. `visible` as struct nn_attention's. `call` (may be NULL) sees layer 0's parts. */
void tower_layer(struct nn *c, const struct tower *t, uint32_t i, struct nn_tensor x, const uint32_t *visible,
		 struct percept_call *call);
/* Shows a value to the call's observer, if there is one. `call` may be NULL. */
void tower_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x);

#endif

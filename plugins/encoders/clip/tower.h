/* tower.h - the transformer that picture towers, and the text towers beside them, are configurations of: CLIP (Radford 2021), SigLIP
 * (Zhai 2023), DINOv2 (Oquab 2023), EVA (Fang 2023), Pixtral, Qwen2-VL, InternVL ...
 *
 *   x += scale1 * out(inner(attention(rotate(q_norm(q n)), rotate(k_norm(k n)), v n))),    n = norm1(x)
 *   x += scale2 * fc2(sub(activation(fc1 m))),                                             m = norm2(x)
 *   or, gated (Shazeer 2020), fc2(sub(activation(gate m) * fc1 m)); with `post`, n and m are x, and the sums norm1(out(...)), norm2(fc2(...))
 */
#ifndef CLIP_TOWER_H
#define CLIP_TOWER_H

#include <stdint.h>
#include <cjson/cJSON.h>

#include "sdk/nn/affine.h"
#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

struct percept_call;

struct tower_layer {
	struct norm norm1, norm2, q_norm, k_norm, inner, sub;
	struct affine q, k, v, out, gate, fc1, fc2; /* gate.w NULL: not gated */
	const float *scale1, *scale2;               /* [d_model], of what each half adds; NULL: none */
};

/* What the parts of a layer are called, behind `layer`, where %u is its number. A tensor is "<part>.weight", "<part>.bias"; of a part
 * that ends in '_' "<part>weight", "<part>bias". Where q, k and v have one name, one tensor holds their rows in that order; where gate
 * and fc1 have one name, the gate's rows come first. A part that is NULL is none of the tower's. */
struct tower_names {
	const char *layer, *norm1, *norm2, *q, *k, *v, *out, *fc1, *fc2;
	const char *scale1, *scale2;        /* whole names */
	const char *gate;                   /* of gated feed-forward parts */
	const char *q_norm, *k_norm;        /* over the whole row, or for each head, as the tensors' lengths say */
	const char *inner, *sub;            /* in front of out, in front of fc2 */
	const char *q_bias, *k_bias, *v_bias; /* whole names, of biases that lie apart from their matrices */
};

/* Parts without a bias. */
enum tower_part {
	TOWER_Q = 1, TOWER_K = 2, TOWER_V = 4, TOWER_OUT = 8, TOWER_FC1 = 16 /* and the gate */, TOWER_FC2 = 32,
	TOWER_NORMS = 64 /* norm1, norm2 and those that the tower's owner loads */, TOWER_QK_NORMS = 128,
	TOWER_BIASES = TOWER_Q | TOWER_K | TOWER_V | TOWER_OUT | TOWER_FC1 | TOWER_FC2,
};

struct tower {
	uint32_t d_model, d_ff, n_layers, n_heads; /* heads have d_model / n_heads columns */
	float norm_eps;
	enum nn_activation activation;
	uint32_t bare;     /* set of enum tower_part that have no bias */
	int rms;           /* norm1, norm2 and its owner's are RMS norms (Zhang 2019), else layer norms (Ba 2016) */
	int rms_qk;        /* the same of q_norm, k_norm */
	int post;          /* norm1 and norm2 are of what their halves give, before it is added, not of what they take */
	int norm_heads;    /* set by tower_load(): those are of each head by itself */
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

/* What rows see of each other, and where they are. NULL members: all of it, nowhere. Row t sees the rows [first[t], visible[t]):
 * several pictures or windows in one x, one after the other, or padding at the end that nobody sees. */
struct tower_rows {
	const uint32_t *first, *visible;
	const struct nn_rotary *rotary;
};

/* Reads the numbers by the names that Hugging Face's ViTs give them. 0 or error->code. */
int tower_configure(struct tower *t, const cJSON *config, const struct tower_defaults *defaults, struct nn_error *error);
/* The same of numbers that the caller has set: checks them, and finds the activation. 0 or error->code. */
int tower_settle(struct tower *t, const char *activation, struct nn_error *error);
/* Loads the layers, as t->names calls them. 0 or loader->error->code. tower_fini() frees them, after failure too. */
int tower_load(struct tower *t, struct nn_loader *loader);
void tower_fini(struct tower *t);
/* Loads the weight and the bias (of RMS norms and bare ones none) of a norm over d_model, counted into t->weight_bytes. */
struct norm tower_norm(struct tower *t, struct nn_loader *loader, const char *name);
/* Loads a matrix (rows, cols) and its bias. */
struct affine tower_affine(struct tower *t, struct nn_loader *loader, size_t rows, size_t cols, const char *name);
/* The same of part `i` of `n` equal ones, (rows, cols) each, that lie in one tensor one after the other. */
struct affine tower_slice(struct tower *t, struct nn_loader *loader, size_t rows, size_t cols, uint32_t i, uint32_t n, const char *name);
/* The tower's kind of norm of each row of x. */
struct nn_tensor tower_normed(struct nn *c, const struct tower *t, struct nn_tensor x, const struct norm *norm);
/* One block on x (T, d_model), in place. `rows` NULL: all see all. `call` (may be NULL) sees layer 0's parts. */
void tower_layer(struct nn *c, const struct tower *t, uint32_t i, struct nn_tensor x, const struct tower_rows *rows,
		 struct percept_call *call);
/* Shows a value to the call's observer, if there is one. `call` may be NULL. */
void tower_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x);

#endif

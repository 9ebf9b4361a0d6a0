/* perceiver.h - the perceiver resampler (Alayrac 2022, Flamingo, section 3.1.1): latents that read a picture's rows, and each other, by
 * attention.
 *
 *   l += out(attention(q n, k [m, n], v [m, n])),    n = norm(l), m = norm(x)
 *   l += down(activation(up norm(l)))
 *
 * and the norm of the last l. OpenFlamingo's names, lucidrains', and those of Idefics.
 */
#ifndef RESAMPLER_PERCEIVER_H
#define RESAMPLER_PERCEIVER_H

#include <percept/plugin.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

enum { PERCEIVER_LATENTS_MAX = 1 << 14, PERCEIVER_DIM_MAX = 1 << 16, PERCEIVER_ROWS_MAX = 1 << 20 };

struct perceiver_norm {
	const float *w, *b;
};

struct perceiver_layer {
	struct perceiver_norm media, latents;      /* of dim */
	struct perceiver_norm q_norm, k_norm;      /* of head_dim; w NULL: none */
	const struct nn_weight *q, *k, *v, *out;   /* (inner, dim), (dim, inner) */
	struct perceiver_norm feed;                /* of dim */
	const struct nn_weight *up, *down;         /* (d_ff, dim), (dim, d_ff) */
};

struct perceiver {
	uint32_t dim, n_latents, n_layers, n_heads, head_dim;
	uint32_t n_frames, n_times;                /* rows of the tables below; 0: there is none */
	enum nn_activation activation;
	float norm_eps;
	const float *latents;                      /* (n_latents, dim) */
	const float *frames, *times;               /* (n_frames, dim) for the frames of a picture, (n_times, dim) for pictures of a prompt */
	struct perceiver_layer *layers;
	struct perceiver_norm norm;
	uint64_t weight_bytes;
};

/* Whether the files hold one. [any] */
int perceiver_is_there(struct nn_checkpoint *checkpoint);
/* Reads one from the files: of Idefics by config.json's "perceiver_config", else by what `config` (may be NULL) says of its heads and by its
 * tensors. Products are packed as nn_checkpoint_compute() said. 0 or error->code; perceiver_fini() in either case. [any] */
int perceiver_load(struct perceiver *p, struct nn_checkpoint *checkpoint, struct nn_error *error);
void perceiver_fini(struct perceiver *p);
/* (n_latents, dim) of a picture's rows x (frames * each, dim), which is number `time` of its prompt, counted from 0. The caller has checked
 * both against n_frames and n_times. `call` sees layer 0's parts. */
struct nn_tensor perceiver_forward(struct nn *c, struct percept_call *call, const struct perceiver *p, struct nn_tensor x,
				   uint32_t frames, uint32_t time);
/* What is wrong with pictures of that layout; NULL: nothing. [any] */
const char *perceiver_fault(const struct perceiver *p, const struct percept_layout *layout, char text[256]);

#endif

/* visual_expert.h - CogVLM (Wang 2023): a picture's rows go through attention and feed-forward weights of their own, beside the
 * language model's, which text keeps. What enters the prompt is a token for the picture's beginning, its patches, and one for its end;
 * the end goes through the language model's weights. */
#ifndef VISUAL_EXPERT_H
#define VISUAL_EXPERT_H

#include <percept/plugin.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

enum { EXPERT_ROWS_MAX = 1 << 20, EXPERT_DIM_MAX = 1 << 20, EXPERT_AROUND = 2 /* begin and end */ };

/* A layer's weights for pictures' rows: (q + k + v, d), (d, q), (ff, d), (d, ff). */
struct expert_layer {
	const struct nn_weight *qkv, *out, *gate, *up, *down;
	const float *qkv_bias; /* NULL: none */
};

/* Features (n, in_dim) to embeddings (n, d): down(silu(gate h) * (up h)), h = gelu(norm(in x)). */
struct glu {
	const struct nn_weight *in, *gate, *up, *down;
	const float *norm_w, *norm_b;
	float norm_eps;
};

struct visual_expert {
	struct nn_checkpoint *checkpoint, *experts; /* the same where one folder holds both */
	uint32_t in_dim, d_model, n_layers, qkv_dim, out_dim, max_sequences;
	const struct nn_weight *conv;  /* (in_dim, in_dim * 2 * 2): patches by fours before the projection (CogVLM2); NULL: none */
	const float *conv_bias;
	struct glu glu;
	const float *begin, *end;      /* [d_model] */
	enum nn_activation activation; /* of the experts */
	struct expert_layer *layers;
	struct nn_arena *arena;        /* a hook's memory */
	uint64_t weight_bytes;
	char identity[256];
};

/* load.c: v->checkpoint is open, a folder's or a projector's GGUF file's; `experts` is the language model that has the layers, where it
 * is another (NULL). `fast`: weights of block formats in integers. 0 or error->code; visual_expert_fini() after either. [one] */
int visual_expert_load(struct visual_expert *v, const char *experts, int fast, struct nn_error *error);
void visual_expert_fini(struct visual_expert *v);

/* project.c: rows that an item's patches become, without begin and end; 0 with a reason given. [many] */
uint32_t project_rows(struct percept_call *call, const struct visual_expert *v, const struct percept_layout *layout);
/* data [rows + 2][d_model]: begin, the projected patches, end. 0 or a negative errno after percept_fail(). [many] */
int project_features(struct percept_call *call, const struct visual_expert *v, const struct percept_features *f, float *data);

/* experts.c: percept_hooks.project. [one] */
int experts_project(struct percept_call *call, void *state, uint32_t layer, enum percept_project what, const struct percept_row *rows,
		    const uint32_t *index, uint32_t n, const float *x, float *y);

#endif

/* ldp.h - MobileVLM's light projectors, which give fewer tokens than the tower has patches (Chu 2023, Chu 2024). */
#ifndef LDP_H
#define LDP_H

#include "sdk/nn/affine.h"
#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

/* MobileNet's inverted residual of equal widths (Howard 2019): depthwise 3 x 3, a gate by the channels' means, 1 x 1. */
struct ldp_block {
	const float *depthwise;       /* [9][out_dim] */
	struct norm norm1, norm2; /* over the channels */
	struct affine squeeze, excite;
	const struct nn_weight *project;
	uint32_t stride;              /* 1: what came in is added */
};

enum { LDP_BLOCKS = 2, LDP_SIDE = 12 };

/* Version 1: the layers, then two blocks. Version 2: the layers, means of 12 x 12 places, and each place's surroundings added. */
struct ldp {
	struct nn_checkpoint *checkpoint;
	int version;
	uint32_t in_dim, out_dim;
	struct affine fc1, fc2;
	struct ldp_block blocks[LDP_BLOCKS];
	const float *around, *around_bias; /* [9][out_dim], [out_dim] */
	uint64_t weight_bytes;
	char identity[128];
};

/* Reads what the files have; p->checkpoint is open. 0 or error->code. [any] */
int ldp_load(struct ldp *p, struct nn_error *error);
/* Places of one picture behind the projector. */
void ldp_grid(const struct ldp *p, uint32_t rows, uint32_t cols, uint32_t *out_rows, uint32_t *out_cols);
/* One piece: x (rows * cols, in_dim) -> (out_rows * out_cols, out_dim). */
struct nn_tensor ldp_forward(struct nn *c, const struct ldp *p, struct nn_tensor x, uint32_t rows, uint32_t cols);

#endif

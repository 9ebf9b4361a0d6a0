/* merge.h - Mistral 3: the features are normed, and blocks of patches become one row each, before the layers. */
#ifndef MLP_MERGE_H
#define MLP_MERGE_H

#include <percept/plugin.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

/* Zeroed: nothing is merged. */
struct merge {
	uint32_t side;              /* patches of a block, down and across */
	const float *norm;          /* RMS norm over a patch's values */
	float eps;
	const struct nn_weight *w;  /* (dim, dim * side * side), a channel's patches together */
};

/* What the files have; `dim`: of a patch's features. 0 or loader->error->code. [any] */
int merge_load(struct merge *m, struct nn_loader *loader, const cJSON *config, size_t dim);
/* The layout of what is merged. 0, or -EINVAL: it has no grid of whole blocks. [any] */
int merge_layout(const struct merge *m, struct percept_layout *layout);
/* x (items * tokens, dim) as `layout` has it -> (items * blocks, dim). */
struct nn_tensor merge_forward(struct nn *c, const struct merge *m, struct nn_tensor x, const struct percept_layout *layout);

#endif

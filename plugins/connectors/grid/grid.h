/* grid.h - connectors that make one token of each block of a grid of patches, without queries. */
#ifndef GRID_H
#define GRID_H

#include <percept/plugin.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

struct grid;

/* A family's connector; kinds.c has them all. */
struct grid_kind {
	const char *const *types;      /* config.json's model_type; NULL-terminated */
	uint32_t bidirectional;        /* enum percept_bidirectional */
	int ragged;                    /* rows and columns that fill no block are left out; else refused */
	/* Numbers, and weights as the loader finds them: g->block, g->in_dim, g->out_dim ... 0 or error->code. */
	int (*load)(struct grid *g, const cJSON *config, struct nn_loader *l);
	/* (blocks, out_dim) from one item's x (rows * cols, in_dim). */
	struct nn_tensor (*forward)(struct nn *c, struct percept_call *call, const struct grid *g, struct nn_tensor x, uint32_t rows,
				    uint32_t cols);
	/* What goes around the rows; NULL: nothing. 0 or a negative errno after percept_fail(). */
	int (*pieces)(struct percept_call *call, const struct percept_layout *layout, uint32_t each, struct percept_embeddings *e);
};

/* An opened connector. */
struct grid {
	struct nn_checkpoint *checkpoint;
	const struct grid_kind *kind;
	uint32_t block;                   /* patches of a block along each side */
	uint32_t in_dim, out_dim;
	const float *norm_w, *norm_b;     /* of the rows that the first matrix is given */
	float norm_eps;
	const struct nn_weight *w1, *w2;
	const float *b1, *b2;
	enum nn_activation activation;    /* between the two */
	uint64_t weight_bytes;
	char identity[128];
};

/* NULL and *error, which lists those there are. */
const struct grid_kind *grid_kind_find(const cJSON *config, struct nn_error *error);

/* pieces.c. `each`: rows of one item. */
int pieces_idefics3(struct percept_call *call, const struct percept_layout *layout, uint32_t each, struct percept_embeddings *e);
int pieces_gemma3(struct percept_call *call, const struct percept_layout *layout, uint32_t each, struct percept_embeddings *e);
int pieces_internvl(struct percept_call *call, const struct percept_layout *layout, uint32_t each, struct percept_embeddings *e);

/* Shows a value to the call's observer, if there is one. */
void grid_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x);

#endif

/* queries.h - one layer of cross-attention from learned queries to a grid of patches whose keys tell their places: the resampler of
 * MiniCPM-V (Yao 2024) and Qwen-VL (Bai 2023).
 *
 *   y = proj(ln_post(out(attention(q (ln_q(query) + p), k (n + s), v n)))),    n = ln_kv(kv_proj x)
 *
 * s are sines and cosines of columns and rows; p, the queries' places, and a table in place of s are of those models that have them.
 */
#ifndef RESAMPLER_QUERIES_H
#define RESAMPLER_QUERIES_H

#include <percept/plugin.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

enum { QUERIES_MAX = 1 << 14, QUERIES_DIM_MAX = 1 << 16, QUERIES_ROWS_MAX = 1 << 20 };

struct queries_affine {
	const struct nn_weight *w;
	const float *b;
};

struct queries_norm {
	const float *w, *b; /* w NULL: none */
};

struct queries {
	uint32_t in_dim, dim, out_dim, n, n_heads;
	uint32_t side;                          /* of the table of places; 0: there is none */
	int adaptive;                           /* keys tell places by sines whatever the grid, else by the table, resized */
	float norm_eps;
	const float *query, *places;            /* (n, dim), (side * side, dim) */
	const struct nn_weight *kv_proj;        /* (dim, in_dim); NULL: features are dim wide themselves */
	struct queries_norm ln_q, ln_kv, ln_post;
	struct queries_affine q, k, v, out;
	const struct nn_weight *proj;           /* (out_dim, dim); NULL: none */
	uint64_t weight_bytes;
};

/* Whether the files hold one. [any] */
int queries_are_there(struct nn_checkpoint *checkpoint);
/* 0 or error->code. [any] */
int queries_load(struct queries *q, struct nn_checkpoint *checkpoint, struct nn_error *error);
/* (n, out_dim) of a grid x (rows * cols, in_dim). */
struct nn_tensor queries_forward(struct nn *c, const struct queries *q, struct nn_tensor x, uint32_t rows, uint32_t cols);

#endif

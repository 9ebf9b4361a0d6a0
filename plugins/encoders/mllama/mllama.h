/* mllama.h - an opened picture tower of Llama 3.2 Vision (Grattafiori 2024): blocks that see all tiles of a picture, and behind them gated ones.
 *
 * A picture is always `tiles` tiles, the last of which may be padding, and a tile `rows` rows, a class token and its patches, behind which lie
 * rows of padding up to a multiple of MLLAMA_ALIGN. Rows of the picture see all rows, those of padding only the picture's.
 */
#ifndef MLLAMA_H
#define MLLAMA_H

#include "plugins/encoders/clip/tower.h"
#include "sdk/nn/tiles.h"

enum { MLLAMA_ALIGN = 8, MLLAMA_STATES_MAX = 64 };

/* Embeddings of tiles: row s of the table, the shape's of a picture, is (tiles, n) values; times the gate. */
struct mllama_table {
	const struct nn_weight *w; /* (shapes + 1, tiles * n) */
	float gate;
};

struct mllama {
	struct nn_checkpoint *checkpoint;
	struct tower local, global;
	struct nn_image_processor processor;
	uint32_t n_global;               /* blocks of `global`; 0: it has none */
	uint32_t image_size, patch, side;
	uint32_t tiles, shapes;          /* of a picture; grids that tiles may lie in */
	uint32_t rows, padding;          /* of a tile */
	uint32_t states[MLLAMA_STATES_MAX], n_states; /* features besides the last block's: after so many local blocks */
	uint32_t dim;                    /* of features: d_model * (1 + n_states) */
	const struct nn_weight *patches; /* (d_model, 3 * patch * patch) */
	const float *class_token;        /* [d_model] */
	const float *positions;          /* (rows, d_model), times 1 - tile_positions.gate */
	struct mllama_table tile_positions, pre, post; /* (rows, d_model) of each tile; d_model values of each tile, before and after the local blocks */
	struct norm norm_pre, norm_post;
	char identity[192];
};

/* open.c: reads and loads the model of `path`; `before`: features are what blocks take, not what they give. 0, or error->code;
 * mllama_fini() in either case. */
int mllama_init(struct mllama *m, const char *path, int before, enum nn_compute how, struct nn_error *error);
void mllama_fini(struct mllama *m);
/* forward.c: features (tiles, rows, dim) of a prepared picture. 0 or c->error. */
int mllama_forward(struct nn *c, struct percept_call *call, const struct mllama *m, const struct nn_tiles *tiles, float *features);

#endif

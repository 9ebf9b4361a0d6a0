/* qwen2vl.h - an opened picture tower of Qwen2-VL (Wang 2024) or Qwen2.5-VL (Bai 2025). */
#ifndef QWEN2VL_H
#define QWEN2VL_H

#include "plugins/encoders/clip/tower.h"
#include "sdk/nn/tiles.h"

/* A picture becomes rows x cols patches. merge x merge of them are a window of the connector's, from whose corner on both
 * counts are whole; `window` x `window` of those see each other in layers that do not see all. */
struct qwen2vl {
	struct nn_checkpoint *checkpoint;
	struct tower tower;
	struct nn_image_processor processor;
	uint32_t patch, depth, merge; /* pixels of a patch, frames of one, patches of a connector's window */
	uint32_t window;              /* in connector's windows; 0: all layers see all */
	unsigned char *whole;         /* [n_layers] which layers see all; NULL: all do */
	float *inv_freq;              /* [head_dim / 4] */
	const struct nn_weight *patches; /* (d_model, 3 * depth * patch * patch) */
	char identity[192];
};

/* How the patches of a picture lie in the tower's rows. */
struct qwen2vl_order {
	uint32_t rows, cols;
	uint32_t *from;            /* [n] row i of the tower is this one of the patches window by window */
	uint32_t *to;              /* [n] and this one of the grid, row by row */
	uint32_t *first, *visible; /* [n] what a row sees in layers with windows; NULL: all */
	struct nn_rotary rotary;
};

/* open.c: reads and loads the model of `path`. 0, or error->code; qwen2vl_fini() in either case. `most` (0: none) bounds
 * the pixels of a picture beside the files. */
int qwen2vl_init(struct qwen2vl *v, const char *path, uint64_t most, enum nn_compute how, struct nn_error *error);
void qwen2vl_fini(struct qwen2vl *v);
/* order.c: of a picture of rows x cols patches, in c's arena. 0 or c->error. */
int qwen2vl_arrange(struct nn *c, const struct qwen2vl *v, uint32_t rows, uint32_t cols, struct qwen2vl_order *order);

#endif

/* tiles.h - a picture prepared as its encoder takes it: one piece, or tiles of one size and perhaps an overview. */
#ifndef NN_TILES_H
#define NN_TILES_H

#include <percept/plugin.h>

#include "sdk/nn/image.h"

enum { NN_TILES_MAX = 64 };

/* What a request asks of the division. Zeroed: what the processor does by itself. */
struct nn_tiles_ask {
	uint32_t detail; /* enum percept_detail; low: the overview alone */
	uint32_t pieces; /* at most; 0: no bound */
	uint64_t pixels; /* of all pieces, at most, for processors that keep a picture's shape; 0: no bound */
};

struct nn_tiles {
	uint32_t n;                                 /* pieces: tiles row by row, and the overview: 1 .. NN_TILES_MAX */
	uint32_t width, height;                     /* of each, in pixels */
	uint32_t grid_rows, grid_cols;              /* tiles, the overview not counted; 1 x 1 if not tiled */
	uint32_t overview;                          /* enum percept_overview: which piece is the whole picture */
	uint32_t original_width, original_height;
	uint32_t unpadded_width, unpadded_height;   /* the part of the tile grid that is picture, in pixels; 0: all */
	uint32_t shape;                             /* Llama 3.2 Vision: the grid's number among all that there can be, from 1; else 0 */
	uint32_t resized_width, resized_height;     /* of the whole picture on the way, for kinds that resize twice; else 0 */
	const float *pixels;                        /* [n][3][height][width] in the computation's arena; NULL: only planned */
};

/* What nn_tiles_prepare() makes of a picture of that size, without the work. `ask` may be NULL. 0, or error->code with a
 * sentence for a person: sizes that the processor cannot take, questions that it cannot answer. [any] */
int nn_tiles_plan(const struct nn_image_processor *p, uint32_t width, uint32_t height, const struct nn_tiles_ask *ask,
		  struct nn_tiles *tiles, struct nn_error *error);
/* The pieces of a picture u8 [height][width][3], by the processor's kind. 0, or c->error with error's sentence. */
int nn_tiles_prepare(struct nn *c, const struct nn_image_processor *p, const uint8_t *rgb, uint32_t width, uint32_t height,
		     const struct nn_tiles_ask *ask, struct nn_tiles *tiles, struct nn_error *error);
/* The set of 1 << enum percept_detail that the processor tells from auto. */
uint32_t nn_tiles_details(const struct nn_image_processor *p);
/* Pieces that a picture becomes at most. */
uint32_t nn_tiles_most(const struct nn_image_processor *p);
/* Whether pieces are tiles of a canvas whose shape nn_tiles.shape names (Llama 3.2 Vision). */
int nn_tiles_are_canvases(const struct nn_image_processor *p);
/* Shows prepared pieces to whoever looks into the call (nn_tiles_prepare does): "pixel_values", "pixel_scale" [2][3], and
 * where it is one piece the part of the picture that it is, "views". `p` NULL: its colours were not normalised. */
void nn_tiles_show(struct percept_call *call, const struct nn_image_processor *p, const struct nn_tiles *tiles);

#endif

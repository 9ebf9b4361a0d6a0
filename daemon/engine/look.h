/* look.h - image.look: what the encoder saw of each picture, and where the answer's tokens attended. */
#ifndef ENGINE_LOOK_H
#define ENGINE_LOOK_H

#include <percept/plugin.h>

#include "daemon/engine/call.h"
#include "daemon/engine/embeddings.h"

struct request;

/* One picture as its encoder took it. All owned. */
struct look_image {
	struct percept_layout layout; /* its pointers are NULL */
	uint32_t tiles, tile_width, tile_height;
	float *pixels;     /* [tiles][3][tile_height][tile_width], as the blocks see them; NULL: not shown */
	float scale[2][3]; /* mean and deviation that colours were normalised by */
	float *views;      /* [tiles][4] left, top, right, bottom in pixels of the original; NULL: not known */
	float *areas;      /* [rows in the prompt][4] the same of each row, 0 wide where it has no place; NULL: not known */
	char unmapped[256]; /* why not; "" where it is known */
};

/* Belongs to whoever has the request. */
struct look {
	struct look_image *images; /* one an item */
	size_t n_images;
	float *sum;      /* [prompt rows] the attention of the step at hand, added up over layers and heads */
	uint32_t n_sum, count; /* how many were added */
	uint32_t layers, heads;
	size_t rows;     /* of all pictures in the prompt */
	float *attention; /* [tokens][rows], means over layers and heads */
	uint32_t tokens, room;
};

/* NULL when memory is out. [any] */
struct look *look_new(size_t n_images);
void look_free(struct look *look);
/* call_observer of an encoder's call; `observer` is a struct look_image. [worker] */
void look_on_encoder(void *observer, const char *name, const float *data, const uint64_t *shape, uint32_t rank);
/* call_observer of a decoder's step; `observer` is a struct look. [decode thread] */
void look_on_decoder(void *observer, const char *name, const float *data, const uint64_t *shape, uint32_t rank);
/* The prompt's rows are known: maps them to the pictures, makes room. 0, or *error. [worker] */
int look_prepare(struct request *request, struct call *call, struct wire_error *error);
/* A step of the request begins; a token came of it. 0 or -ENOMEM. [decode thread] */
void look_begin_step(struct look *look);
int look_keep_step(struct request *request);

/* look-map.c: the views, by the layout, where the encoder did not show them. 0, or -ENOMEM. [any] */
int look_views(struct look_image *image);
/* Areas [n][4] of a picture's embeddings, as in struct look_image. `connector` is for the sentence; n 0: its rows
 * are no grid. 0, or 1 and image->unmapped. [any] */
int look_map(struct look_image *image, const char *connector, uint32_t n, float *areas);

/* look-answer.c: the result of a finished request, and its tail, malloc'ed. NULL when memory is out. [loop] */
cJSON *look_result(const struct request *request, void **tail, size_t *bytes);

#endif

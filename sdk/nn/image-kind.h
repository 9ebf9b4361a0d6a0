/* image-kind.h - kinds of image processors: what each reads from its file, and how it divides and paints a picture. A new
 * kind is a file with its rules, and rows in the table of image-processor.c. */
#ifndef NN_IMAGE_KIND_H
#define NN_IMAGE_KIND_H

#include <cjson/cJSON.h>

#include "sdk/nn/image-parts.h"
#include "sdk/nn/tiles.h"

enum { IMAGE_SIDE_LIMIT = 16384, IMAGE_PIXELS_LIMIT = 1 << 26 };

/* What a processor does where its file is silent, by the beginning of its name. */
struct image_kind {
	const char *name;
	const struct image_rules *rules;
	int shortest_edge; /* a plain "size" is the shortest edge, not both sides */
	int crop, pads, crop_pct;
	uint32_t size;
	enum nn_filter filter;
	float mean[3], std[3];
};

/* One file's values; the first wrong one is the error. */
struct image_reader {
	const cJSON *root;
	const struct image_kind *kind;
	uint32_t image_size; /* for sizes that the file leaves out; 0: the kind's */
	struct nn_error *error;
	int failed;
};

struct image_rules {
	uint32_t details; /* the set of 1 << enum percept_detail that it tells from auto */
	/* The kind's own keys, sizes among them; flags, resampling, mean and deviation have been read. */
	void (*read)(struct image_reader *r, struct nn_image_processor *p);
	/* All of *t but the pixels and the original's size, which is there. 0 or error->code. */
	int (*plan)(const struct nn_image_processor *p, const struct nn_tiles_ask *ask, struct nn_tiles *t, struct nn_error *error);
	/* The planned pieces [n][3][height][width]. 0 or c->error. */
	int (*paint)(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct nn_tiles *t,
		     float *pixels);
	/* Pieces at most; NULL: 1. */
	uint32_t (*most)(const struct nn_image_processor *p);
};
extern const struct image_rules image_flex, image_single, image_convnext, image_anyres, image_fit, image_split, image_crops, image_tiling,
	image_native, image_canvas;

/* image-read.c: values of the reader's file. Wrong ones are refused with a sentence that names the key. */
void image_refuse(struct image_reader *r, const char *name, const char *what);
int image_read_flag(struct image_reader *r, const char *name, int fallback);
/* A whole number from `least` to `most`; absent: `fallback`. */
int64_t image_read_whole(struct image_reader *r, const char *name, int64_t fallback, int64_t least, int64_t most);
/* `value` as a number of pixels, 1 .. IMAGE_SIDE_LIMIT; `name` is for the refusal. */
uint32_t image_read_side(struct image_reader *r, const cJSON *value, const char *name);
/* "size": n, {"shortest_edge": n}, or {"height": n, "width": n}: p->shortest_edge (0: exact), p->height, p->width. */
void image_read_size(struct image_reader *r, struct nn_image_processor *p);
/* "crop_size", else the size. */
void image_read_crop(struct image_reader *r, struct nn_image_processor *p);
/* What all kinds share: resampling, rescaling, mean and deviation. */
void image_read_numbers(struct image_reader *r, struct nn_image_processor *p);

/* image-paint.c. Where a window of a resized picture lies in a piece; what it does not cover is black before normalisation. */
struct image_place {
	struct image_window window; /* of the resized picture */
	uint32_t x, y;              /* of the window's first pixel, in the piece */
	uint32_t width, height;     /* of the piece */
};
/* out f32 [3][height][width] = the picture resized, cut, placed, rescaled and normalised. 0 or c->error. */
int image_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct image_place *place,
		float *out);
/* One axis of a centre crop: output [at, at + n) is input [from, from + n). */
struct image_span {
	uint32_t from, at, n;
};
struct image_span image_centre(uint64_t full, uint32_t crop);

/* image-single.c: one piece, by resize, shortest edge and centre crop; also what becomes of a tile that others cut. */
int image_single_size(const struct nn_image_processor *p, uint32_t width, uint32_t height, struct image_place *place,
		      struct nn_error *error);

#endif

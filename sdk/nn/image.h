/* image.h - pictures as the reference implementations prepare them for encoders. */
#ifndef NN_IMAGE_H
#define NN_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/nn/error.h"
#include "sdk/nn/tensor.h"

enum nn_filter { NN_NEAREST = 0, NN_LANCZOS = 1, NN_BILINEAR = 2, NN_BICUBIC = 3, NN_BOX = 4, NN_HAMMING = 5 }; /* Pillow's numbers */

/* dst u8 [dh][dw][3] from src u8 [sh][sw][3], exactly as Pillow's Image.resize: antialiased support, two passes,
 * horizontal first, rounded to u8 between them. */
int nn_image_resize(struct nn *c, const uint8_t *src, uint32_t sw, uint32_t sh, uint8_t *dst, uint32_t dw, uint32_t dh,
		    enum nn_filter filter);

struct image_rules;

/* A picture's size that is a grid of tiles. */
struct nn_pinpoint {
	uint32_t height, width;
};
enum { NN_PINPOINTS_MAX = 64 };

/* Qwen2-VL: pictures keep their resolution, in whole windows of merge x merge patches. */
struct nn_native {
	uint32_t patch, depth, merge; /* pixels of a patch, frames of one; 0: of another kind */
	uint64_t least, most;         /* pixels of a picture */
};

/* preprocessor_config.json, old and new forms. */
struct nn_image_processor {
	const struct image_rules *rules; /* how its kind divides a picture */
	uint64_t digest;                 /* of what it was read from */
	int do_resize, do_center_crop, do_rescale, do_normalize, do_pad;
	uint32_t shortest_edge;          /* 0: size is exact */
	uint32_t height, width;          /* exact size */
	uint32_t crop_height, crop_width;
	enum nn_filter filter;
	double rescale;
	float mean[3], std[3];
	uint8_t background[3];           /* of do_pad, LLaVA's square: int(mean * 255) */
	struct nn_pinpoint pinpoints[NN_PINPOINTS_MAX]; /* LLaVA-NeXT: sizes that a picture may become */
	uint32_t n_pinpoints;
	int divide;                      /* a picture becomes several pieces, as its kind has it */
	uint32_t longest_edge, tile;     /* Idefics3: of the first resize, 0: size is exact; it, Llama 3.2 Vision: both sides of a tile */
	uint32_t pieces_least, pieces_most, crop_least; /* InternVL, Gemma 3, Llama 3.2: tiles or cuts, the overview not counted; a cut's sides */
	double ratio_least;              /* Gemma 3: of the sides, from where on a picture is cut */
	struct nn_native native;
	uint32_t flex_patch, flex_patches; /* SigLIP 2: a patch's pixels, 0: of another kind; patches of a picture, at most */
};
enum { NN_FLEX_MOST = 4 /* times as many patches a request may ask for */ };
/* `path`: a model directory. `image_size` is used for sizes the file leaves out; without a file CLIP's values hold. */
int nn_image_processor_load(struct nn_image_processor *p, const char *directory, uint32_t image_size, struct nn_error *error);
/* The same from the text of the file. */
int nn_image_processor_parse(struct nn_image_processor *p, const char *json, size_t bytes, uint32_t image_size,
			     struct nn_error *error);
#endif

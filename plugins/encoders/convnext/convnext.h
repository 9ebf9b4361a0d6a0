/* convnext.h - an opened ConvNeXt: its stages, and the text tower beside it where it is a CLIP's. */
#ifndef CONVNEXT_H
#define CONVNEXT_H

#include "plugins/encoders/clip/clip.h"

enum { CONVNEXT_STAGES = 4, CONVNEXT_BLOCKS = 256, CONVNEXT_SIDE = 7 /* of the depthwise kernels */ };

struct convnext_block {
	const float *dw, *dw_bias;   /* (7 * 7, dim), [dim] */
	struct norm norm;
	struct affine fc1, fc2;
	struct norm grn;             /* [4 * dim]; w NULL: none */
	const float *scale;          /* [dim]; NULL: none */
};

struct convnext_stage {
	uint32_t dim, n_blocks;
	struct norm norm;            /* in front of the downsampling; stage 0's is the stem's, behind */
	struct affine down;          /* (dim, 2 * 2 * the dim before), columns as (row, column, channel); stage 0's is the stem */
	struct convnext_block *blocks;
};

/* What tensors are called, in Hugging Face's files and in timm's. */
struct convnext_names {
	const char *stem, *stem_norm, *down_norm, *down, *block; /* %u: stage; then the block */
	const char *dw, *norm, *fc1, *fc2, *grn, *scale, *last;
};

struct convnext {
	struct nn_checkpoint *checkpoint;
	cJSON *config;               /* translated; NULL: the checkpoint's own */
	struct text *text;           /* NULL: no text tower */
	struct convnext_stage stages[CONVNEXT_STAGES];
	uint32_t patch, layer;       /* layer: the hidden state that is the feature, 0 the stem's, 4 the last stage's */
	float eps, last_eps;
	enum nn_activation activation;
	int scaled, responses;       /* responses: global response normalisation */
	int own_norm;                /* the norm is in front of pooling */
	const struct convnext_names *names;
	struct norm last;
	struct head head;
	struct nn_image_processor processor;
	uint64_t weight_bytes;
	char identity[256];
};

/* config.c: the configuration in Hugging Face's form, of timm's and OpenCLIP's files; NULL with error->code, or for Hugging Face's. */
cJSON *convnext_translate(struct nn_checkpoint *checkpoint, struct nn_error *error);
/* The numbers. 0 or error->code. */
int convnext_configure(struct convnext *k, const cJSON *root, struct nn_error *error);
/* load.c: the weights. 0 or error->code; convnext_unload() after failure too. */
int convnext_load(struct convnext *k, struct nn_error *error);
void convnext_unload(struct convnext *k);
/* forward.c: (rows * cols, dim) of k->layer, and *pooled (1, n), of planar pixels; c->error tells of failure. */
struct nn_tensor convnext_forward(struct nn *c, struct percept_call *call, const struct convnext *k, const float *pixels,
				  uint32_t height, uint32_t width, struct nn_tensor *pooled);
/* Pixels of a side that one place of hidden state `layer` covers. */
uint32_t convnext_stride(const struct convnext *k, uint32_t layer);
uint32_t convnext_dim(const struct convnext *k, uint32_t layer);

#endif

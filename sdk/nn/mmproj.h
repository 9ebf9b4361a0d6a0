/* mmproj.h - the picture half of a vision-language model in a GGUF file (architecture "clip"): what its values and names mean,
 * so that it is seen as the Hugging Face checkpoint that it was made from, and that such a checkpoint can be written as one.
 */
#ifndef NN_MMPROJ_H
#define NN_MMPROJ_H

#include <cjson/cJSON.h>

#include "sdk/nn/gguf.h"

enum { NN_MMPROJ_NAME = 160, NN_MMPROJ_LAYERS = 4096, NN_MMPROJ_FEATURES = 64, NN_MMPROJ_POINTS = 256 };

/* How a tensor of the GGUF file lies in the checkpoint. */
enum nn_mmproj_how {
	NN_MMPROJ_PAIR,    /* the same; ".weight" and ".bias" stand behind both names */
	NN_MMPROJ_WHOLE,   /* the same; the names are whole */
	NN_MMPROJ_QKV,     /* a pair; attn_q, attn_k and attn_v are one below the other there */
	NN_MMPROJ_MOMENTS, /* whole; NAME and NAME.1 are the patches of two moments, which lie within one there */
	NN_MMPROJ_NORM,    /* whole; 1 was added */
	NN_MMPROJ_TURNED,  /* whole; (width, d_model) there, and in some files transposed */
	NN_MMPROJ_TURNS,   /* whole; of each head row 2i and 2i + 1 are rows i and i + head_dim / 2 there */
};

/* %u is the layer. */
struct nn_mmproj_name {
	const char *gguf, *hf;
	enum nn_mmproj_how how;
};

struct nn_mmproj;

/* One projector type. */
struct nn_mmproj_family {
	const char *projector;  /* clip.projector_type */
	const char *model_type; /* of config.json */
	const char *tower;      /* what stands before the tower's names in a checkpoint */
	const struct nn_mmproj_name *layers, *rest; /* of the tower, of the projector; each ends with gguf NULL */
	const char *last;       /* the tensor that the projector's output is found by; %u: the last of those numbered 0, 2, 4 ... */
	int turned;             /* its columns, not its rows, are the output, where its rows are not */
};

/* What a file says, checked. Nothing is owned: it points into the parsed header. */
struct nn_mmproj {
	const struct nn_gguf *g;
	const struct nn_mmproj_family *family;
	const char *model_type, *tower_type; /* model_type of config.json and of its vision_config */
	const char *activation;
	uint32_t layers;                     /* that are in the file */
	uint32_t blocks;                     /* that the file announces: some converters left one out */
	uint32_t width, d_ff, heads, image_size, patch_size;
	uint32_t d_model;                    /* what the projector gives: a text model's embedding_length */
	uint32_t merge, scale, preproc_size, pattern, window, min_pixels, max_pixels;
	uint32_t tiles_least, tiles_most;    /* InternVL */
	double eps, theta, mean[3], std[3];
	double ratio;                        /* 1 / scale */
	int class_token, llava, whole, pads; /* llava: by a legacy converter; whole: the tower's last norm is there */
	int qkv_bias, qk_norms, mean_pooled; /* as the tensors have it */
	const char *norm;                    /* norms without biases are RMS norms */
	uint32_t features[NN_MMPROJ_FEATURES], n_features;
	uint32_t points[NN_MMPROJ_POINTS], n_points; /* of image_grid_pinpoints, two each */
};

/* True for a file of this kind. [any] */
int nn_mmproj_is(const struct nn_gguf *gguf);
/* Reads and checks. 0, or error->code with a sentence that names `path` and what is wrong. [any] */
int nn_mmproj_read(struct nn_mmproj *mmproj, const struct nn_gguf *gguf, const char *path, struct nn_error *error);
/* As config.json and preprocessor_config.json have it; NULL when memory is out. [any] */
cJSON *nn_mmproj_config(const struct nn_mmproj *mmproj);
cJSON *nn_mmproj_processor(const struct nn_mmproj *mmproj);
/* "config.json" or "preprocessor_config.json" of the file `path`; NULL with error->code 0 if it is no file of this kind. [any] */
cJSON *nn_mmproj_json(const char *path, const char *name, struct nn_error *error);
/* The tensor of that name; NULL if there is none. [any] */
const struct nn_gguf_tensor *nn_mmproj_tensor(const struct nn_gguf *gguf, const char *name);
/* True if the two matrices of layer `i`'s MLP have each other's names, as old converters gave them. [any] */
int nn_mmproj_swapped(const struct nn_mmproj *mmproj, uint32_t i);
/* The families, i = 0 ...; NULL behind the last. [any] */
const struct nn_mmproj_family *nn_mmproj_family_at(size_t i);

#endif

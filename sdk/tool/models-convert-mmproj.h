/* models-convert-mmproj.h - the pictures' half of a model folder on its way into a GGUF file. */
#ifndef TOOL_MODELS_CONVERT_MMPROJ_H
#define TOOL_MODELS_CONVERT_MMPROJ_H

#include "sdk/nn/mmproj.h"
#include "sdk/tool/models-convert.h"

enum { MMPROJ_STATES = 64 };

/* A bundle, by config.json's model_type. */
struct mmproj_kind {
	const char *type, *projector;
	const char *widths, *layers, *heads; /* keys of vision_config */
	double eps;                          /* where the configuration is silent, as the following */
	const char *activation;
	uint32_t image_size;
	const char *tower;                   /* of vision_config's model_type alone; NULL: any */
	const char *sign;                    /* a tensor that it is known by; NULL: none */
};

/* One tensor of the file. */
struct mmproj_tensor {
	char name[NN_MMPROJ_NAME];
	const struct nn_weight *from;
	enum nn_mmproj_how how;
	uint32_t part; /* of attn_q, attn_k, attn_v; the moment; or the one row that is written, from 1 on where `row` */
	int row;
	uint32_t heads;
	const struct nn_block_format *format;
};

struct mmproj_writer {
	struct convert *c;
	const struct mmproj_kind *kind;
	const struct nn_mmproj_family *family;
	const cJSON *tower;                  /* vision_config */
	uint32_t layers;                     /* that are written */
	uint32_t n_heads;
	uint32_t states[MMPROJ_STATES], n_states; /* the features, counted from the embeddings on */
	struct mmproj_tensor *tensors;
	size_t n;
	struct nn_gguf_writer out;
};

/* A number of at least 1; else w->c->error is set. */
uint32_t mmproj_whole(struct mmproj_writer *w, const cJSON *object, const char *names, uint32_t fallback);
/* A number, or the first of a list of them. */
uint32_t mmproj_side(struct mmproj_writer *w, const char *name, uint32_t fallback);
/* models-convert-bounds.c: refuses what the file's format has no place for; LLaVA: which hidden states are the features. 0, or
 * c->error.code. */
int mmproj_bounds(struct mmproj_writer *w);
/* All values, into w->out. 0, or a negative errno. */
int mmproj_put_values(struct mmproj_writer *w, uint32_t d_model, uint32_t d_ff);

#endif

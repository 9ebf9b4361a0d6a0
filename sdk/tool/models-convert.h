/* models-convert.h - a model folder on its way into a GGUF file. */
#ifndef TOOL_MODELS_CONVERT_H
#define TOOL_MODELS_CONVERT_H

#include <stdio.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/gguf-write.h"
#include "sdk/nn/names.h"
#include "sdk/nn/tokenizer.h"
#include "sdk/tool/tool.h"

enum { CONVERT_KEY = 128, CONVERT_EXTRAS = 2 };

enum convert_traits {
	CONVERT_PERMUTED = 1, /* rows of q and k lie so that neighbours rotate together */
	CONVERT_NORMS = 2,    /* norm weights have 1 added */
	CONVERT_TURNED = 4,   /* matrices lie as (in, out) in the folder */
	CONVERT_NO_ROPE = 8,
	CONVERT_LONGROPE = 16, /* the length that the model was trained for is always said */
	CONVERT_FUSED = 32,    /* q, k and v in one matrix, which tells the heads; grouped ones turn more slowly */
};

/* A family that both kinds of files can hold. */
struct convert_family {
	const char *type;   /* model_type of config.json */
	const char *arch;   /* general.architecture */
	const char *names;  /* its list of tensor names */
	unsigned traits;
	const char *eps;    /* the norm's key */
	double eps_fallback;
	uint32_t head_dim;  /* where the configuration does not say; 0: width / heads */
	double theta;       /* likewise */
};

/* One tensor of the file. */
struct convert_tensor {
	char name[NN_NAMES_MAX];
	const struct nn_tensor_name *from;
	const char *suffix;
	uint32_t layer, experts; /* experts: sources, one behind the other; else 1 */
	const struct nn_block_format *format;
};

/* A tensor of numbers that the folder has in its configuration. */
struct convert_extra {
	const char *name;
	uint32_t n;
	float values[512];
};

struct convert {
	struct tool *tool;
	const char *path;
	struct nn_error error;
	const struct convert_family *family;
	struct nn_checkpoint *checkpoint;
	const cJSON *root, *config; /* config.json, and what it says of the language model */
	cJSON *own;                 /* the first, of LLaVA's own code; NULL: the checkpoint has it */
	const struct nn_block_format *matrices; /* their type in the file */
	int pictures;                           /* it has parts for pictures, which go into a file of their own */
	uint32_t layers, experts, heads, kv_heads, width;
	uint64_t rows;                          /* of the embeddings: tokens */
	struct convert_tensor *tensors;
	size_t n_tensors;
	struct convert_extra extras[CONVERT_EXTRAS];
	size_t n_extras;
	struct nn_gguf_writer out;
	FILE *file;
};

/* Each returns 0, or a negative errno after setting c->error.
 * The hyper-parameters: reads those that tensors need; writes all. */
int convert_sizes(struct convert *c);
int convert_values(struct convert *c);
/* The list of tensors, complete on both sides; then their data. */
int convert_list(struct convert *c);
int convert_data(struct convert *c);
/* The tokenizer and the chat template; and after writing: does the file cut texts up as the folder does? */
int convert_vocabulary(struct convert *c);
int convert_compare(struct convert *c, const char *file);
/* What every file begins with. */
void convert_general(struct convert *c, struct nn_gguf_writer *out, const char *architecture, const char *type);
/* A small JSON file of the folder; NULL if there is none. */
cJSON *convert_json(const struct convert *c, const char *name);

/* Whether a model_type has pictures' parts that a GGUF file can hold; and these. */
int convert_has_pictures(const char *type);
int convert_mmproj(struct convert *c, FILE *file);

#endif

/* models.h - model folders on this machine. */
#ifndef TOOL_MODELS_H
#define TOOL_MODELS_H

#include <limits.h>
#include <stdint.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/tool/tool.h"

/* What is known of a model, read from its files. */
struct model {
	char path[PATH_MAX];
	const char *name; /* the end of the path */
	char family[64];  /* model_type of its configuration */
	char architecture[96];
	char license[64]; /* "not stated" if nothing says */
	uint64_t parameters, bytes;
	uint64_t type_parameters[NN_OTHER + 1];
	size_t tensors;
	int64_t context;
	uint64_t cache_bytes; /* of keys and values at full context, in f32 */
	int template;
};

/* "F16" ... */
const char *model_type_name(enum nn_type type);
/* "F32" or "F16, F32": the types of its weights. */
void model_types(const struct model *model, char *text, size_t size);
/* Reads the model folder `path`. 0, or a negative errno and one sentence. */
int model_read(struct model *model, const char *path, struct nn_error *error);
/* As JSON; NULL when memory is out. */
cJSON *model_json(const struct model *model);

#endif

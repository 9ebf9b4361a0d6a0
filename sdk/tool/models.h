/* models.h - model folders and files on this machine. */
#ifndef TOOL_MODELS_H
#define TOOL_MODELS_H

#include <limits.h>
#include <stdint.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/tool/tool.h"

enum { MODEL_TYPES = 40 };

/* What is known of a model, read from its files. */
struct model {
	char path[PATH_MAX];
	const char *name; /* the end of the path */
	char family[64];  /* model_type of its configuration */
	char architecture[96];
	char license[64]; /* "not stated" if nothing says */
	uint64_t parameters, bytes;
	struct model_type {
		const char *name; /* "Q4_K" */
		uint64_t parameters, bytes;
	} types[MODEL_TYPES];     /* ends with name NULL */
	size_t tensors;
	int64_t context;
	uint64_t cache_bytes; /* of keys and values at full context, in 16 bits */
	int template;
	struct model_pictures {
		char projector[64], tower[64]; /* empty: a language model */
		uint32_t values;               /* that the projector gives */
		uint32_t layers, image_size, patch_size;
	} pictures;           /* of a picture tower's GGUF file */
};

/* The name of a weight's type: "F16", "Q4_K". */
const char *model_type_name(const struct nn_weight *weight);
/* "F32" or "F16, F32": the types of its weights. */
void model_types(const struct model *model, char *text, size_t size);
/* Reads the model folder `path`. 0, or a negative errno and one sentence. */
int model_read(struct model *model, const char *path, struct nn_error *error);
/* As JSON; NULL when memory is out. */
cJSON *model_json(const struct model *model);

/* Options of percept models' verbs. */
struct models_values {
	const char *output, *type;
	int yes, tensors, mmproj;
};

/* The path of a model by its name or path. 0, or TOOL_FAILED after saying what there is. */
int models_find(struct tool *tool, const char *name, char path[PATH_MAX]);

/* Verbs: `words` are those behind the verb's name. An exit code. */
int models_convert(struct tool *tool, const struct models_values *values, const char *const *words);
int models_quantize(struct tool *tool, const struct models_values *values, const char *const *words);
int models_pull(struct tool *tool, const struct models_values *values, const char *const *words);
int models_verify(struct tool *tool, const struct models_values *values, const char *const *words);
int models_remove(struct tool *tool, const struct models_values *values, const char *const *words);

#endif

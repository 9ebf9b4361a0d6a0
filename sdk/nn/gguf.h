/* gguf.h - the header of a GGUF file, versions 2 and 3: typed values by name, and tensors in block formats. */
#ifndef NN_GGUF_H
#define NN_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/nn/blocks.h"
#include "sdk/nn/error.h"

enum nn_gguf_type {
	NN_GGUF_U8, NN_GGUF_I8, NN_GGUF_U16, NN_GGUF_I16, NN_GGUF_U32, NN_GGUF_I32, NN_GGUF_F32, NN_GGUF_BOOL,
	NN_GGUF_STRING, NN_GGUF_ARRAY, NN_GGUF_U64, NN_GGUF_I64, NN_GGUF_F64,
};

/* A stretch of the file's own bytes; not NUL-terminated. */
struct nn_gguf_text {
	const char *bytes;
	size_t n;
};

/* One value. An array's `type` is its elements', n their number; `data` is where the first lies. */
struct nn_gguf_value {
	struct nn_gguf_text key;
	enum nn_gguf_type type;
	int is_array;
	uint64_t n;
	const unsigned char *data;
};

struct nn_gguf_tensor {
	struct nn_gguf_text name;
	const struct nn_block_format *format;
	uint32_t rank;
	uint64_t shape[4]; /* row-major, as safetensors have it: the file's own order reversed */
	const unsigned char *data;
	uint64_t bytes;
};

/* A parsed header. Everything points into the bytes that were parsed. */
struct nn_gguf {
	uint32_t version;
	size_t header_bytes;
	uint64_t n_values, n_tensors;
	struct nn_gguf_value *values;
	struct nn_gguf_tensor *tensors;
};

/* Checks every byte of the header of the file in bytes[size]; `name` is for error texts. -EINVAL with *error if it is no
 * whole and valid file, -ENOMEM. Memory grows with what the file holds, not with what it announces. [any] */
int nn_gguf_parse(struct nn_gguf *gguf, const unsigned char *bytes, size_t size, const char *name, struct nn_error *error);
void nn_gguf_fini(struct nn_gguf *gguf);

/* True for names that end in ".gguf". [any] */
int nn_gguf_is_path(const char *path);
/* A mapped file with its header. nn_gguf_close() also after a failure does no harm. [any] */
struct nn_gguf_file {
	struct nn_gguf g;
	const unsigned char *bytes;
	size_t size;
};
int nn_gguf_open(struct nn_gguf_file *file, const char *path, struct nn_error *error);
void nn_gguf_close(struct nn_gguf_file *file);

/* The value of a key, or NULL. [any] */
const struct nn_gguf_value *nn_gguf_value(const struct nn_gguf *gguf, const char *key);
/* Element i of a number (i = 0) or of an array of numbers or truth values. */
double nn_gguf_number(const struct nn_gguf_value *value, uint64_t i);
/* Walks the strings of an array: *at begins as value->data and moves on. */
struct nn_gguf_text nn_gguf_next_text(const unsigned char **at);

#endif

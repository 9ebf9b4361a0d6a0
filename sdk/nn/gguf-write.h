/* gguf-write.h - GGUF files, version 3: first values, then the list of tensors, then their data in the same order. */
#ifndef NN_GGUF_WRITE_H
#define NN_GGUF_WRITE_H

#include <stdio.h>

#include "sdk/nn/gguf.h"

/* A file on its way. Zeroed, it is empty; a failure is kept in `error` and makes what follows do nothing. */
struct nn_gguf_writer {
	unsigned char *values, *tensors; /* encoded */
	size_t values_n, tensors_n;
	uint64_t n_values, n_tensors;
	uint64_t offset;                 /* of the next tensor's data */
	int error;                       /* 0, -ENOMEM, or -errno of a write */
};

/* Values. A key that is there already is written again: callers give each once. */
void nn_gguf_write_text(struct nn_gguf_writer *w, const char *key, const char *text, size_t n);
void nn_gguf_write_u32(struct nn_gguf_writer *w, const char *key, uint32_t value);
void nn_gguf_write_f32(struct nn_gguf_writer *w, const char *key, float value);
void nn_gguf_write_bool(struct nn_gguf_writer *w, const char *key, int value);
/* The head of an array; its `n` elements follow by nn_gguf_write_bytes, texts by nn_gguf_write_element. */
void nn_gguf_write_array(struct nn_gguf_writer *w, const char *key, enum nn_gguf_type type, uint64_t n);
void nn_gguf_write_bytes(struct nn_gguf_writer *w, const void *bytes, size_t n);
void nn_gguf_write_element(struct nn_gguf_writer *w, const char *text, size_t n);
/* A value as it lies in another file. */
void nn_gguf_write_copy(struct nn_gguf_writer *w, const struct nn_gguf_value *value);

/* Announces a tensor; `shape` row-major. Returns the bytes of its data. */
uint64_t nn_gguf_write_tensor(struct nn_gguf_writer *w, const char *name, size_t n, const struct nn_block_format *format,
			      uint32_t rank, const uint64_t *shape);
/* The header, to the file's beginning. */
void nn_gguf_write_header(struct nn_gguf_writer *w, FILE *file);
/* Part of a tensor's data; with `last` the padding behind it. */
void nn_gguf_write_data(struct nn_gguf_writer *w, FILE *file, const void *data, size_t n, int last);
void nn_gguf_write_fini(struct nn_gguf_writer *w);

#endif

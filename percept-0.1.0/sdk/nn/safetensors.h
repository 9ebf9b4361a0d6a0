/* safetensors.h - the header of a .safetensors file. */
#ifndef NN_SAFETENSORS_H
#define NN_SAFETENSORS_H

#include <stddef.h>

#include "sdk/nn/checkpoint.h"

/* What a file holds. */
struct nn_safetensors {
	struct nn_weight *weights; /* in the order of their data; data points into the bytes that were parsed */
	size_t n;
	size_t header_bytes; /* with the eight of its length */
};

/* Checks every byte of the header of the file that lies in bytes[size]; `name` is for error texts. On success the caller
 * ends with nn_safetensors_fini. -EINVAL with *error if it is not a whole and valid file, -ENOMEM. [any] */
int nn_safetensors_parse(struct nn_safetensors *st, const unsigned char *bytes, size_t size, const char *name,
			 struct nn_error *error);
void nn_safetensors_fini(struct nn_safetensors *st);

#endif

/* names.h - what a language model's tensors are called in GGUF files and in Hugging Face's: one table for all who read or
 * write them. */
#ifndef NN_NAMES_H
#define NN_NAMES_H

#include <stddef.h>
#include <stdint.h>

enum { NN_NAMES_MAX = 160 };

/* Without suffix (".weight", ".bias"). `hf` may hold two %u: the layer, and the expert where each has a tensor of its own; a
 * name with a layer lies in "blk.N." in GGUF files. */
struct nn_tensor_name {
	const char *gguf, *hf;
};

/* The name of a family's tensor; NULL if no family has such. [any] */
const struct nn_tensor_name *nn_names_find(const char *family, const char *gguf, size_t n);
/* For listings: the names that a family may have, i = 0 ...; NULL behind the last. [any] */
const struct nn_tensor_name *nn_names_at(const char *family, size_t i);
/* `hf` with its numbers and a suffix. [any] */
void nn_names_write(const char *hf, uint32_t layer, uint32_t expert, const char *suffix, char out[NN_NAMES_MAX]);

#endif

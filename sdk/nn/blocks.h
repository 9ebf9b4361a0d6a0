/* blocks.h - the block formats of GGUF files: 32 or 256 weights that share their scales. */
#ifndef NN_BLOCKS_H
#define NN_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

/* One format. `expand` writes the `elements` values of one block as the reference (ggml) computes them. */
struct nn_block_format {
	const char *name;   /* "Q4_K" */
	uint32_t ggml_type; /* the number in GGUF files */
	uint16_t elements;  /* of a block */
	uint16_t bytes;     /* of a block */
	void (*expand)(const uint8_t *block, float *values);
};

/* By GGUF's number; NULL if unknown. [any] */
const struct nn_block_format *nn_block_format(uint32_t ggml_type);
/* By name, without regard to case; NULL if unknown. [any] */
const struct nn_block_format *nn_block_format_named(const char *name);
/* `blocks` blocks from `data` to values [blocks * elements]. [any] */
void nn_blocks_expand(const struct nn_block_format *format, const void *data, size_t blocks, float *values);

/* IEEE binary16 to f32, exact. [any] */
float nn_half(const uint8_t *bytes);

/* The 16 values of IQ4_NL and IQ4_XS. */
extern const int8_t blocks_nonlinear[16];

/* Formats whose values come from a codebook: blocks-codebook.c. */
void nn_expand_iq2_xxs(const uint8_t *block, float *values);
void nn_expand_iq2_xs(const uint8_t *block, float *values);
void nn_expand_iq2_s(const uint8_t *block, float *values);
void nn_expand_iq3_xxs(const uint8_t *block, float *values);
void nn_expand_iq3_s(const uint8_t *block, float *values);
void nn_expand_iq1_s(const uint8_t *block, float *values);
void nn_expand_iq1_m(const uint8_t *block, float *values);

#endif

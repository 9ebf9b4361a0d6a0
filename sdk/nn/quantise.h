/* quantise.h - floats into block formats. */
#ifndef NN_QUANTISE_H
#define NN_QUANTISE_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/nn/blocks.h"

/* True for the formats below. [any] */
int nn_quantise_knows(const struct nn_block_format *format);
/* `n` floats, a multiple of the format's elements, into blocks. F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1: byte by byte what
 * the reference quantiser (ggml) gives; Q4_K, Q5_K, Q6_K: scales by a search for the least weighted square error. [any] */
void nn_quantise(const struct nn_block_format *format, const float *x, size_t n, uint8_t *blocks);

/* Blocks of 256: quantise-super.c. */
void nn_quantise_q4_k(const float *x, uint8_t *block);
void nn_quantise_q5_k(const float *x, uint8_t *block);
void nn_quantise_q6_k(const float *x, uint8_t *block);

#endif

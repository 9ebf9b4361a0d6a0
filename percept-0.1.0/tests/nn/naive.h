/* naive.h - what the operations mean, written as plainly as can be, in doubles. */
#ifndef TESTS_NN_NAIVE_H
#define TESTS_NN_NAIVE_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/nn/ops.h"

/* A repeatable number in [-1, 1). */
float naive_random(uint64_t *state);
void naive_fill(float *x, size_t n, uint64_t seed);
/* The nearest number of that 16-bit type, as its bits, and back. */
uint16_t naive_to_half(float f, enum nn_type type);
float naive_from_half(uint16_t h, enum nn_type type);

void naive_linear(float *y, const float *x, const float *w, const float *b, size_t t, size_t n, size_t k);
double naive_activation(double x, enum nn_activation how);
void naive_layer_norm(float *y, const float *x, const float *w, const float *b, size_t t, size_t n, double eps);
void naive_rms_norm(float *y, const float *x, const float *w, size_t t, size_t n, double eps);
void naive_softmax(float *y, const float *x, size_t t, size_t n);
void naive_attention(float *out, const float *q, const float *k, const float *v, size_t t, size_t s, size_t dk, size_t dv,
		     const struct nn_attention *how);

/* Every set of kernels that this processor can run: computations of one thread and of three. */
struct nn_pool;
struct naive_path {
	const char *name;
	uint32_t threads;
};
extern const struct naive_path naive_paths[];
extern const size_t naive_n_paths;
/* A computation on path i, 0 if the processor cannot. Ends with naive_fini. */
int naive_init(struct nn *c, size_t i);
void naive_fini(struct nn *c);

/* Fails the test unless |got - want| <= abs + rel * |want| everywhere; says where and on which path. */
void naive_expect(const char *what, const struct nn *c, const float *got, const float *want, size_t n, double abs, double rel);

#endif

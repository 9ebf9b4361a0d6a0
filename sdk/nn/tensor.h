/* tensor.h - f32 matrices over an arena, and the operations that model files are written in.
 *
 * A computation holds a `struct nn`: where memory comes from, who runs parallel work, who may stop it, and whether
 * something failed. Operations on a failed computation do nothing and return an empty tensor, so that a forward pass reads
 * as the paper does and is checked once at its end. [any]: one `struct nn` belongs to one thread at a time.
 */
#ifndef NN_TENSOR_H
#define NN_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/nn/arena.h"
#include "sdk/nn/error.h"

struct nn_kernels;
struct percept_call;

/* Row-major (rows, cols) f32; row r begins at data + r * stride. A view: it owns nothing. */
struct nn_tensor {
	float *data;
	size_t rows, cols, stride;
};

/* Where rows of an operation run: task(arg, i) for i in [0, count). */
typedef void nn_task(void *arg, uint32_t index);

struct nn {
	struct nn_arena *arena;
	void (*parallel)(void *runner, nn_task *task, void *arg, uint32_t count); /* NULL: on this thread */
	void *runner;
	uint32_t threads;                /* that parallel can use; 0 is 1 */
	int (*stopped)(void *stopper);   /* NULL: never. Called from any thread; once true it stays true */
	void *stopper;
	int error;                       /* 0, or the first failure: -ENOMEM, -ECANCELED, -EINVAL */
	struct percept_call *call;       /* that it is a part of; NULL: none */
	const struct nn_kernels *kernels; /* NULL: the best that this processor has, or what PERCEPT_CPU names */
};

/* A computation on a plugin call: the call's threads and cancellation, memory from `arena`. */
void nn_begin(struct nn *c, struct percept_call *call, struct nn_arena *arena);

/* Uninitialised (rows, cols). Empty, with c->error = -ENOMEM, when memory is out. */
struct nn_tensor nn_new(struct nn *c, size_t rows, size_t cols);
/* Views. Out of range: empty. */
struct nn_tensor nn_rows(struct nn_tensor x, size_t first, size_t count);
struct nn_tensor nn_cols(struct nn_tensor x, size_t first, size_t count);
struct nn_tensor nn_view(float *data, size_t rows, size_t cols);
struct nn_tensor nn_copy(struct nn *c, struct nn_tensor x);
/* Uninitialised `n` elements of `size` bytes from the arena; NULL, with c->error = -ENOMEM, when memory is out. */
void *nn_memory(struct nn *c, size_t n, size_t size);
/* True once the computation failed or was stopped; sets c->error. Polled between operations. */
int nn_stopped(struct nn *c);
/* task(arg, i) for i in [0, count) on the computation's threads. Once the computation is stopped the rest is left out and
 * c->error is -ECANCELED. */
void nn_parallel(struct nn *c, nn_task *task, void *arg, uint32_t count);
/* Splits [0, n) among the threads, at least `grain` each: task(arg, begin, end). */
void nn_split(struct nn *c, size_t n, size_t grain, void (*task)(void *arg, size_t begin, size_t end), void *arg);

#endif

/* tensor.c - matrices, and the computation they belong to. */
#include "sdk/nn/tensor.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <percept/plugin.h>

static void begin_parallel(void *runner, nn_task *task, void *arg, uint32_t count)
{
	struct percept_call *call = runner;

	call->host->parallel(call, task, arg, count);
}

static int begin_stopped(void *stopper)
{
	return percept_cancelled(stopper);
}

void nn_begin(struct nn *c, struct percept_call *call, struct nn_arena *arena)
{
	*c = (struct nn){ .arena = arena, .threads = 1 };
	if (!call)
		return;
	c->call = call;
	c->stopped = begin_stopped;
	c->stopper = call;
	c->threads = call->host->threads(call);
	c->parallel = begin_parallel;
	c->runner = call;
}

void *nn_memory(struct nn *c, size_t n, size_t size)
{
	size_t bytes;

	if (c->error)
		return NULL;
	void *p = __builtin_mul_overflow(n, size, &bytes) ? NULL : nn_arena_alloc(c->arena, bytes);

	if (!p)
		c->error = -ENOMEM;
	return p;
}

struct nn_tensor nn_new(struct nn *c, size_t rows, size_t cols)
{
	size_t n;

	if (__builtin_mul_overflow(rows, cols, &n))
		n = SIZE_MAX;
	float *data = nn_memory(c, n, sizeof(float));

	return data ? nn_view(data, rows, cols) : (struct nn_tensor){ 0 };
}

struct nn_tensor nn_rows(struct nn_tensor x, size_t first, size_t count)
{
	if (first > x.rows || count > x.rows - first)
		return (struct nn_tensor){ 0 };
	return (struct nn_tensor){ x.data + first * x.stride, count, x.cols, x.stride };
}

struct nn_tensor nn_cols(struct nn_tensor x, size_t first, size_t count)
{
	if (first > x.cols || count > x.cols - first)
		return (struct nn_tensor){ 0 };
	return (struct nn_tensor){ x.data + first, x.rows, count, x.stride };
}

struct nn_tensor nn_view(float *data, size_t rows, size_t cols)
{
	return (struct nn_tensor){ data, rows, cols, cols };
}

struct nn_tensor nn_copy(struct nn *c, struct nn_tensor x)
{
	struct nn_tensor y = nn_new(c, x.rows, x.cols);

	for (size_t r = 0; r < y.rows; r++)
		memcpy(y.data + r * y.stride, x.data + r * x.stride, x.cols * sizeof(float));
	return y;
}

int nn_stopped(struct nn *c)
{
	if (!c->error && c->stopped && c->stopped(c->stopper))
		c->error = -ECANCELED;
	return c->error != 0;
}

struct parallel {
	struct nn *c;
	nn_task *task;
	void *arg;
	_Atomic int left_out;
};

static void parallel_task(void *arg, uint32_t index)
{
	struct parallel *p = arg;

	if (p->c->stopped && p->c->stopped(p->c->stopper))
		atomic_store_explicit(&p->left_out, 1, memory_order_relaxed);
	else
		p->task(p->arg, index);
}

void nn_parallel(struct nn *c, nn_task *task, void *arg, uint32_t count)
{
	struct parallel p = { .c = c, .task = task, .arg = arg };

	if (c->error)
		return;
	if (c->parallel && c->threads > 1 && count > 1)
		c->parallel(c->runner, parallel_task, &p, count);
	else
		for (uint32_t i = 0; i < count; i++)
			parallel_task(&p, i);
	if (p.left_out)
		c->error = -ECANCELED;
}

struct split {
	void (*task)(void *arg, size_t begin, size_t end);
	void *arg;
	size_t n, step;
};

static void split_task(void *arg, uint32_t index)
{
	struct split *s = arg;
	size_t begin = index * s->step, end = s->n - begin < s->step ? s->n : begin + s->step;

	s->task(s->arg, begin, end);
}

void nn_split(struct nn *c, size_t n, size_t grain, void (*task)(void *arg, size_t begin, size_t end), void *arg)
{
	/* A few pieces a thread: one that is held up does not hold up all, and stopping is noticed between them. */
	size_t pieces = (size_t)(c->threads ? c->threads : 1) * 4;
	size_t step = n / pieces + (n % pieces != 0);

	if (step < grain)
		step = grain;
	if (!n || c->error)
		return;
	struct split s = { task, arg, n, step ? step : 1 };

	nn_parallel(c, split_task, &s, (uint32_t)((n + s.step - 1) / s.step));
}

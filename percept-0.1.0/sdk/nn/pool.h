/* pool.h - the compute threads of an engine. Only this file of sdk/nn knows threads. */
#ifndef NN_POOL_H
#define NN_POOL_H

#include <stdint.h>

#include "sdk/nn/tensor.h"

struct nn_pool;

/* `threads` >= 1, the caller of nn_pool_run counted. NULL when threads or memory are out. [any] */
struct nn_pool *nn_pool_new(uint32_t threads);
/* Nobody may be in nn_pool_run. NULL is fine. [any] */
void nn_pool_free(struct nn_pool *pool);
uint32_t nn_pool_threads(const struct nn_pool *pool);
/* task(arg, i) for i in [0, count), the caller's thread included; returns when all are done. One caller at a time
 * (others wait); never from inside a task. Idle threads sleep: no processor time is used between requests, but for some
 * microseconds after a job they look out for the next one. `pool` is a void * so that it fits struct nn's `parallel`. [any] */
void nn_pool_run(void *pool, nn_task *task, void *arg, uint32_t count);

#endif

/* scheduler.h - decodes many requests at once: one thread, one batch a step, requests join and leave between steps. */
#ifndef ENGINE_SCHEDULER_H
#define ENGINE_SCHEDULER_H

#include "daemon/engine/request.h"

struct scheduler;

/* Starts the decode thread for an assembly that stays. `chunk`: prompt rows of one step at most; `stall_ms`: how long
 * one may take, about, so that long prompts do not hold up others. NULL when memory or threads are out. [any] */
struct scheduler *scheduler_new(struct assembly *assembly, struct nn_pool *pool, uint32_t chunk, double stall_ms);
/* Gives a request with its rows built; it comes back by engine_return(). [loop] */
void scheduler_submit(struct scheduler *scheduler, struct request *request);
/* Something was stopped: look. [any] */
void scheduler_wake(struct scheduler *scheduler);
/* Ends the thread behind its step; what it has must have been stopped before and comes back first. [loop] */
void scheduler_free(struct scheduler *scheduler);
/* Bytes and rows of all sequences, as of the last step. [any] */
uint64_t scheduler_bytes(const struct scheduler *scheduler);
uint64_t scheduler_rows(const struct scheduler *scheduler);

#endif

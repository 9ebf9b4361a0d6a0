/* worker.h - the one place of the daemon that knows threads: jobs for workers, news for a loop, locks. */
#ifndef BASE_WORKER_H
#define BASE_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "daemon/base/list.h"

/* ---- news for a loop ---- */

/* Letters from any thread to a loop. A letter is linked in, not copied: it is its sender's until it is delivered. */
struct postbox;
struct post {
	struct list node;
};
/* `deliver` runs on the loop, once for every letter, in the order of sending; it may free the letter. NULL when
 * something is out. [loop] */
struct postbox *postbox_open(uv_loop_t *loop, void (*deliver)(void *arg, struct post *letter), void *arg);
/* [any], until postbox_close. */
void postbox_send(struct postbox *box, struct post *letter);
/* Delivers what lies in it now, without waiting for the loop's next turn. [loop] */
void postbox_flush(struct postbox *box);
/* Delivers what lies in it, then frees it as the loop turns. No thread may send any more. [loop] */
void postbox_close(struct postbox *box);
/* Whether a waiting letter alone keeps the loop alive (it does at first). [loop] */
void postbox_ref(struct postbox *box, bool alive);

/* ---- jobs for workers ---- */

/* A job lies inside what it works on; it may not be freed between worker_submit and `done`. */
struct worker_job {
	struct post letter;
	void (*run)(struct worker_job *job);  /* [worker] */
	void (*done)(struct worker_job *job); /* [loop] behind run; may free the job */
	struct worker *worker;
	int state;
};
struct worker;
/* `threads` >= 1 threads named `name` (at most 15 bytes) with one queue. NULL when something is out. [loop] */
struct worker *worker_new(uv_loop_t *loop, unsigned threads, const char *name);
/* [loop] */
void worker_submit(struct worker *worker, struct worker_job *job);
/* True if the job had not started: it never will, and `done` is not called. [loop] */
bool worker_withdraw(struct worker_job *job);
/* Jobs that wait. [loop] */
unsigned worker_waiting(struct worker *worker);
/* Ends the threads behind the jobs that run, calls `done` of those; jobs that wait are dropped without it. [loop] */
void worker_free(struct worker *worker);

/* ---- threads and locks for the engine's scheduler ---- */

struct worker_thread {
	pthread_t id;
	void (*main)(void *arg);
	void *arg;
	char name[16];
};
/* All signals are blocked in the thread. `thread` must stay where it is until worker_thread_join. 0 or -errno. [any] */
int worker_thread_start(struct worker_thread *thread, const char *name, void (*main)(void *arg), void *arg);
void worker_thread_join(struct worker_thread *thread);

/* A mutex and a condition that is waited for under it. */
struct worker_gate {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
};
/* 0 or -errno. */
int worker_gate_init(struct worker_gate *gate);
void worker_gate_fini(struct worker_gate *gate);
void worker_gate_lock(struct worker_gate *gate);
void worker_gate_unlock(struct worker_gate *gate);
/* Wakes all who wait. With or without the lock. */
void worker_gate_wake(struct worker_gate *gate);
/* With the lock: gives it up, waits, takes it again. May return without cause. */
void worker_gate_wait(struct worker_gate *gate);
/* The same for at most `ns` nanoseconds; false when they are over. */
bool worker_gate_wait_for(struct worker_gate *gate, uint64_t ns);

/* Processors this process may use, at least 1. [any] */
unsigned worker_processors(void);

#endif

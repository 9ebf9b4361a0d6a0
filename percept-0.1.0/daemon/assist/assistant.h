/* assistant.h - one assistant: its engine, started again when it dies, and the requests that wait for it. */
#ifndef ASSIST_ASSISTANT_H
#define ASSIST_ASSISTANT_H

#include <stdbool.h>
#include <uv.h>

#include "daemon/assist/engine.h"
#include "daemon/assist/job.h"

enum assistant_state {
	ASSISTANT_STARTING, ASSISTANT_READY, ASSISTANT_DRAINING, ASSISTANT_FAILED, ASSISTANT_UNLOADED,
};

/* Jobs in order. */
struct job_list {
	struct job *first, *last;
	unsigned n;
};

/* Somebody who waits until an assistant is ready or has failed. His memory. */
struct assistant_waiter {
	void (*told)(void *arg, struct assistant *assistant);
	void *arg;
	struct assistant_waiter *next;
};

struct assist;

struct assistant {
	struct assist *home;
	struct assistant *next;
	char name[64];
	cJSON *resolved;          /* what its engine is opened with */
	enum assistant_state state;
	struct wire_error reason; /* of FAILED */
	struct engine *engine;    /* NULL while there is none */
	struct job_list queue, running;
	struct assistant_waiter *waiters;
	uv_timer_t retry;
	unsigned crashes;         /* in a row */
	uint64_t ready_at_ms, failed_at_ms;
	bool pumping;             /* in assistant_pump */
	bool retired;             /* no longer in the configuration: ends with its last job */
};

/* Takes `resolved` over when it succeeds; NULL on ENOMEM. It is not started. [loop] */
struct assistant *assistant_new(struct assist *home, cJSON *resolved);
void assistant_free(struct assistant *assistant);
const char *assistant_state_name(const struct assistant *assistant);
/* 0, or a code in *error when no request can be taken now. One that failed some time ago is tried again. [loop] */
int assistant_refuses(struct assistant *assistant, struct wire_error *error);
/* Takes the job over; assistant_refuses has just said 0. [loop] */
void assistant_submit(struct assistant *assistant, struct job *job);
/* Starts its engine, if it has none. [loop] */
void assistant_load(struct assistant *assistant);
/* Takes no new request, lets the old ones end, then ends its engine. [loop] */
void assistant_unload(struct assistant *assistant);
/* told() is called from the loop once it is neither starting nor draining; at once if that is so. [loop] */
void assistant_wait(struct assistant *assistant, struct assistant_waiter *waiter);
/* A ready engine for a new resolved form (both taken over) takes the place of the present one, which drains. [loop] */
void assistant_swap(struct assistant *assistant, struct engine *engine, cJSON *resolved);
/* It left the configuration. [loop] */
void assistant_retire(struct assistant *assistant);
/* Cancels everything it has. [loop] */
void assistant_cancel_all(struct assistant *assistant);

/* For job.c: */
/* Moves on what can move on. [loop] */
void assistant_pump(struct assistant *assistant);
void job_list_add(struct job_list *list, struct job *job);
void job_list_take(struct job_list *list, struct job *job);
/* The error that a request gets from an assistant that failed. */
void assistant_explain(const struct assistant *assistant, struct wire_error *error);

#endif

/* hop.h - perceptd's end of the PP1 stream to one engine: calls out, their answers and notifications back. */
#ifndef ASSIST_HOP_H
#define ASSIST_HOP_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "sdk/wire/frame.h"

/* What an engine answered. Exactly one of `result` and `error.code` is set; whoever takes result, error.data or tail
 * sets it to NULL, the rest is freed behind the callback. */
struct hop_reply {
	cJSON *result;
	struct wire_error error;
	uint8_t *tail;
	size_t tail_bytes;
};

struct hop_call_events {
	/* The one answer. The call is over and may be freed. */
	void (*reply)(void *arg, struct hop_reply *reply);
	/* A notification with the call's id; `frame` is the whole object, borrowed, and may be changed. NULL: not wanted. */
	void (*notify)(void *arg, const char *method, cJSON *frame);
};

/* A call in flight; the caller's memory, which stays until the reply or hop_free. */
struct hop_call {
	double id;
	const struct hop_call_events *events;
	void *arg;
	struct hop_call *next, *prev;
};

struct hop_events {
	/* The peer hung up, or sent what is no PP1 (`why` says it). Called once, from the loop, not from within hop_call. */
	void (*closed)(void *arg, const char *why);
	/* A notification that belongs to no call. */
	void (*notify)(void *arg, const char *method, cJSON *frame);
};

struct hop;
/* Takes the nonblocking `socket` over, when it succeeds. NULL on ENOMEM. [loop] */
struct hop *hop_new(uv_loop_t *loop, int socket, const struct hop_events *events, void *arg);
/* Calls still in flight are forgotten. [loop] */
void hop_free(struct hop *hop);
/* Sends a request. `params` is taken over, `fds` are taken over (closed once sent), in every case. 0 or -errno, when
 * there will be no reply. [loop] */
int hop_send(struct hop *hop, struct hop_call *call, const char *method, cJSON *params, const int *fds, unsigned n_fds);
/* Reads what is still there. [loop] */
void hop_finish(struct hop *hop);
/* Answers every call in flight with a copy of `error`. [loop] */
void hop_fail(struct hop *hop, const struct wire_error *error);
/* Calls in flight. */
unsigned hop_calls(const struct hop *hop);

#endif

/* call.h - the host's side of a call into a plugin: memory, failure, cancellation, progress, threads. */
#ifndef ENGINE_CALL_H
#define ENGINE_CALL_H

#include <uv.h>
#include <percept/plugin.h>

#include "daemon/engine/pulse.h"
#include "sdk/nn/arena.h"
#include "sdk/nn/pool.h"
#include "sdk/wire/frame.h"

/* What a plugin shows of itself: an intermediate value, f32, row-major, rank 1 to 4. Lent. */
typedef void call_observer(void *observer, const char *name, const float *data, const uint64_t *shape, uint32_t rank);

/* One call at a time; reset between calls. `base` is what the plugin gets. */
struct call {
	struct percept_call base;
	struct nn_arena *arena;
	struct nn_pool *pool; /* borrowed; NULL: parallel work runs on the caller's thread */
	/* Guards arena, error and text: a plugin may allocate and fail from its parallel tasks. */
	uv_mutex_t lock;
	const char *plugin; /* whose name goes into logs and errors; borrowed */
	int (*stopped)(void *arg); /* NULL: never. [any] */
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* NULL: nobody looks. [any] */
	void *arg; /* of both */
	call_observer *observe; /* NULL: nobody looks, and plugins need not show anything */
	void *observer;
	struct pulse *pulse; /* NULL: nobody watches */
	int error;
	char text[512];
};

/* 0 or -ENOMEM. `limit`: bytes that one call may allocate; 0: no limit. */
int call_init(struct call *call, struct nn_pool *pool, size_t limit);
void call_fini(struct call *call);
/* From now on plugins show their intermediate values to `observe`, on the thread that calls them; NULL ends that. */
void call_observe(struct call *call, call_observer *observe, void *observer);
/* From now on silence is noticed, until call_unwatch() or call_fini(). `pulses` may be NULL. */
void call_watch(struct call *call, struct pulses *pulses);
void call_unwatch(struct call *call);
/* Names the plugin that works from now on. */
void call_name(struct call *call, const char *plugin);
/* Ends the last call's arena and failure, and names the plugin of the next. */
void call_reset(struct call *call, const char *plugin);
/* What a plugin's negative return value `r` means for the client, as one error: its sentence, or ours if it gave none.
 * `doing` says what was asked of it: "encode the picture". Returns error->code; -ECANCELED gives 0 and leaves *error alone. */
int call_failed(const struct call *call, int r, const char *doing, struct wire_error *error);
/* The same for an answer that breaks the contract. Returns error->code, -32010. */
int call_broken(const struct call *call, struct wire_error *error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif

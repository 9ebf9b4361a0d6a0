/* engine.h - one percept-engine process: started, opened, watched, drained. */
#ifndef ASSIST_ENGINE_H
#define ASSIST_ENGINE_H

#include <stdbool.h>
#include <uv.h>

#include "daemon/assist/hop.h"

enum engine_state { ENGINE_STARTING, ENGINE_READY, ENGINE_DRAINING, ENGINE_GONE };

struct engine;
struct engine_events {
	/* engine.open succeeded: calls may be made. [loop] */
	void (*ready)(void *arg, struct engine *engine);
	/* The process is gone and every call was answered; the engine is freed behind this. `why` says what happened:
	 * engine.open's own error, -32010 for a crash, or code 0 when it was asked to go. [loop] */
	void (*gone)(void *arg, struct engine *engine, const struct wire_error *why);
};

/* What every engine is started with. */
struct engine_setup {
	uv_loop_t *loop;
	const char *program;    /* absolute path of percept-engine */
	unsigned open_limit_ms; /* for engine.open */
	unsigned hang_ms;       /* an engine with work that answers no ping for so long is ended */
	unsigned exit_ms;       /* between its last answer and its exit */
};

/* Starts an engine for the resolved assistant (borrowed). `setup` stays the caller's and must outlive it. NULL and
 * *error when it cannot even start. [loop] */
struct engine *engine_start(const struct engine_setup *setup, const cJSON *assistant, const struct engine_events *events,
			    void *arg, struct wire_error *error);
/* Other hands take the news from now on. [loop] */
void engine_set_events(struct engine *engine, const struct engine_events *events, void *arg);
/* hop_send to it; it must be ready or draining. [loop] */
int engine_call(struct engine *engine, struct hop_call *call, const char *method, cJSON *params, const int *fds,
		unsigned n_fds);
/* Lets the calls in flight end, then makes it exit; `limit_ms` later it is ended anyway (0: no limit). [loop] */
void engine_drain(struct engine *engine, unsigned limit_ms);
/* Ends it now; `why` becomes the answer of its calls. [loop] */
void engine_kill(struct engine *engine, const char *why);

enum engine_state engine_state(const struct engine *engine);
pid_t engine_pid(const struct engine *engine);
/* engine.open's result; NULL before it is ready. */
const cJSON *engine_info(const struct engine *engine);
/* Calls in flight but for pings. */
unsigned engine_calls(const struct engine *engine);
/* True if engine.open was answered with an error (so trying again changes nothing by itself). */
bool engine_refused(const struct engine *engine);

#endif

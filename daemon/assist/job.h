/* job.h - one request on its way through an assistant: queue, media, engine. */
#ifndef ASSIST_JOB_H
#define ASSIST_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "daemon/assist/engine.h"
#include "daemon/assist/hop.h"
#include "daemon/assist/media-client.h"

struct assistant;
struct job;

/* The most media items of one request, and so the most descriptors on the hop. */
enum { JOB_MAX_MEDIA = 128 };

struct job_events {
	/* perceptd's own stages: "queue", "media". [loop] */
	void (*stage)(void *arg, const char *stage);
	/* A notification of the engine; `frame` is the whole object, borrowed, and may be changed. [loop] */
	void (*notify)(void *arg, const char *method, cJSON *frame);
	/* The one answer; the job is freed behind it. What of *reply is taken is set to NULL. [loop] */
	void (*done)(void *arg, struct hop_reply *reply);
};

/* What became of a cancellation: "cancelled" or "already_done". [loop] */
typedef void job_told(void *arg, const char *status);

enum job_state { JOB_NEW, JOB_QUEUED, JOB_MEDIA, JOB_DECODED, JOB_ENGINE };

struct job {
	/* Filled by who makes it. */
	const char *method;         /* static: "response.create", "embedding.create", "token.count", "image.look" */
	cJSON *params;              /* owned; media references are {"fd":k} already */
	char response_id[32];
	struct media_call *media;   /* owned, with the sources (-1: none), pixels -1; n_media <= JOB_MAX_MEDIA */
	unsigned n_media;
	uint64_t deadline_ms;       /* 0: none */
	const struct job_events *events; /* NULL: nobody waits any more */
	void *arg;
	/* Inside. */
	enum job_state state;
	bool cancelled, timer_used;
	struct assistant *assistant;
	struct engine *engine;      /* in JOB_ENGINE; it answers before it is freed */
	struct hop_call call;
	unsigned media_left;
	uint64_t arrived_ns, started_ns, decoded_ns;
	uv_timer_t timer;           /* the deadline; later, the patience with an engine that should have ended it */
	struct job *next, *prev;
};

/* NULL on ENOMEM. [loop] */
struct job *job_new(const char *method, const struct job_events *events, void *arg);
/* Of a job that was never submitted. */
void job_free(struct job *job);
/* Stops the work in any stage; the job still gets its one answer. `told` is called once, now or later. [loop] */
void job_cancel(struct job *job, job_told *told, void *arg);
/* Nobody waits for it any more: no event from now on. It may be freed at once. [loop] */
void job_abandon(struct job *job);

/* For assistant.c. */
void job_arm(struct job *job, uv_loop_t *loop);
void job_start(struct job *job);
void job_forward(struct job *job);
void job_finish(struct job *job, struct hop_reply *reply);
void job_fail(struct job *job, const struct wire_error *error);

#endif

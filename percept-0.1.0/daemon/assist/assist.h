/* assist.h - all assistants of the daemon, their engines, and the media program. */
#ifndef ASSIST_ASSIST_H
#define ASSIST_ASSIST_H

#include <stdbool.h>
#include <uv.h>

#include "daemon/assist/assistant.h"
#include "daemon/assist/engine.h"
#include "daemon/assist/media-client.h"

/* What perceptd itself did, for `status`. */
struct assist_stage_count {
	double count, seconds;
};
struct assist_counts {
	double done, failed, cancelled;
	struct assist_stage_count queue, media;
};

struct assist_limits {
	unsigned running; /* an assistant */
	unsigned queued;
};

struct assist {
	uv_loop_t *loop;
	struct engine_setup engines;
	struct media_setup media_setup;
	struct media_client *media;
	struct assist_limits limits;
	const char *plugin_path;      /* for the scan; the caller's, may be NULL */
	struct assistant *assistants; /* in the order of the configuration */
	struct assistant *retired;
	unsigned engines_alive;       /* serving, starting, draining */
	unsigned generation;          /* of the configuration; 1 is the first */
	struct assist_counts counts;
	struct reload *reloading;
	struct scan *scan;            /* under way */
	cJSON *plugins;               /* what the last scan found */
	bool draining, drain_cancelled;
	uint64_t drain_until_ms;
	uv_timer_t drain_timer;
	uv_timer_cb drain_timer_cb;
	void (*drained)(void *arg);
	void *drained_arg;
};

/* `home` is the caller's memory with loop, engines, media_setup and limits filled; starts the media program. [loop] */
int assist_init(struct assist *home);
/* Everything must be drained. [loop] */
void assist_fini(struct assist *home);
/* NULL if there is none of that name. */
struct assistant *assist_named(const struct assist *home, const char *name);
/* Adds the assistants of a JSON array of resolved ones (borrowed) and starts them, but for those named in the array
 * `idle`. 0 or -ENOMEM. [loop] */
int assist_start(struct assist *home, const cJSON *resolved, const cJSON *idle);
/* Lets all jobs end (after `limit_ms` they are cancelled), then all engines; `drained` is told from the loop. [loop] */
void assist_drain(struct assist *home, unsigned limit_ms, void (*drained)(void *arg), void *arg);

/* Brings the assistants to a new array of resolved ones (borrowed): engines for what changed are started; once all are
 * ready they take the place of the old ones, which drain. If any fails, all stays as it was. `done` is called once from the
 * loop, error NULL when it succeeded. -EALREADY while another runs, -ENOMEM. [loop] */
int assist_reload(struct assist *home, const cJSON *resolved, void (*done)(void *arg, const struct wire_error *error),
		  void *arg);

/* Engine news for engines that nobody serves with any more: they only end. */
extern const struct engine_events assist_leaving_events;
/* For the others: an engine came, one went. */
void assist_count_engine(struct assist *home, int change);

#endif

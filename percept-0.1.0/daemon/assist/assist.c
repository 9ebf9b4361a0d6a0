/* assist.c - all assistants of the daemon, their engines, and the media program. */
#include "daemon/assist/assist.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/assist/scan.h"
#include "daemon/base/log.h"

enum { ASSIST_LAST_MS = 3000 };

static void assist_on_left(void *arg, struct engine *engine, const struct wire_error *why)
{
	if (why->code)
		log_warn("engine.gone", "reason=\"%s\"", why->text);
	assist_count_engine(arg, -1);
}

/* A leaving engine is never new. */
static void assist_on_ready(void *arg, struct engine *engine)
{
}

const struct engine_events assist_leaving_events = {assist_on_ready, assist_on_left};

static bool assist_is_idle(const struct assist *home)
{
	if (home->engines_alive)
		return false;
	for (const struct assistant *a = home->assistants; a; a = a->next)
		if (a->state != ASSISTANT_UNLOADED)
			return false;
	return true;
}

void assist_count_engine(struct assist *home, int change)
{
	home->engines_alive += (unsigned)change;
	if (home->draining)
		uv_timer_start(&home->drain_timer, home->drain_timer_cb, 0, 0);
}

int assist_init(struct assist *home)
{
	home->generation = 1;
	home->media = media_client_new(&home->media_setup);
	if (!home->media)
		return -ENOMEM;
	uv_timer_init(home->loop, &home->drain_timer);
	home->drain_timer.data = home;
	return 0;
}

static void assist_free_list(struct assistant **list)
{
	struct assistant *assistant;

	while ((assistant = *list)) {
		*list = assistant->next;
		assistant_free(assistant);
	}
}

void assist_fini(struct assist *home)
{
	media_client_free(home->media);
	scan_forget(home);
	assist_free_list(&home->assistants);
	assist_free_list(&home->retired);
	uv_close((uv_handle_t *)&home->drain_timer, NULL);
}

struct assistant *assist_named(const struct assist *home, const char *name)
{
	struct assistant *assistant = home->assistants;

	while (assistant && strcmp(assistant->name, name))
		assistant = assistant->next;
	return assistant;
}

static bool assist_is_listed(const cJSON *names, const char *name)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, names)
		if (!strcmp(cJSON_GetStringValue(one), name))
			return true;
	return false;
}

int assist_start(struct assist *home, const cJSON *resolved, const cJSON *idle)
{
	struct assistant **at = &home->assistants;
	const cJSON *one;

	cJSON_ArrayForEach(one, resolved) {
		cJSON *copy = cJSON_Duplicate(one, 1);

		*at = copy ? assistant_new(home, copy) : NULL;
		if (!*at) {
			cJSON_Delete(copy);
			return -ENOMEM;
		}
		if (!assist_is_listed(idle, (*at)->name))
			assistant_load(*at);
		at = &(*at)->next;
	}
	return 0;
}

static void assist_cancel_all(struct assist *home)
{
	for (struct assistant *a = home->assistants; a; a = a->next)
		assistant_cancel_all(a);
	for (struct assistant *a = home->retired; a; a = a->next)
		assistant_cancel_all(a);
}

/* Runs at every end of an engine, and when time is out: first everything is cancelled, then the waiting ends. */
static void assist_on_drain_timer(uv_timer_t *timer)
{
	struct assist *home = timer->data;
	uint64_t now = uv_now(home->loop);
	void (*drained)(void *arg) = home->drained;

	if (!drained)
		return;
	if (assist_is_idle(home) || (home->drain_cancelled && now >= home->drain_until_ms)) {
		home->drained = NULL;
		drained(home->drained_arg);
		return;
	}
	if (!home->drain_cancelled && now >= home->drain_until_ms) {
		log_warn("drain.late", "engines=%u", home->engines_alive);
		home->drain_cancelled = true;
		home->drain_until_ms = now + ASSIST_LAST_MS;
		assist_cancel_all(home);
	}
	uv_timer_start(timer, assist_on_drain_timer, home->drain_until_ms - now, 0);
}

void assist_drain(struct assist *home, unsigned limit_ms, void (*drained)(void *arg), void *arg)
{
	home->draining = true;
	home->drained = drained;
	home->drained_arg = arg;
	home->drain_timer_cb = assist_on_drain_timer;
	home->drain_until_ms = uv_now(home->loop) + limit_ms;
	uv_timer_start(&home->drain_timer, assist_on_drain_timer, 0, 0);
	for (struct assistant *a = home->assistants; a; a = a->next)
		assistant_unload(a);
}

/* reload.c - from one set of assistants to another, all or nothing, and no request lost. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/assist/assist.h"
#include "daemon/base/log.h"

/* An engine that is to serve in the new configuration. */
struct reload_engine {
	struct reload *reload;
	struct engine *engine;
	cJSON *resolved;
	char name[64];
};

struct reload {
	struct assist *home;
	cJSON *resolved;              /* all of the new configuration, in its order */
	struct reload_engine *engines;
	unsigned n, left;             /* left: not ready yet */
	bool failed;
	uv_timer_t timer;             /* the end is told from the loop */
	struct wire_error error;
	void (*done)(void *arg, const struct wire_error *error);
	void *arg;
};

static void reload_on_ready(void *arg, struct engine *engine);
static void reload_on_gone(void *arg, struct engine *engine, const struct wire_error *why);
static const struct engine_events reload_engine_events = {reload_on_ready, reload_on_gone};

static void reload_on_timer_closed(uv_handle_t *handle)
{
	struct reload *reload = handle->data;

	for (unsigned i = 0; i < reload->n; i++)
		cJSON_Delete(reload->engines[i].resolved);
	free(reload->engines);
	cJSON_Delete(reload->resolved);
	wire_error_fini(&reload->error);
	free(reload);
}

static struct reload_engine *reload_engine_named(struct reload *reload, const char *name)
{
	for (unsigned i = 0; i < reload->n; i++)
		if (!strcmp(reload->engines[i].name, name))
			return &reload->engines[i];
	return NULL;
}

/* Removes an assistant from the list at *at. */
static struct assistant *reload_unlink(struct assistant **list, const char *name)
{
	for (struct assistant **at = list; *at; at = &(*at)->next)
		if (!strcmp((*at)->name, name)) {
			struct assistant *found = *at;

			*at = found->next;
			found->next = NULL;
			return found;
		}
	return NULL;
}

static void reload_sweep(struct assist *home)
{
	for (struct assistant **at = &home->retired; *at;) {
		struct assistant *assistant = *at;

		if (assistant->state != ASSISTANT_UNLOADED || assistant->engine || assistant->queue.n || assistant->running.n) {
			at = &assistant->next;
			continue;
		}
		*at = assistant->next;
		assistant_free(assistant);
	}
}

/* Everything that can fail was done before: new assistants exist, engines are ready. */
static void reload_commit(struct reload *reload)
{
	struct assist *home = reload->home;
	struct assistant *old = home->assistants, **at = &home->assistants, *assistant;
	const cJSON *one;

	*at = NULL;
	cJSON_ArrayForEach(one, reload->resolved) {
		const char *name = wire_member(one, "name")->valuestring;
		struct reload_engine *fresh = reload_engine_named(reload, name);

		assistant = reload_unlink(&old, name);
		if (!assistant)
			assistant = assistant_new(home, NULL);
		if (!assistant)
			continue; /* out of memory now: it is as if it were not configured */
		snprintf(assistant->name, sizeof(assistant->name), "%s", name);
		*at = assistant;
		at = &assistant->next;
		if (fresh) {
			assistant_swap(assistant, fresh->engine, fresh->resolved);
			fresh->engine = NULL;
			fresh->resolved = NULL;
		}
	}
	while ((assistant = old)) {
		old = assistant->next;
		assistant->next = home->retired;
		home->retired = assistant;
		assistant_retire(assistant);
	}
	reload_sweep(home);
	home->generation++;
}

/* Engines that were started in vain leave. */
static void reload_abort(struct reload *reload)
{
	for (unsigned i = 0; i < reload->n; i++) {
		struct engine *engine = reload->engines[i].engine;

		if (!engine)
			continue;
		engine_set_events(engine, &assist_leaving_events, reload->home);
		engine_drain(engine, 1);
	}
}

static void reload_on_timer(uv_timer_t *timer)
{
	struct reload *reload = timer->data;

	if (!reload->failed && !reload->home->draining)
		reload_commit(reload);
	else
		reload_abort(reload);
	if (reload->home->draining && !reload->failed)
		wire_error_set(&reload->error, WIRE_SHUTDOWN, "perceptd is shutting down.");
	reload->home->reloading = NULL;
	reload->done(reload->arg, reload->error.code ? &reload->error : NULL);
	uv_close((uv_handle_t *)timer, reload_on_timer_closed);
}

/* The end is near: told from the loop, where nothing of ours is on the stack. */
static void reload_end(struct reload *reload)
{
	uv_timer_start(&reload->timer, reload_on_timer, 0, 0);
}

static void reload_on_ready(void *arg, struct engine *engine)
{
	struct reload *reload = ((struct reload_engine *)arg)->reload;

	log_info("engine.ready", "pid=%d for=reload", (int)engine_pid(engine));
	if (--reload->left == 0 && !reload->failed)
		reload_end(reload);
}

static void reload_on_gone(void *arg, struct engine *engine, const struct wire_error *why)
{
	struct reload_engine *mine = arg;
	struct reload *reload = mine->reload;

	mine->engine = NULL;
	assist_count_engine(reload->home, -1);
	if (reload->failed)
		return;
	reload->failed = true;
	wire_error_set(&reload->error, why->code ? why->code : WIRE_NOT_READY, "%s",
		       why->code ? why->text : "The engine ended before it was ready.");
	if (why->data)
		reload->error.data = cJSON_Duplicate(why->data, 1);
	reload_end(reload);
}

/* True if the present assistant can go on as it is. */
static bool reload_is_same(const struct assist *home, const cJSON *resolved, const char *name)
{
	const struct assistant *assistant = assist_named(home, name);

	return assistant && assistant->state != ASSISTANT_FAILED && cJSON_Compare(assistant->resolved, resolved, 1);
}

static int reload_start_engine(struct reload *reload, const cJSON *resolved, const char *name)
{
	struct reload_engine *mine = &reload->engines[reload->n];

	mine->reload = reload;
	mine->resolved = cJSON_Duplicate(resolved, 1);
	snprintf(mine->name, sizeof(mine->name), "%s", name);
	reload->n++;
	mine->engine = mine->resolved ? engine_start(&reload->home->engines, mine->resolved, &reload_engine_events, mine,
						     &reload->error) : NULL;
	if (!mine->engine)
		return -1;
	assist_count_engine(reload->home, 1);
	reload->left++;
	log_info("engine.start", "assistant=%s pid=%d for=reload", name, (int)engine_pid(mine->engine));
	return 0;
}

int assist_reload(struct assist *home, const cJSON *resolved, void (*done)(void *arg, const struct wire_error *error),
		  void *arg)
{
	struct reload *reload;
	const cJSON *one;

	if (home->reloading)
		return -EALREADY;
	reload = calloc(1, sizeof(*reload));
	if (!reload)
		return -ENOMEM;
	reload->engines = calloc((size_t)cJSON_GetArraySize(resolved) + 1, sizeof(*reload->engines));
	reload->resolved = cJSON_Duplicate(resolved, 1);
	if (!reload->engines || !reload->resolved) {
		free(reload->engines);
		cJSON_Delete(reload->resolved);
		free(reload);
		return -ENOMEM;
	}
	reload->home = home;
	reload->done = done;
	reload->arg = arg;
	uv_timer_init(home->loop, &reload->timer);
	reload->timer.data = reload;
	home->reloading = reload;
	cJSON_ArrayForEach(one, resolved) {
		const char *name = wire_member(one, "name")->valuestring;

		if (reload_is_same(home, one, name) || reload->failed)
			continue;
		reload->failed = reload_start_engine(reload, one, name) < 0;
	}
	if (reload->failed && !reload->error.code)
		wire_error_set(&reload->error, WIRE_INTERNAL, "There is not enough memory to reload.");
	if (reload->failed || !reload->left)
		reload_end(reload);
	return 0;
}

/* assistant.c - one assistant: its engine, started again when it dies, and the requests that wait for it. */
#include "daemon/assist/assistant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/assist/assist.h"
#include "daemon/base/log.h"

enum {
	ASSISTANT_FIRST_DELAY_MS = 200, ASSISTANT_LONGEST_DELAY_MS = 10000, ASSISTANT_STEADY_MS = 10000,
	ASSISTANT_OPEN_TRIES = 3, ASSISTANT_RETRY_FAILED_MS = 1000, ASSISTANT_RETRY_AFTER_MS = 1000,
};

static const char *const assistant_state_names[] = {
	[ASSISTANT_STARTING] = "starting", [ASSISTANT_READY] = "ready", [ASSISTANT_DRAINING] = "draining",
	[ASSISTANT_FAILED] = "failed", [ASSISTANT_UNLOADED] = "unloaded",
};

static void assistant_on_ready(void *arg, struct engine *engine);
static void assistant_on_gone(void *arg, struct engine *engine, const struct wire_error *why);
static const struct engine_events assistant_engine_events = {assistant_on_ready, assistant_on_gone};

void job_list_add(struct job_list *list, struct job *job)
{
	job->next = NULL;
	job->prev = list->last;
	if (list->last)
		list->last->next = job;
	else
		list->first = job;
	list->last = job;
	list->n++;
}

void job_list_take(struct job_list *list, struct job *job)
{
	if (job->prev)
		job->prev->next = job->next;
	else
		list->first = job->next;
	if (job->next)
		job->next->prev = job->prev;
	else
		list->last = job->prev;
	job->next = job->prev = NULL;
	list->n--;
}

const char *assistant_state_name(const struct assistant *assistant)
{
	return assistant_state_names[assistant->state];
}

static void assistant_set_state(struct assistant *assistant, enum assistant_state state)
{
	struct assistant_waiter *waiter;

	assistant->state = state;
	if (state == ASSISTANT_STARTING || state == ASSISTANT_DRAINING)
		return;
	while ((waiter = assistant->waiters)) {
		assistant->waiters = waiter->next;
		waiter->told(waiter->arg, assistant);
	}
}

void assistant_wait(struct assistant *assistant, struct assistant_waiter *waiter)
{
	if (assistant->state != ASSISTANT_STARTING && assistant->state != ASSISTANT_DRAINING) {
		waiter->told(waiter->arg, assistant);
		return;
	}
	waiter->next = assistant->waiters;
	assistant->waiters = waiter;
}

void assistant_explain(const struct assistant *assistant, struct wire_error *error)
{
	const struct wire_error *reason = &assistant->reason;
	bool passed = reason->code == WIRE_MODEL || reason->code == WIRE_PLUGIN || reason->code == WIRE_NOT_READY;

	if (assistant->state != ASSISTANT_FAILED) {
		wire_error_set(error, WIRE_NOT_READY, "The assistant \"%s\" is %s; load it (percept load %s), or ask another one.",
			       assistant->name, assistant_state_name(assistant), assistant->name);
		return;
	}
	wire_error_set(error, passed ? reason->code : WIRE_NOT_READY, "%s", reason->text);
	if (reason->data)
		error->data = cJSON_Duplicate(reason->data, 1);
}

/* No engine will come: whoever waits for one is told why. */
static void assistant_fail(struct assistant *assistant, const struct wire_error *why)
{
	wire_error_set(&assistant->reason, why->code, "%s", why->text);
	if (why->data)
		assistant->reason.data = cJSON_Duplicate(why->data, 1);
	assistant->failed_at_ms = uv_now(assistant->home->loop);
	assistant_set_state(assistant, ASSISTANT_FAILED);
	log_error("assistant.failed", "assistant=%s code=%d reason=\"%s\"", assistant->name, why->code, why->text);
	assistant_pump(assistant);
}

static void assistant_start_engine(struct assistant *assistant)
{
	struct wire_error error = {0};

	uv_timer_stop(&assistant->retry);
	assistant_set_state(assistant, ASSISTANT_STARTING);
	assistant->engine = engine_start(&assistant->home->engines, assistant->resolved, &assistant_engine_events, assistant,
					 &error);
	if (!assistant->engine) {
		assistant_fail(assistant, &error);
		wire_error_fini(&error);
		return;
	}
	assist_count_engine(assistant->home, 1);
	log_info("engine.start", "assistant=%s pid=%d", assistant->name, (int)engine_pid(assistant->engine));
}

static void assistant_on_retry(uv_timer_t *timer)
{
	struct assistant *assistant = timer->data;

	if (!assistant->engine && assistant->state == ASSISTANT_STARTING)
		assistant_start_engine(assistant);
}

static void assistant_on_ready(void *arg, struct engine *engine)
{
	struct assistant *assistant = arg;

	assistant->ready_at_ms = uv_now(assistant->home->loop);
	wire_error_fini(&assistant->reason);
	log_info("engine.ready", "assistant=%s pid=%d", assistant->name, (int)engine_pid(engine));
	/* One that drains serves what it has, and no more. */
	if (assistant->state == ASSISTANT_STARTING)
		assistant_set_state(assistant, ASSISTANT_READY);
	assistant_pump(assistant);
}

/* Starts it again: at once after the first crash, later and later when it goes on crashing. */
static void assistant_start_again(struct assistant *assistant)
{
	uint64_t delay = 0;

	for (unsigned i = 1; i < assistant->crashes && delay < ASSISTANT_LONGEST_DELAY_MS; i++)
		delay = delay ? delay * 2 : ASSISTANT_FIRST_DELAY_MS;
	assistant_set_state(assistant, ASSISTANT_STARTING);
	uv_timer_start(&assistant->retry, assistant_on_retry, delay, 0);
}

static void assistant_on_gone(void *arg, struct engine *engine, const struct wire_error *why)
{
	struct assistant *assistant = arg;
	bool was_ready = engine_info(engine) != NULL;
	uint64_t now = uv_now(assistant->home->loop);

	assistant->engine = NULL;
	assist_count_engine(assistant->home, -1);
	if (why->code)
		log_error("engine.gone", "assistant=%s code=%d reason=\"%s\"", assistant->name, why->code, why->text);
	if (was_ready && now - assistant->ready_at_ms > ASSISTANT_STEADY_MS)
		assistant->crashes = 0;
	assistant->crashes++;
	if (assistant->state == ASSISTANT_DRAINING)
		assistant_set_state(assistant, ASSISTANT_UNLOADED);
	else if (!was_ready && (engine_refused(engine) || assistant->crashes >= ASSISTANT_OPEN_TRIES))
		assistant_fail(assistant, why);
	else if (assistant->state != ASSISTANT_UNLOADED)
		assistant_start_again(assistant);
	assistant_pump(assistant);
}

/* The engine of an assistant that needs it no more. */
static void assistant_let_go(struct assistant *assistant)
{
	struct engine *engine = assistant->engine;

	assistant->engine = NULL;
	uv_timer_stop(&assistant->retry);
	if (engine) {
		engine_set_events(engine, &assist_leaving_events, assistant->home);
		engine_drain(engine, 0);
	}
}

static struct job *assistant_first_decoded(const struct assistant *assistant)
{
	struct job *job = assistant->running.first;

	while (job && job->state != JOB_DECODED)
		job = job->next;
	return job;
}

/* One step for one job. Any callback in it may end other jobs, so nothing is kept over it. */
static bool assistant_step(struct assistant *assistant)
{
	bool ready = assistant->engine && engine_state(assistant->engine) == ENGINE_READY;
	bool dead = assistant->state == ASSISTANT_FAILED || assistant->state == ASSISTANT_UNLOADED;
	struct job *decoded = assistant_first_decoded(assistant), *queued = assistant->queue.first;
	struct wire_error error = {0};

	if (dead && (decoded || queued)) {
		assistant_explain(assistant, &error);
		job_fail(decoded ? decoded : queued, &error);
		wire_error_fini(&error);
		return true;
	}
	if (ready && decoded) {
		job_forward(decoded);
		return true;
	}
	if (!ready || !queued || assistant->running.n >= assistant->home->limits.running)
		return false;
	job_list_take(&assistant->queue, queued);
	job_list_add(&assistant->running, queued);
	job_start(queued);
	return true;
}

void assistant_pump(struct assistant *assistant)
{
	if (assistant->pumping)
		return; /* the outer one takes more steps */
	assistant->pumping = true;
	while (assistant_step(assistant))
		;
	assistant->pumping = false;
	if (assistant->queue.n || assistant->running.n)
		return;
	if (assistant->state == ASSISTANT_DRAINING || (assistant->state != ASSISTANT_UNLOADED && assistant->home->draining)) {
		assistant_let_go(assistant);
		assistant_set_state(assistant, ASSISTANT_UNLOADED);
	}
}

struct assistant *assistant_new(struct assist *home, cJSON *resolved)
{
	struct assistant *assistant = calloc(1, sizeof(*assistant));
	const char *name = cJSON_GetStringValue(wire_member(resolved, "name"));

	if (!assistant)
		return NULL;
	assistant->home = home;
	assistant->resolved = resolved;
	assistant->state = ASSISTANT_UNLOADED;
	snprintf(assistant->name, sizeof(assistant->name), "%s", name ? name : "?");
	uv_timer_init(home->loop, &assistant->retry);
	assistant->retry.data = assistant;
	return assistant;
}

static void assistant_on_timer_closed(uv_handle_t *handle)
{
	struct assistant *assistant = handle->data;

	cJSON_Delete(assistant->resolved);
	wire_error_fini(&assistant->reason);
	free(assistant);
}

void assistant_free(struct assistant *assistant)
{
	uv_close((uv_handle_t *)&assistant->retry, assistant_on_timer_closed);
}

int assistant_refuses(struct assistant *assistant, struct wire_error *error)
{
	uint64_t now = uv_now(assistant->home->loop);

	if (assistant->state == ASSISTANT_FAILED && now - assistant->failed_at_ms >= ASSISTANT_RETRY_FAILED_MS)
		assistant_load(assistant);
	if (assistant->state != ASSISTANT_READY && assistant->state != ASSISTANT_STARTING) {
		assistant_explain(assistant, error);
		return error->code;
	}
	if (assistant->running.n >= assistant->home->limits.running && assistant->queue.n >= assistant->home->limits.queued) {
		wire_error_set(error, WIRE_OVERLOADED, "The assistant \"%s\" has %u requests waiting, the most it takes; try again "
			       "in a moment.", assistant->name, assistant->queue.n);
		wire_error_number(error, "retry_after_ms", ASSISTANT_RETRY_AFTER_MS);
	} else if (assistant->state == ASSISTANT_STARTING &&
		   assistant->queue.n >= assistant->home->limits.queued + assistant->home->limits.running) {
		wire_error_set(error, WIRE_OVERLOADED, "The assistant \"%s\" is starting and has %u requests waiting, the most it "
			       "takes; try again in a moment.", assistant->name, assistant->queue.n);
		wire_error_number(error, "retry_after_ms", ASSISTANT_RETRY_AFTER_MS);
	}
	return error->code;
}

void assistant_submit(struct assistant *assistant, struct job *job)
{
	job->assistant = assistant;
	job->state = JOB_QUEUED;
	job_list_add(&assistant->queue, job);
	job_arm(job, assistant->home->loop);
	if (assistant->state == ASSISTANT_STARTING || assistant->running.n >= assistant->home->limits.running)
		job->events->stage(job->arg, "queue");
	assistant_pump(assistant);
}

void assistant_load(struct assistant *assistant)
{
	if (assistant->state == ASSISTANT_DRAINING && assistant->engine) {
		assistant_set_state(assistant, engine_state(assistant->engine) == ENGINE_READY ? ASSISTANT_READY
											      : ASSISTANT_STARTING);
		return;
	}
	if (assistant->engine || assistant->home->draining || assistant->retired)
		return;
	assistant->crashes = 0;
	assistant_start_engine(assistant);
}

void assistant_unload(struct assistant *assistant)
{
	if (assistant->state == ASSISTANT_UNLOADED)
		return;
	assistant_set_state(assistant, assistant->engine ? ASSISTANT_DRAINING : ASSISTANT_UNLOADED);
	uv_timer_stop(&assistant->retry);
	assistant_pump(assistant);
}

void assistant_swap(struct assistant *assistant, struct engine *engine, cJSON *resolved)
{
	assistant_let_go(assistant);
	cJSON_Delete(assistant->resolved);
	assistant->resolved = resolved;
	assistant->engine = engine;
	assistant->crashes = 0;
	assistant->state = ASSISTANT_STARTING;
	engine_set_events(engine, &assistant_engine_events, assistant);
	assistant_on_ready(assistant, engine);
}

void assistant_retire(struct assistant *assistant)
{
	assistant->retired = true;
	assistant_unload(assistant);
}

static void assistant_told_nobody(void *arg, const char *status)
{
}

void assistant_cancel_all(struct assistant *assistant)
{
	struct job *job, *next;

	while (assistant->queue.first)
		job_cancel(assistant->queue.first, assistant_told_nobody, NULL);
	for (job = assistant->running.first; job; job = next) {
		next = job->next;
		job_cancel(job, assistant_told_nobody, NULL);
	}
}

/* engine.c - one percept-engine process: started, opened, watched, drained. */
#include "daemon/assist/engine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/assist/child.h"
#include "daemon/base/exit.h"
#include "daemon/base/log.h"

enum { ENGINE_TICK_MS = 500, ENGINE_PING_MS = 2000, ENGINE_HUNG_UP_MS = 200 };

struct engine {
	const struct engine_setup *setup;
	const struct engine_events *events;
	void *arg;
	char name[64];
	char plugin[64];         /* the one that crashed, if the engine could tell */
	enum engine_state state;
	struct child *child;
	struct hop *hop;
	cJSON *info;
	struct wire_error why;   /* why it is being ended; code 0 while there is no reason */
	bool refused;            /* engine.open was answered with an error */
	bool asked_to_exit;
	uint64_t kill_at_ms;     /* 0: never */
	uint64_t ping_at_ms;     /* when the ping in flight, or the last one, was sent */
	bool ping_in_flight;
	struct hop_call open_call, ping_call, exit_call;
	uv_timer_t timer;
};

static void engine_on_timer(uv_timer_t *timer);

static uint64_t engine_now(const struct engine *engine)
{
	return uv_now(engine->setup->loop);
}

static void engine_watch(struct engine *engine)
{
	if (engine->child && !uv_is_active((uv_handle_t *)&engine->timer))
		uv_timer_start(&engine->timer, engine_on_timer, ENGINE_TICK_MS, ENGINE_TICK_MS);
}

/* At the latest after `ms`. */
static void engine_kill_within(struct engine *engine, uint64_t ms)
{
	uint64_t at = engine_now(engine) + ms;

	if (!engine->kill_at_ms || at < engine->kill_at_ms)
		engine->kill_at_ms = at;
	engine_watch(engine);
}

static void engine_on_open_reply(void *arg, struct hop_reply *reply)
{
	struct engine *engine = arg;

	if (engine->state == ENGINE_GONE || engine->why.code)
		return;
	if (reply->result) {
		engine->info = reply->result;
		reply->result = NULL;
		engine->kill_at_ms = 0;
		/* One that was told to drain before it was ready has nobody who waits for it. */
		if (engine->state == ENGINE_STARTING) {
			engine->state = ENGINE_READY;
			engine->events->ready(engine->arg, engine);
		}
		return;
	}
	engine->refused = true;
	engine->why = reply->error;
	reply->error.data = NULL;
	engine_kill_within(engine, engine->setup->exit_ms);
}

static void engine_on_pong(void *arg, struct hop_reply *reply)
{
	struct engine *engine = arg;

	const cJSON *silent = cJSON_GetObjectItemCaseSensitive(reply->result, "silent_ms");
	const cJSON *plugin = cJSON_GetObjectItemCaseSensitive(reply->result, "plugin");
	char text[192];

	engine->ping_in_flight = false;
	if (!cJSON_IsNumber(silent) || silent->valuedouble < engine->setup->hang_ms || engine->state == ENGINE_GONE)
		return;
	if (cJSON_IsString(plugin))
		snprintf(engine->plugin, sizeof(engine->plugin), "%s", plugin->valuestring);
	snprintf(text, sizeof(text), "was ended, for its plugin %s gave no sign of life for %.0f ms",
		 engine->plugin[0] ? engine->plugin : "at work", silent->valuedouble);
	engine_kill(engine, text);
}

static void engine_on_exit_reply(void *arg, struct hop_reply *reply)
{
}

static const struct hop_call_events engine_open_events = {engine_on_open_reply, NULL};
static const struct hop_call_events engine_ping_events = {engine_on_pong, NULL};
static const struct hop_call_events engine_exit_events = {engine_on_exit_reply, NULL};

unsigned engine_calls(const struct engine *engine)
{
	unsigned n = engine->hop ? hop_calls(engine->hop) : 0;

	return n - (engine->ping_in_flight && n) - (engine->exit_call.next != NULL);
}

/* Asks a draining engine without work to exit. */
static void engine_maybe_exit(struct engine *engine)
{
	if (engine->state != ENGINE_DRAINING || engine->asked_to_exit || engine_calls(engine))
		return;
	engine->asked_to_exit = true;
	hop_send(engine->hop, &engine->exit_call, "shutdown", NULL, NULL, 0);
	engine_kill_within(engine, engine->setup->exit_ms);
}

static bool engine_is_serving(const struct engine *engine)
{
	return engine->state == ENGINE_READY || engine->state == ENGINE_DRAINING;
}

static uint64_t engine_ping_ms(const struct engine *engine)
{
	return engine->setup->hang_ms < ENGINE_PING_MS ? engine->setup->hang_ms : ENGINE_PING_MS;
}

static void engine_check_hang(struct engine *engine, uint64_t now)
{
	if (engine->ping_in_flight) {
		char text[128];

		if (now - engine->ping_at_ms < engine->setup->hang_ms)
			return;
		snprintf(text, sizeof(text), "did not answer for %u ms and was ended", engine->setup->hang_ms);
		engine_kill(engine, text);
	} else if (now - engine->ping_at_ms >= engine_ping_ms(engine)) {
		engine->ping_in_flight = !hop_send(engine->hop, &engine->ping_call, "ping", NULL, NULL, 0);
		engine->ping_at_ms = now;
	}
}

static void engine_on_timer(uv_timer_t *timer)
{
	struct engine *engine = timer->data;
	uint64_t now = engine_now(engine);

	if (engine->kill_at_ms && now >= engine->kill_at_ms) {
		engine->kill_at_ms = now + 1000;
		if (!engine->info)
			engine_kill(engine, "was not ready in time");
		else
			engine_kill(engine, "did not end its work in time");
		return;
	}
	engine_maybe_exit(engine);
	if (engine_is_serving(engine) && !engine->asked_to_exit && engine_calls(engine))
		engine_check_hang(engine, now);
	else if (engine->state == ENGINE_READY && !engine->kill_at_ms)
		uv_timer_stop(timer);
}

static void engine_on_hop_closed(void *arg, const char *why)
{
	struct engine *engine = arg;

	if (!engine->asked_to_exit && !engine->why.code)
		log_debug("engine.hop", "assistant=%s pid=%d closed=\"%s\"", engine->name, (int)engine_pid(engine), why);
	if (!engine->asked_to_exit)
		engine->state = ENGINE_GONE;
	/* Its exit tells more (the signal), so it gets a moment to come. */
	engine->kill_at_ms = engine_now(engine) + ENGINE_HUNG_UP_MS;
	uv_timer_start(&engine->timer, engine_on_timer, ENGINE_HUNG_UP_MS, ENGINE_TICK_MS);
}

/* `file` NULL: the engine did not say which. */
static void engine_blame_file(struct engine *engine, const char *file)
{
	if (engine->why.code)
		return;
	wire_error_set(&engine->why, WIRE_MODEL, "The %s%s of the assistant \"%s\" changed or was truncated while it was in use; put "
		       "the whole file back and send the request once more.", file ? "file " : "model file", file ? file : "",
		       engine->name);
	wire_error_string(&engine->why, "file", file ? file : "");
	wire_error_string(&engine->why, "reason", "changed or truncated while in use");
}

/* The last word of an engine whose plugin is crashing, or whose model file is gone. */
static void engine_on_hop_notify(void *arg, const char *method, cJSON *frame)
{
	struct engine *engine = arg;
	const cJSON *params = cJSON_GetObjectItemCaseSensitive(frame, "params");
	const cJSON *plugin = cJSON_GetObjectItemCaseSensitive(params, "plugin");
	const cJSON *file = cJSON_GetObjectItemCaseSensitive(params, "file");

	if (!strcmp(method, "engine.crashed") && cJSON_IsString(plugin))
		snprintf(engine->plugin, sizeof(engine->plugin), "%s", plugin->valuestring);
	if (!strcmp(method, "engine.lost") && cJSON_IsString(file))
		engine_blame_file(engine, file->valuestring);
}

static const struct hop_events engine_hop_events = {engine_on_hop_closed, engine_on_hop_notify};

static void engine_on_timer_closed(uv_handle_t *handle)
{
	struct engine *engine = handle->data;

	cJSON_Delete(engine->info);
	wire_error_fini(&engine->why);
	free(engine);
}

/* Makes `why` say how the process ended, unless the reason was known before. */
static void engine_explain(struct engine *engine, int status, int signal)
{
	struct wire_error *why = &engine->why;
	bool orderly = engine->asked_to_exit && !signal && !why->code;

	if (orderly)
		return;
	if (status == EXIT_FILE_LOST && !signal)
		engine_blame_file(engine, NULL);
	if (!why->code) {
		const char *by = engine->plugin[0] ? " in the plugin " : "";

		if (signal)
			wire_error_set(why, WIRE_PLUGIN, "The engine of the assistant \"%s\" crashed%s%s (signal %d, %s); it is "
				       "started again, so send the request once more.", engine->name, by, engine->plugin,
				       signal, strsignal(signal));
		else
			wire_error_set(why, WIRE_PLUGIN, "The engine of the assistant \"%s\" ended unexpectedly%s%s (exit "
				       "status %d); it is started again, so send the request once more.", engine->name, by,
				       engine->plugin, status);
	}
	if (why->code != WIRE_PLUGIN)
		return;
	if (!why->data)
		why->data = cJSON_CreateObject();
	if (signal && !cJSON_HasObjectItem(why->data, "signal"))
		cJSON_AddNumberToObject(why->data, "signal", signal);
	if (engine->plugin[0] && !cJSON_HasObjectItem(why->data, "plugin"))
		cJSON_AddStringToObject(why->data, "plugin", engine->plugin);
}

static void engine_on_exited(void *arg, int status, int signal)
{
	struct engine *engine = arg;

	/* What it wrote before it died still counts. */
	if (engine->hop)
		hop_finish(engine->hop);
	engine_explain(engine, status, signal);
	engine->state = ENGINE_GONE;
	engine->child = NULL;
	if (engine->hop && engine->why.code)
		hop_fail(engine->hop, &engine->why);
	engine->events->gone(engine->arg, engine, &engine->why);
	hop_free(engine->hop);
	engine->hop = NULL;
	uv_timer_stop(&engine->timer);
	uv_close((uv_handle_t *)&engine->timer, engine_on_timer_closed);
}

struct engine *engine_start(const struct engine_setup *setup, const cJSON *assistant, const struct engine_events *events,
			    void *arg, struct wire_error *error)
{
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(assistant, "name");
	char *const argv[] = {(char *)setup->program, "--fd", "3", NULL};
	/* The engine has threads of its own; those that OpenBLAS would start as it is loaded only cost memory. */
	const char *blas = getenv("OPENBLAS_NUM_THREADS") ? NULL : "OPENBLAS_NUM_THREADS=1";
	struct child_start start = {argv, SOCK_STREAM, blas, engine_on_exited, NULL};
	struct engine *engine = calloc(1, sizeof(*engine));
	int socket = -1;
	int err;

	if (!engine) {
		wire_error_set(error, WIRE_INTERNAL, "There is not enough memory to start an engine.");
		return NULL;
	}
	engine->setup = setup;
	engine->events = events;
	engine->arg = arg;
	snprintf(engine->name, sizeof(engine->name), "%s", cJSON_IsString(name) ? name->valuestring : "?");
	uv_timer_init(setup->loop, &engine->timer);
	engine->timer.data = engine;
	engine->open_call = (struct hop_call){.events = &engine_open_events, .arg = engine};
	engine->ping_call = (struct hop_call){.events = &engine_ping_events, .arg = engine};
	engine->exit_call = (struct hop_call){.events = &engine_exit_events, .arg = engine};
	start.arg = engine;
	err = child_start(setup->loop, &start, &engine->child, &socket);
	if (err) {
		wire_error_set(error, WIRE_NOT_READY, "The engine program %s cannot be started: %s; check the installation.",
			       setup->program, strerror(-err));
		uv_close((uv_handle_t *)&engine->timer, engine_on_timer_closed);
		return NULL;
	}
	engine->hop = hop_new(setup->loop, socket, &engine_hop_events, engine);
	/* Should either fail, the child is ended and its exit tells the rest. */
	if (!engine->hop || hop_send(engine->hop, &engine->open_call, "engine.open", cJSON_Duplicate(assistant, 1), NULL, 0))
		engine_kill(engine, "could not be spoken to");
	engine_kill_within(engine, setup->open_limit_ms);
	return engine;
}

void engine_set_events(struct engine *engine, const struct engine_events *events, void *arg)
{
	engine->events = events;
	engine->arg = arg;
}

int engine_call(struct engine *engine, struct hop_call *call, const char *method, cJSON *params, const int *fds,
		unsigned n_fds)
{
	if (!engine->hop) {
		cJSON_Delete(params);
		return -EPIPE;
	}
	if (!engine_calls(engine))
		engine->ping_at_ms = engine_now(engine);
	engine_watch(engine);
	return hop_send(engine->hop, call, method, params, fds, n_fds);
}

void engine_drain(struct engine *engine, unsigned limit_ms)
{
	if (engine->state == ENGINE_GONE)
		return;
	if (engine->state == ENGINE_STARTING) {
		engine_kill(engine, "was not wanted any more");
		return;
	}
	engine->state = ENGINE_DRAINING;
	if (limit_ms)
		engine_kill_within(engine, limit_ms);
	engine_watch(engine);
	engine_maybe_exit(engine);
}

void engine_kill(struct engine *engine, const char *why)
{
	if (!engine->why.code)
		wire_error_set(&engine->why, WIRE_PLUGIN, "The engine of the assistant \"%s\" %s.", engine->name, why);
	engine->state = ENGINE_GONE;
	if (engine->child)
		child_kill(engine->child, SIGKILL);
}

enum engine_state engine_state(const struct engine *engine)
{
	return engine->state;
}

pid_t engine_pid(const struct engine *engine)
{
	return engine->child ? child_pid(engine->child) : 0;
}

const cJSON *engine_info(const struct engine *engine)
{
	return engine->info;
}

bool engine_refused(const struct engine *engine)
{
	return engine->refused;
}

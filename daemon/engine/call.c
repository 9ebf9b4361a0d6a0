/* call.c - the host's side of a call into a plugin. */
#include "daemon/engine/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"

static struct call *call_of(struct percept_call *base)
{
	return base->impl;
}

static void *call_alloc(struct percept_call *base, size_t bytes)
{
	struct call *call = call_of(base);

	uv_mutex_lock(&call->lock);
	void *memory = nn_arena_alloc(call->arena, bytes ? bytes : 1);

	if (!memory && !call->error) {
		call->error = -ENOMEM;
		snprintf(call->text, sizeof(call->text), "Memory is out: %s asked for %zu bytes.", call->plugin, bytes);
	}
	uv_mutex_unlock(&call->lock);
	return memory ? memset(memory, 0, bytes) : NULL;
}

static int call_fail(struct percept_call *base, int error, const char *format, ...)
{
	struct call *call = call_of(base);
	va_list list;

	uv_mutex_lock(&call->lock);
	if (!call->error || call->error == -ENOMEM) {
		call->error = error;
		va_start(list, format);
		vsnprintf(call->text, sizeof(call->text), format, list);
		va_end(list);
	}
	uv_mutex_unlock(&call->lock);
	return error;
}

static int call_cancelled(struct percept_call *base)
{
	struct call *call = call_of(base);

	pulse_beat(call->pulse);
	return call->stopped && call->stopped(call->arg);
}

static void call_progress(struct percept_call *base, uint64_t done, uint64_t total)
{
	struct call *call = call_of(base);

	pulse_beat(call->pulse);
	if (call->progress)
		call->progress(call->arg, done, total);
}

static void call_note(struct percept_call *base, enum percept_log_level level, const char *format, ...)
{
	char text[1024];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	log_write((enum log_level)(level <= PERCEPT_LOG_DEBUG ? level : PERCEPT_LOG_DEBUG), "plugin", "plugin=%s text=\"%s\"",
		  call_of(base)->plugin, text);
}

static void call_parallel(struct percept_call *base, void (*task)(void *arg, uint32_t index), void *arg, uint32_t count)
{
	struct call *call = call_of(base);

	if (call->pool)
		nn_pool_run(call->pool, task, arg, count);
	else
		for (uint32_t i = 0; i < count; i++)
			task(arg, i);
}

static uint32_t call_threads(struct percept_call *base)
{
	struct call *call = call_of(base);

	return call->pool ? nn_pool_threads(call->pool) : 1;
}

static void call_show(struct percept_call *base, const char *name, const float *data, const uint64_t *shape, uint32_t rank)
{
	struct call *call = call_of(base);

	if (call->observe && name && data && shape && rank >= 1 && rank <= 4)
		call->observe(call->observer, name, data, shape, rank);
}

#define CALL_HOST(looks)                                                                                              \
	{                                                                                                             \
		.size = sizeof(struct percept_host), .abi = PERCEPT_ABI, .alloc = call_alloc, .fail = call_fail,      \
		.cancelled = call_cancelled, .progress = call_progress, .note = call_note, .parallel = call_parallel, \
		.threads = call_threads, .observe = looks,                                                            \
	}

/* The one for calls that nobody looks into, and the other. */
static const struct percept_host call_host = CALL_HOST(NULL), call_host_seen = CALL_HOST(call_show);

int call_init(struct call *call, struct nn_pool *pool, size_t limit)
{
	memset(call, 0, sizeof(*call));
	call->arena = nn_arena_new(limit);
	if (!call->arena)
		return -ENOMEM;
	if (uv_mutex_init(&call->lock)) {
		nn_arena_free(call->arena);
		call->arena = NULL;
		return -ENOMEM;
	}
	call->base = (struct percept_call){sizeof(struct percept_call), 0, &call_host, call};
	call->pool = pool;
	call->plugin = "none";
	return 0;
}

void call_fini(struct call *call)
{
	if (!call->arena)
		return;
	call_unwatch(call);
	nn_arena_free(call->arena);
	uv_mutex_destroy(&call->lock);
	call->arena = NULL;
}

void call_observe(struct call *call, call_observer *observe, void *observer)
{
	call->observe = observe;
	call->observer = observer;
	call->base.host = observe ? &call_host_seen : &call_host;
}

void call_watch(struct call *call, struct pulses *pulses)
{
	call->pulse = pulse_start(pulses);
}

void call_unwatch(struct call *call)
{
	pulse_stop(call->pulse);
	call->pulse = NULL;
}

void call_name(struct call *call, const char *plugin)
{
	call->plugin = plugin;
	if (call->pulse)
		atomic_store(&call->pulse->plugin, plugin);
	pulse_beat(call->pulse);
}

void call_reset(struct call *call, const char *plugin)
{
	nn_arena_reset(call->arena);
	call_name(call, plugin);
	call->error = 0;
	call->text[0] = 0;
}

/* The errors that tell of the request and not of the plugin. */
static const struct {
	int error, code;
} call_codes[] = {
	{-EINVAL, WIRE_PARAMS},
	{-EBADMSG, WIRE_MEDIA},
	{-EILSEQ, WIRE_MEDIA},
	{-ENOMEM, WIRE_INTERNAL},
};

static void call_blame(const struct call *call, struct wire_error *error)
{
	wire_error_string(error, "plugin", call->plugin);
}

int call_failed(const struct call *call, int r, const char *doing, struct wire_error *error)
{
	int code = WIRE_PLUGIN;

	if (r == -ECANCELED)
		return 0;
	for (size_t i = 0; call->text[0] && i < sizeof(call_codes) / sizeof(call_codes[0]); i++)
		if (call_codes[i].error == r)
			code = call_codes[i].code;
	if (call->text[0])
		wire_error_set(error, code, "%s", call->text);
	else
		wire_error_set(error, code, "Plugin %s could not %s (%s) and gave no reason.", call->plugin, doing,
			       r < 0 ? strerror(-r) : "it returned a positive number");
	call_blame(call, error);
	return error->code;
}

int call_broken(const struct call *call, struct wire_error *error, const char *format, ...)
{
	char text[384];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	wire_error_set(error, WIRE_PLUGIN, "Plugin %s broke its contract: %s.", call->plugin, text);
	call_blame(call, error);
	return error->code;
}

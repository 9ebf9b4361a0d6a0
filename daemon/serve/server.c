/* server.c - perceptd's middle: the socket, the connections, the assistants, the configuration. */
#include "config.h"
#include "daemon/serve/server.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/serve/reload.h"
#include "daemon/serve/shared.h"
#include "sdk/wire/place.h"

enum { SERVER_EXIT_MS = 5000, SERVER_FLUSH_MS = 1000 };

int server_find_program(const char *variable, const char *name, char path[PATH_MAX], struct wire_error *error)
{
	const char *given = getenv(variable);

	if (given && given[0] == '/' && strlen(given) < PATH_MAX) {
		strcpy(path, given);
		return 0;
	}
	if (place_program(name, path))
		return wire_error_set(error, WIRE_INTERNAL, "The program %s is missing; build it, or install Percept whole.", path);
	return 0;
}

static void server_on_signal(uv_signal_t *handle, int signal)
{
	struct server *server = handle->data;

	if (signal == SIGHUP)
		reload_quietly(server);
	else
		server_drain(server, signal == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void server_start_signals(struct server *server)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

	for (size_t i = 0; i < 3; i++) {
		uv_signal_init(server->loop, &server->signals[i]);
		server->signals[i].data = server;
		uv_signal_start(&server->signals[i], server_on_signal, signals[i]);
	}
}

static void server_on_watchdog(uv_timer_t *timer)
{
	struct server *server = timer->data;

	notify_send(&server->notify, "WATCHDOG=1");
}

static int server_make_instance(struct server *server)
{
	unsigned char bytes[8];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(server->instance + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* What engines and the media program are started with. */
static int server_start_assist(struct server *server, struct wire_error *error)
{
	struct assist *assist = &server->assist;
	const struct settings *settings = &server->settings;

	if (server_find_program("PERCEPT_ENGINE", "percept-engine", server->engine_program, error))
		return error->code;
	/* Text can be answered without it; whoever sends media is told. */
	if (server_find_program("PERCEPT_MEDIA", "percept-media", server->media_program, error)) {
		log_error("media.missing", "program=%s", server->media_program);
		wire_error_fini(error);
	}
	*assist = (struct assist){
		.loop = server->loop,
		.engines = {server->loop, server->engine_program, settings->start_ms, settings->hang_ms, SERVER_EXIT_MS},
		.media_setup = {
			.loop = server->loop, .program = server->media_program, .time_ms = settings->media_ms,
			.max_pixels = settings->media_pixels, .max_side = settings->media_side,
			.max_bytes = settings->media_bytes, .workers = settings->media_workers,
			.background = settings->media_background,
		},
		.limits = {settings->running, settings->queued},
		.plugin_path = settings->plugin_path,
	};
	if (assist_init(assist) || assist_start(assist, settings->assistants, settings->idle))
		return wire_error_set(error, WIRE_INTERNAL, "There is not enough memory to start.");
	return 0;
}

int server_start(struct server *server, uv_loop_t *loop, const char *config, const char *socket, struct wire_error *error)
{
	int err;

	memset(server, 0, sizeof(*server));
	server->loop = loop;
	server->config = config;
	server->started_ms = uv_now(loop);
	notify_init(&server->notify);
	if (settings_load(config, &server->settings, error))
		return error->code;
	if (server->settings.log >= 0)
		log_set_level((enum log_level)server->settings.log);
	if (server_make_instance(server))
		wire_error_set(error, WIRE_INTERNAL, "The kernel has no random numbers.");
	if (error->code || listen_open(&server->listener, socket, error)) {
		settings_fini(&server->settings);
		return error->code;
	}
	/* Parts of its assistants may ask the daemon they are of. */
	setenv("PERCEPT_SOCKET", server->listener.path, 1);
	shared_begin(server->listener.path);
	err = server_accept_start(server);
	if (err)
		return wire_error_set(error, WIRE_INTERNAL, "Cannot watch the socket: %s.", strerror(-err));
	if (server_start_assist(server, error)) {
		listen_close(&server->listener);
		return error->code;
	}
	server_start_signals(server);
	uv_timer_init(loop, &server->watchdog_timer);
	server->watchdog_timer.data = server;
	if (server->notify.watchdog_ms)
		uv_timer_start(&server->watchdog_timer, server_on_watchdog, 0, server->notify.watchdog_ms);
	log_info("start", "version=%s pid=%d socket=%s assistants=%d config=%s", PACKAGE_VERSION, (int)getpid(),
		 server->listener.path, cJSON_GetArraySize(server->settings.assistants), config ? config : "default");
	notify_send(&server->notify, "READY=1");
	return 0;
}

/* The last answers are on their way: they get a moment. */
static void server_on_flushed(uv_timer_t *timer)
{
	struct server *server = timer->data;
	struct list *node, *after;
	bool waiting = false;

	list_each(node, after, &server->connections)
		waiting |= connection_pending(list_entry(node, struct connection, node)) > 0;
	if (!waiting || uv_now(server->loop) >= server->flush_until_ms)
		uv_stop(server->loop);
}

static void server_on_drained(void *arg)
{
	struct server *server = arg;

	server->flush_until_ms = uv_now(server->loop) + SERVER_FLUSH_MS;
	uv_timer_start(&server->watchdog_timer, server_on_flushed, 0, 10);
}

void server_drain(struct server *server, const char *why)
{
	if (server->draining) {
		/* Asked twice: now. */
		if (!strcmp(why, "SIGINT") || !strcmp(why, "SIGTERM"))
			server->assist.drain_until_ms = uv_now(server->loop);
		return;
	}
	log_info("drain", "why=%s limit_ms=%u", why, server->settings.drain_ms);
	server->draining = true;
	notify_send(&server->notify, "STOPPING=1");
	assist_drain(&server->assist, server->settings.drain_ms, server_on_drained, server);
}

void server_fini(struct server *server)
{
	server_accept_stop(server);
	assist_fini(&server->assist);
	shared_end(server->listener.path);
	listen_close(&server->listener);
	for (size_t i = 0; i < 3; i++)
		uv_close((uv_handle_t *)&server->signals[i], NULL);
	uv_close((uv_handle_t *)&server->watchdog_timer, NULL);
	wire_error_fini(&server->last_reload.error);
	settings_fini(&server->settings);
	log_info("end", "pid=%d", (int)getpid());
}

void server_freed_some(struct server *server)
{
	uint64_t now = uv_now(server->loop);

	/* Large answers leave the heap in pieces; at rest they go back to the system. */
	if (now - server->trimmed_ms < 1000)
		return;
	server->trimmed_ms = now;
	malloc_trim(64 << 10);
}

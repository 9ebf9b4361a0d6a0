/* reload.c - the configuration read again, whole or not at all. */
#include "daemon/serve/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/assist/scan.h"
#include "daemon/base/log.h"

static void reload_run(struct server *server);

static void reload_tell(struct reload_waiter *waiters, const struct wire_error *error)
{
	while (waiters) {
		struct reload_waiter *waiter = waiters;

		waiters = waiter->next;
		if (waiter->told)
			waiter->told(waiter->arg, error);
		free(waiter);
	}
}

/* What can change without a restart; the socket cannot. */
static void reload_take(struct server *server)
{
	settings_fini(&server->settings);
	server->settings = server->reload_settings;
	memset(&server->reload_settings, 0, sizeof(server->reload_settings));
	server->assist.limits = (struct assist_limits){server->settings.running, server->settings.queued};
	server->assist.engines.open_limit_ms = server->settings.start_ms;
	server->assist.engines.hang_ms = server->settings.hang_ms;
	server->assist.plugin_path = server->settings.plugin_path;
	server->assist.media_setup.time_ms = server->settings.media_ms;
	server->assist.media_setup.max_pixels = server->settings.media_pixels;
	server->assist.media_setup.max_side = server->settings.media_side;
	server->assist.media_setup.background = server->settings.media_background;
	if (server->settings.log >= 0)
		log_set_level((enum log_level)server->settings.log);
	scan_forget(&server->assist);
}

static void reload_end(struct server *server, const struct wire_error *error)
{
	struct reload_waiter *waiters = server->reload_now;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	server->last_reload.at = (double)now.tv_sec;
	wire_error_fini(&server->last_reload.error);
	if (error) {
		wire_error_set(&server->last_reload.error, error->code, "%s", error->text);
		settings_fini(&server->reload_settings);
		log_error("reload.failed", "code=%d reason=\"%s\"", error->code, error->text);
	} else {
		reload_take(server);
		log_info("reload", "generation=%u assistants=%d", server->assist.generation,
			 cJSON_GetArraySize(server->settings.assistants));
	}
	server->reload_now = NULL;
	notify_send(&server->notify, "READY=1");
	reload_tell(waiters, error);
	if (server->reload_next) {
		server->reload_now = server->reload_next;
		server->reload_next = NULL;
		reload_run(server);
	}
}

static void reload_on_done(void *arg, const struct wire_error *error)
{
	reload_end(arg, error);
}

static void reload_run(struct server *server)
{
	struct wire_error error = {0};

	notify_reloading(&server->notify);
	if (server->draining)
		wire_error_set(&error, WIRE_SHUTDOWN, "perceptd is shutting down.");
	else if (!settings_load(server->config, &server->reload_settings, &error) &&
		 assist_reload(&server->assist, server->reload_settings.assistants, reload_on_done, server) < 0)
		wire_error_set(&error, WIRE_INTERNAL, "There is not enough memory to reload.");
	if (error.code)
		reload_end(server, &error);
	wire_error_fini(&error);
}

void reload_config(struct server *server, void (*told)(void *arg, const struct wire_error *error), void *arg)
{
	struct reload_waiter *waiter = calloc(1, sizeof(*waiter));
	struct wire_error error = {0};

	if (!waiter) {
		wire_error_set(&error, WIRE_INTERNAL, "There is not enough memory to reload.");
		if (told)
			told(arg, &error);
		return;
	}
	waiter->told = told;
	waiter->arg = arg;
	if (server->reload_now) {
		waiter->next = server->reload_next;
		server->reload_next = waiter;
		return;
	}
	server->reload_now = waiter;
	reload_run(server);
}

void reload_quietly(struct server *server)
{
	reload_config(server, NULL, NULL);
}

cJSON *reload_describe(const struct server *server)
{
	const struct server_reload *last = &server->last_reload;
	cJSON *json;

	if (!last->at)
		return cJSON_CreateNull();
	json = cJSON_CreateObject();
	cJSON_AddNumberToObject(json, "time", last->at);
	cJSON_AddBoolToObject(json, "ok", !last->error.code);
	if (last->error.code) {
		cJSON_AddNumberToObject(json, "code", last->error.code);
		cJSON_AddStringToObject(json, "message", last->error.text);
	}
	return json;
}

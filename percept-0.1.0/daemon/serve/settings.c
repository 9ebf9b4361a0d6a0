/* settings.c - what the configuration says to perceptd, checked and complete. */
#include "daemon/serve/settings.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/conf/conf.h"
#include "sdk/wire/media-wire.h"

static void settings_fill(struct settings *settings, const struct conf_daemon *d)
{
	*settings = (struct settings){
		.client = wire_client_limits,
		.connections = (unsigned)d->max_connections,
		.foreign_connections = (unsigned)d->max_connections_other,
		.inflight = (unsigned)d->max_inflight,
		.running = (unsigned)d->max_running,
		.queued = (unsigned)d->max_queued,
		.write_merge = (size_t)d->write_merge,
		.write_high = (size_t)d->write_high,
		.write_most = (size_t)d->write_most,
		.read_waiting = (size_t)d->read_waiting,
		.write_high_ms = (unsigned)d->write_high_ms,
		.drain_ms = (unsigned)d->drain_ms,
		.hang_ms = (unsigned)d->hang_ms,
		.start_ms = (unsigned)d->start_ms,
		.media_ms = (unsigned)d->media_ms,
		.media_pixels = d->media_pixels,
		.media_bytes = d->media_bytes,
		.media_side = (uint32_t)d->media_side,
		.media_workers = (uint32_t)d->media_workers,
		.media_background = d->media_background == CONF_UNSET ? MEDIA_BACKGROUND_NONE : (uint32_t)d->media_background,
		.log = d->log == CONF_UNSET ? -1 : (int)d->log,
	};
	settings->client.line = (size_t)d->max_line;
	settings->client.tail = (size_t)d->max_tail;
}

/* 0, or -1 when memory is out. */
static int settings_add_assistants(struct settings *settings, const struct conf *conf)
{
	settings->plugin_path = conf->plugin_path ? strdup(conf->plugin_path) : NULL;
	settings->assistants = cJSON_CreateArray();
	settings->idle = cJSON_CreateArray();
	if (!settings->assistants || !settings->idle || (conf->plugin_path && !settings->plugin_path))
		return -1;
	for (size_t i = 0; i < conf->n_assistants; i++) {
		const struct conf_assistant *assistant = &conf->assistants[i];
		cJSON *json = conf_assistant_json(conf, assistant);

		if (!json || !cJSON_AddItemToArray(settings->assistants, json)) {
			cJSON_Delete(json);
			return -1;
		}
		if (!assistant->autoload)
			cJSON_AddItemToArray(settings->idle, cJSON_CreateString(assistant->name));
	}
	return 0;
}

int settings_load(const char *path, struct settings *settings, struct wire_error *error)
{
	struct conf_error why;
	struct conf *conf = conf_load(path, &why);
	int rc;

	if (!conf)
		return wire_error_set(error, WIRE_PARAMS, "%s", why.text);
	settings_fill(settings, &conf->daemon);
	rc = settings_add_assistants(settings, conf);
	conf_free(conf);
	if (rc < 0) {
		settings_fini(settings);
		return wire_error_set(error, WIRE_INTERNAL, "There is not enough memory for the configuration.");
	}
	return 0;
}

void settings_fini(struct settings *settings)
{
	free(settings->plugin_path);
	cJSON_Delete(settings->assistants);
	cJSON_Delete(settings->idle);
	settings->plugin_path = NULL;
	settings->assistants = settings->idle = NULL;
}

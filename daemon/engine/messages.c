/* messages.c - the methods of the hop, as a table. */
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/loader.h"
#include "daemon/engine/pipeline.h"
#include "daemon/engine/scheduler.h"
#include "sdk/wire/place.h"
#include "sdk/wire/schema.h"

/* A plugin at work that gave no sign of life for so long is spoken of. */
#define MESSAGE_SILENCE_MS 100

static void message_ping(struct engine *engine, struct wire_frame *frame)
{
	cJSON *result = cJSON_CreateObject();
	const char *plugin;
	const double silent = pulse_silence_ms(&engine->pulses, &plugin);

	if (silent >= MESSAGE_SILENCE_MS) {
		cJSON_AddNumberToObject(result, "silent_ms", silent);
		if (plugin)
			cJSON_AddStringToObject(result, "plugin", plugin);
	}
	engine_send_result(engine, wire_frame_id(frame), result);
}

static void message_start(struct engine *engine, struct wire_frame *frame, enum request_kind kind)
{
	struct wire_error error = {0};
	struct request *request;

	if (request_new(engine, kind, frame, &request, &error)) {
		engine_send_error(engine, wire_frame_id(frame), &error);
		return;
	}
	list_add(&engine->requests, &request->node);
	engine->running++;
	if (request->deadline > 0)
		engine_watch_deadlines(engine);
	pipeline_start(request);
}

static void message_response(struct engine *engine, struct wire_frame *frame)
{
	message_start(engine, frame, REQUEST_RESPONSE);
}

static void message_embedding(struct engine *engine, struct wire_frame *frame)
{
	message_start(engine, frame, REQUEST_EMBEDDING);
}

static void message_count(struct engine *engine, struct wire_frame *frame)
{
	message_start(engine, frame, REQUEST_COUNT);
}

static void message_look(struct engine *engine, struct wire_frame *frame)
{
	message_start(engine, frame, REQUEST_LOOK);
}

static void message_cancel(struct engine *engine, struct wire_frame *frame)
{
	const cJSON *params = wire_frame_params(frame), *id = wire_member(params, "request_id");
	const char *response_id = wire_param_string(params, "response_id", NULL);
	cJSON *result = cJSON_CreateObject();
	struct list *node, *after;
	int found = 0;

	list_each(node, after, &engine->requests) {
		struct request *request = list_entry(node, struct request, node);

		if (!(id && request->id && wire_same_id(id, request->id)) &&
		    !(response_id && strcmp(response_id, request->response_id) == 0))
			continue;
		found = 1;
		pipeline_stop(request, REQUEST_CANCELLED);
		break;
	}
	cJSON_AddStringToObject(result, "status", found ? "cancelled" : "already_done");
	engine_send_result(engine, wire_frame_id(frame), result);
}

static void message_status(struct engine *engine, struct wire_frame *frame)
{
	cJSON *result = cJSON_CreateObject(), *part;

	cJSON_AddNumberToObject(result, "memory_bytes", (double)engine_memory(engine));
	part = cJSON_AddObjectToObject(result, "cache");
	cJSON_AddNumberToObject(part, "entries", (double)engine->cache.entries);
	cJSON_AddNumberToObject(part, "bytes", (double)engine->cache.bytes);
	cJSON_AddNumberToObject(part, "hits", (double)engine->cache.hits);
	cJSON_AddNumberToObject(part, "misses", (double)engine->cache.misses);
	part = cJSON_AddObjectToObject(result, "stages");
	for (size_t i = 0; i < STAGES; i++) {
		cJSON *stage = cJSON_AddObjectToObject(part, engine_stage_names[i]);

		cJSON_AddNumberToObject(stage, "count", (double)engine->stages[i].count);
		cJSON_AddNumberToObject(stage, "seconds", engine->stages[i].seconds);
	}
	cJSON_AddNumberToObject(result, "running", engine->running);
	cJSON_AddNumberToObject(result, "context_used", engine->scheduler ? (double)scheduler_rows(engine->scheduler) : 0);
	engine_send_result(engine, wire_frame_id(frame), result);
}

static void message_log_level(struct engine *engine, struct wire_frame *frame)
{
	const char *name = wire_param_string(wire_frame_params(frame), "level", "");
	int level = log_level_named(name);
	struct wire_error error = {0};

	if (level < 0) {
		wire_error_path(&error, "level", "is \"%.20s\", but must be error, warn, info or debug", name);
		engine_send_error(engine, wire_frame_id(frame), &error);
		return;
	}
	log_set_level((enum log_level)level);
	engine_send_result(engine, wire_frame_id(frame), cJSON_CreateObject());
}

static void message_shutdown(struct engine *engine, struct wire_frame *frame)
{
	engine_send_result(engine, wire_frame_id(frame), cJSON_CreateObject());
	engine_end(engine, 0);
}

/* ---- plugin.list: opening files takes time, and a plugin may hang: on a worker ---- */

struct message_scan {
	struct worker_job job;
	struct engine *engine;
	cJSON *id, *path, *list;
};

static void message_scan_run(struct worker_job *job)
{
	struct message_scan *scan = list_entry(job, struct message_scan, job);

	scan->list = loader_list(scan->engine->program, scan->path);
}

static void message_scan_done(struct worker_job *job)
{
	struct message_scan *scan = list_entry(job, struct message_scan, job);

	scan->engine->scanning--;
	if (scan->engine->state != ENGINE_ENDING)
		engine_send_result(scan->engine, scan->id, scan->list ? scan->list : cJSON_CreateArray());
	else
		cJSON_Delete(scan->list);
	cJSON_Delete(scan->id);
	cJSON_Delete(scan->path);
	free(scan);
}

/* The folders that engine.open named, or those that this program was given. */
static cJSON *message_plugin_path(const struct engine *engine)
{
	const cJSON *path = wire_member(engine->opening, "plugin_path");

	path = path ? path : engine->plugin_path;
	return path ? cJSON_Duplicate(path, 1) : cJSON_CreateArray();
}

static void message_plugins(struct engine *engine, struct wire_frame *frame)
{
	struct message_scan *scan = calloc(1, sizeof(*scan));
	struct wire_error error = {0};

	if (!scan) {
		wire_error_set(&error, WIRE_INTERNAL, "Memory is out.");
		engine_send_error(engine, wire_frame_id(frame), &error);
		return;
	}
	scan->engine = engine;
	scan->id = cJSON_Duplicate(wire_frame_id(frame), 1);
	scan->path = message_plugin_path(engine);
	scan->job = (struct worker_job){.run = message_scan_run, .done = message_scan_done};
	engine->scanning++;
	worker_submit(engine->scan_worker, &scan->job);
}

/* ---- the table ---- */

static const struct {
	const char *name;
	int ready; /* 1: needs an open assistant */
	void (*take)(struct engine *engine, struct wire_frame *frame);
} messages[] = {
	{"ping", 0, message_ping},
	{"engine.open", 0, engine_open},
	{"engine.status", 0, message_status},
	{"plugin.list", 0, message_plugins},
	{"log.level", 0, message_log_level},
	{"shutdown", 0, message_shutdown},
	{"response.cancel", 0, message_cancel},
	{"response.create", 1, message_response},
	{"embedding.create", 1, message_embedding},
	{"token.count", 1, message_count},
	{"image.look", 1, message_look},
};

void messages_take(struct engine *engine, struct wire_frame *frame)
{
	const char *method = wire_frame_method(frame);
	struct wire_error error = {0};

	/* Answers to nothing, and notifications, are not for an engine. */
	if (!method || !wire_frame_id(frame) || engine->state == ENGINE_ENDING)
		return;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		if (strcmp(messages[i].name, method) != 0)
			continue;
		if (!messages[i].ready || engine->state == ENGINE_READY) {
			messages[i].take(engine, frame);
			return;
		}
		wire_error_set(&error, WIRE_NOT_READY, "The assistant is not ready: this engine has not opened it%s.",
			       engine->state == ENGINE_OPENING ? " yet" : "");
		engine_send_error(engine, wire_frame_id(frame), &error);
		return;
	}
	wire_error_set(&error, WIRE_NO_METHOD, "An engine has no method %.64s.", method);
	engine_send_error(engine, wire_frame_id(frame), &error);
}

/* method-status.c - status: perceptd's own numbers, and those of its engines as far as they answer in time. */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/serve/reload.h"
#include "daemon/serve/router.h"
#include "daemon/serve/server.h"

enum { STATUS_LIMIT_MS = 500 };

struct status;

/* The question to one engine. */
struct status_call {
	struct hop_call call;
	struct status *status; /* NULL: its time is over */
	char name[64];
	cJSON *result;
	struct status_call *next;
};

struct status {
	struct request *request;
	struct status_call *calls;
	unsigned left;
	uv_timer_t limit;
};

static void status_add_number(cJSON *sum, const char *name, const cJSON *more)
{
	cJSON *old = cJSON_GetObjectItemCaseSensitive(sum, name);

	if (!cJSON_IsNumber(more))
		return;
	if (old)
		cJSON_SetNumberValue(old, old->valuedouble + more->valuedouble);
	else
		cJSON_AddNumberToObject(sum, name, more->valuedouble);
}

/* Adds the numbers of `more` to those of `sum`. */
static void status_add(cJSON *sum, const cJSON *more)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, more)
		status_add_number(sum, one->string, one);
}

static void status_add_stages(cJSON *stages, const cJSON *more)
{
	const cJSON *stage;

	cJSON_ArrayForEach(stage, more) {
		cJSON *sum = cJSON_GetObjectItemCaseSensitive(stages, stage->string);

		status_add(sum ? sum : cJSON_AddObjectToObject(stages, stage->string), stage);
	}
}

static void status_add_stage(cJSON *stages, const char *name, const struct assist_stage_count *count)
{
	cJSON *stage = cJSON_AddObjectToObject(stages, name);

	cJSON_AddNumberToObject(stage, "count", count->count);
	cJSON_AddNumberToObject(stage, "seconds", count->seconds);
}

static const struct status_call *status_call_of(const struct status *status, const char *name)
{
	const struct status_call *call = status->calls;

	while (call && strcmp(call->name, name))
		call = call->next;
	return call;
}

static cJSON *status_of_assistant(const struct assistant *a, const cJSON *numbers)
{
	const cJSON *info = a->engine ? engine_info(a->engine) : NULL;
	const cJSON *modalities = wire_member(info, "modalities"), *memory = wire_member(numbers, "memory_bytes");
	cJSON *json = cJSON_CreateObject();

	memory = memory ? memory : wire_member(info, "memory_bytes");
	cJSON_AddStringToObject(json, "name", a->name);
	cJSON_AddStringToObject(json, "state", assistant_state_name(a));
	if (a->state == ASSISTANT_FAILED)
		cJSON_AddStringToObject(json, "reason", a->reason.text);
	if (a->engine)
		cJSON_AddNumberToObject(json, "pid", (double)engine_pid(a->engine));
	cJSON_AddItemToObject(json, "modalities", modalities ? cJSON_Duplicate(modalities, 1) : cJSON_CreateArray());
	cJSON_AddNumberToObject(json, "memory_bytes", cJSON_IsNumber(memory) ? memory->valuedouble : 0);
	cJSON_AddNumberToObject(json, "inflight", a->running.n);
	cJSON_AddNumberToObject(json, "queued", a->queue.n);
	return json;
}

static cJSON *status_result(const struct status *status)
{
	static const char *const cache_members[] = {"entries", "bytes", "hits", "misses"};
	const struct server *server = status->request->server;
	const struct assist *assist = &server->assist;
	cJSON *result = cJSON_CreateObject(), *list, *cache, *requests, *stages;

	cJSON_AddStringToObject(result, "version", PACKAGE_VERSION);
	cJSON_AddNumberToObject(result, "pid", (double)getpid());
	cJSON_AddNumberToObject(result, "uptime_s", (double)(uv_now(server->loop) - server->started_ms) / 1e3);
	cJSON_AddNumberToObject(result, "generation", assist->generation);
	list = cJSON_AddArrayToObject(result, "assistants");
	cJSON_AddNumberToObject(result, "connections", server->n_connections);
	cache = cJSON_AddObjectToObject(result, "cache");
	for (size_t i = 0; i < sizeof(cache_members) / sizeof(cache_members[0]); i++)
		cJSON_AddNumberToObject(cache, cache_members[i], 0);
	requests = cJSON_AddObjectToObject(result, "requests");
	cJSON_AddNumberToObject(requests, "done", assist->counts.done);
	cJSON_AddNumberToObject(requests, "failed", assist->counts.failed);
	cJSON_AddNumberToObject(requests, "cancelled", assist->counts.cancelled);
	stages = cJSON_AddObjectToObject(result, "stages");
	status_add_stage(stages, "queue", &assist->counts.queue);
	status_add_stage(stages, "media", &assist->counts.media);
	for (const struct assistant *a = assist->assistants; a; a = a->next) {
		const struct status_call *call = status_call_of(status, a->name);
		const cJSON *numbers = call ? call->result : NULL;

		cJSON_AddItemToArray(list, status_of_assistant(a, numbers));
		status_add(cache, wire_member(numbers, "cache"));
		status_add_stages(stages, wire_member(numbers, "stages"));
	}
	cJSON_AddItemToObject(result, "last_reload", reload_describe(server));
	return result;
}

static void status_on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void status_end(struct status *status)
{
	struct status_call *call;

	request_answer(status->request, status_result(status));
	while ((call = status->calls)) {
		status->calls = call->next;
		cJSON_Delete(call->result);
		/* One that was not answered yet is freed by its reply. */
		if (call->status && call->call.next)
			call->status = NULL;
		else
			free(call);
	}
	uv_close((uv_handle_t *)&status->limit, status_on_closed);
}

static void status_on_limit(uv_timer_t *timer)
{
	status_end(timer->data);
}

static void status_on_reply(void *arg, struct hop_reply *reply)
{
	struct status_call *call = arg;
	struct status *status = call->status;

	if (!status) {
		free(call);
		return;
	}
	call->result = reply->result;
	reply->result = NULL;
	/* The end comes from the loop, when nothing of the engine's is on the stack. */
	if (--status->left == 0)
		uv_timer_start(&status->limit, status_on_limit, 0, 0);
}

static const struct hop_call_events status_call_events = {status_on_reply, NULL};

static void status_ask(struct status *status, struct assistant *assistant)
{
	struct status_call *call = calloc(1, sizeof(*call));

	if (!call)
		return;
	call->call = (struct hop_call){.events = &status_call_events, .arg = call};
	call->status = status;
	strcpy(call->name, assistant->name);
	if (engine_call(assistant->engine, &call->call, "engine.status", NULL, NULL, 0)) {
		free(call);
		return;
	}
	call->next = status->calls;
	status->calls = call;
	status->left++;
}

void method_status(struct request *request, struct wire_frame *frame)
{
	struct status *status = calloc(1, sizeof(*status));
	struct wire_error error = {0};

	if (!status) {
		wire_error_set(&error, WIRE_INTERNAL, "There is not enough memory.");
		request_fail(request, &error);
		return;
	}
	status->request = request;
	uv_timer_init(request->server->loop, &status->limit);
	status->limit.data = status;
	for (struct assistant *a = request->server->assist.assistants; a; a = a->next)
		if (a->engine && engine_state(a->engine) == ENGINE_READY)
			status_ask(status, a);
	uv_timer_start(&status->limit, status_on_limit, status->left ? STATUS_LIMIT_MS : 0, 0);
}

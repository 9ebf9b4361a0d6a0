/* method-assistant.c - assistant.list, assistant.load, assistant.unload, plugin.list. */
#include <stdlib.h>

#include "daemon/assist/scan.h"
#include "daemon/serve/router.h"
#include "daemon/serve/server.h"

/* Members of engine.open's result that a client is shown. */
static const char *const assistant_members[] = {"inputs", "outputs", "modules", "context", "fusion"};

static cJSON *assistant_describe(const struct assistant *assistant)
{
	const cJSON *info = assistant->engine ? engine_info(assistant->engine) : NULL;
	cJSON *json = cJSON_CreateObject();

	cJSON_AddStringToObject(json, "name", assistant->name);
	cJSON_AddStringToObject(json, "state", assistant_state_name(assistant));
	if (assistant->state == ASSISTANT_FAILED)
		cJSON_AddStringToObject(json, "reason", assistant->reason.text);
	for (size_t i = 0; i < sizeof(assistant_members) / sizeof(assistant_members[0]); i++) {
		const cJSON *member = wire_member(info, assistant_members[i]);

		if (member)
			cJSON_AddItemToObject(json, assistant_members[i], cJSON_Duplicate(member, 1));
	}
	return json;
}

void method_assistant_list(struct request *request, struct wire_frame *frame)
{
	cJSON *list = cJSON_CreateArray();

	for (const struct assistant *a = request->server->assist.assistants; a; a = a->next)
		cJSON_AddItemToArray(list, assistant_describe(a));
	request_answer(request, list);
}

/* The assistant that params name; NULL when the request was answered already. */
static struct assistant *assistant_of(struct request *request, const struct wire_frame *frame)
{
	const char *name = wire_param_string(wire_frame_params(frame), "assistant", "default");
	struct assistant *assistant = assist_named(&request->server->assist, name);
	struct wire_error error = {0};

	if (assistant)
		return assistant;
	wire_error_set(&error, WIRE_NOT_FOUND, "There is no assistant \"%.100s\"; assistant.list tells which there are.", name);
	request_fail(request, &error);
	return NULL;
}

struct assistant_wait {
	struct assistant_waiter waiter;
	struct request *request;
};

static void assistant_on_settled(void *arg, struct assistant *assistant)
{
	struct assistant_wait *wait = arg;
	struct request *request = wait->request;
	struct wire_error error = {0};

	free(wait);
	if (assistant->state == ASSISTANT_READY) {
		request_answer(request, assistant_describe(assistant));
		return;
	}
	assistant_explain(assistant, &error);
	request_fail(request, &error);
}

void method_assistant_load(struct request *request, struct wire_frame *frame)
{
	struct assistant *assistant = assistant_of(request, frame);
	struct assistant_wait *wait;
	struct wire_error error = {0};

	if (!assistant)
		return;
	wait = calloc(1, sizeof(*wait));
	if (!wait) {
		wire_error_set(&error, WIRE_INTERNAL, "There is not enough memory.");
		request_fail(request, &error);
		return;
	}
	wait->request = request;
	wait->waiter = (struct assistant_waiter){.told = assistant_on_settled, .arg = wait};
	assistant_load(assistant);
	assistant_wait(assistant, &wait->waiter);
}

void method_assistant_unload(struct request *request, struct wire_frame *frame)
{
	struct assistant *assistant = assistant_of(request, frame);

	if (!assistant)
		return;
	assistant_unload(assistant);
	request_answer(request, assistant_describe(assistant));
}

static void assistant_on_plugins(void *arg, const cJSON *plugins, const struct wire_error *error)
{
	struct request *request = arg;
	struct wire_error copy = {0};

	if (plugins) {
		request_answer(request, cJSON_Duplicate(plugins, 1));
		return;
	}
	wire_error_set(&copy, error ? error->code : WIRE_INTERNAL, "%s", error ? error->text : "The plugins cannot be listed.");
	request_fail(request, &copy);
}

void method_plugin_list(struct request *request, struct wire_frame *frame)
{
	scan_plugins(&request->server->assist, assistant_on_plugins, request);
}

/* method-admin.c - config.reload, shutdown, log.level. */
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/serve/reload.h"
#include "daemon/serve/router.h"
#include "daemon/serve/server.h"

static void admin_on_reloaded(void *arg, const struct wire_error *error)
{
	struct request *request = arg;
	struct wire_error copy = {0};
	cJSON *result;

	if (error) {
		wire_error_set(&copy, error->code, "%s", error->text);
		copy.data = error->data ? cJSON_Duplicate(error->data, 1) : NULL;
		request_fail(request, &copy);
		return;
	}
	result = cJSON_CreateObject();
	cJSON_AddNumberToObject(result, "generation", request->server->assist.generation);
	cJSON_AddNumberToObject(result, "assistants", cJSON_GetArraySize(request->server->settings.assistants));
	request_answer(request, result);
}

void method_config_reload(struct request *request, struct wire_frame *frame)
{
	reload_config(request->server, admin_on_reloaded, request);
}

void method_shutdown(struct request *request, struct wire_frame *frame)
{
	struct server *server = request->server;

	request_answer(request, cJSON_CreateObject());
	server_drain(server, "shutdown");
}

/* An engine's answer to log.level is not waited for. */
struct admin_call {
	struct hop_call call;
};

static void admin_on_reply(void *arg, struct hop_reply *reply)
{
	free(arg);
}

static const struct hop_call_events admin_call_events = {admin_on_reply, NULL};

static void admin_tell_engine(struct engine *engine, const char *level)
{
	struct admin_call *call = calloc(1, sizeof(*call));
	cJSON *params = cJSON_CreateObject();

	cJSON_AddStringToObject(params, "level", level);
	if (!call) {
		cJSON_Delete(params);
		return;
	}
	call->call = (struct hop_call){.events = &admin_call_events, .arg = call};
	if (engine_call(engine, &call->call, "log.level", params, NULL, 0))
		free(call);
}

void method_log_level(struct request *request, struct wire_frame *frame)
{
	const char *level = wire_param_string(wire_frame_params(frame), "level", "info");

	log_set_level((enum log_level)log_level_named(level));
	for (struct assistant *a = request->server->assist.assistants; a; a = a->next)
		if (a->engine && engine_state(a->engine) == ENGINE_READY)
			admin_tell_engine(a->engine, level);
	request_answer(request, cJSON_CreateObject());
}

/* method-hello.c - hello, ping, describe. */
#include "config.h"

#include "daemon/serve/router.h"
#include "daemon/serve/server.h"

enum { HELLO_PROTOCOL = 1 };

static bool hello_is_common(const cJSON *versions)
{
	const cJSON *version;

	cJSON_ArrayForEach(version, versions)
		if (version->valuedouble == HELLO_PROTOCOL)
			return true;
	return false;
}

static cJSON *hello_result(const struct connection *connection)
{
	const struct server *server = connection->server;
	cJSON *result = cJSON_CreateObject(), *part;

	cJSON_AddNumberToObject(result, "protocol", HELLO_PROTOCOL);
	part = cJSON_AddObjectToObject(result, "server");
	cJSON_AddStringToObject(part, "name", "percept");
	cJSON_AddStringToObject(part, "version", PACKAGE_VERSION);
	cJSON_AddStringToObject(part, "instance", server->instance);
	part = cJSON_AddObjectToObject(result, "peer");
	cJSON_AddNumberToObject(part, "uid", connection->uid);
	cJSON_AddStringToObject(part, "role", connection->role == WIRE_ADMIN ? "admin" : "user");
	part = cJSON_AddArrayToObject(result, "features");
	cJSON_AddItemToArray(part, cJSON_CreateString("bin"));
	cJSON_AddItemToArray(part, cJSON_CreateString("fds"));
	part = cJSON_AddObjectToObject(result, "limits");
	cJSON_AddNumberToObject(part, "line", (double)server->settings.client.line);
	cJSON_AddNumberToObject(part, "tail", (double)server->settings.client.tail);
	cJSON_AddNumberToObject(part, "fds", server->settings.client.fds);
	cJSON_AddNumberToObject(part, "inflight", server->settings.inflight);
	cJSON_AddNumberToObject(part, "queue", server->settings.queued);
	return result;
}

void method_hello(struct request *request, struct wire_frame *frame)
{
	struct wire_error error = {0};
	cJSON *supported;

	if (request->connection->began) {
		wire_error_set(&error, WIRE_INVALID, "hello must be the first request of a connection.");
		request_fail(request, &error);
		return;
	}
	if (hello_is_common(wire_member(wire_frame_params(frame), "protocol"))) {
		request_answer(request, hello_result(request->connection));
		return;
	}
	wire_error_set(&error, WIRE_VERSION, "This daemon speaks protocol %d only; use a client that does too.", HELLO_PROTOCOL);
	error.data = cJSON_CreateObject();
	supported = cJSON_AddArrayToObject(error.data, "supported");
	cJSON_AddItemToArray(supported, cJSON_CreateNumber(HELLO_PROTOCOL));
	request_fail(request, &error);
}

void method_ping(struct request *request, struct wire_frame *frame)
{
	request_answer(request, cJSON_CreateObject());
}

void method_describe(struct request *request, struct wire_frame *frame)
{
	const char *name = wire_param_string(wire_frame_params(frame), "method", NULL);
	const struct wire_method *method = NULL;
	struct wire_error error = {0};

	if (name && wire_method_find(name, &method, &error)) {
		wire_error_set(&error, WIRE_NOT_FOUND, "There is no method %.100s; describe without params lists them all.", name);
		request_fail(request, &error);
		return;
	}
	request_answer(request, wire_describe(method));
}

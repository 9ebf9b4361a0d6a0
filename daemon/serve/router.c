/* router.c - from a frame to the function of its method. */
#include "daemon/serve/router.h"

#include <string.h>
#include <unistd.h>

#include "daemon/serve/server.h"

/* What is served. Everything else about a method (params, role, errors) is in the table of sdk/wire. */
static const struct {
	const char *name;
	router_method *run;
	bool while_draining; /* still served at the end */
} router_table[] = {
	{"hello", method_hello, true},
	{"ping", method_ping, true},
	{"describe", method_describe, true},
	{"status", method_status, true},
	{"assistant.list", method_assistant_list, true},
	{"assistant.load", method_assistant_load, false},
	{"assistant.unload", method_assistant_unload, false},
	{"plugin.list", method_plugin_list, false},
	{"response.create", method_response_create, false},
	{"response.cancel", method_response_cancel, true},
	{"embedding.create", method_embedding_create, false},
	{"token.count", method_token_count, false},
	{"image.look", method_image_look, false},
	{"config.reload", method_config_reload, false},
	{"shutdown", method_shutdown, true},
	{"log.level", method_log_level, true},
};

/* Nothing that would go on is needed to cancel what does, so that is never refused for the number in flight. */
static bool router_is_light(const struct wire_method *method)
{
	return !strcmp(method->name, "response.cancel") || !strcmp(method->name, "ping");
}

static bool router_is_in_flight(const struct connection *connection, const cJSON *id)
{
	struct list *node, *after;

	list_each(node, after, (struct list *)&connection->requests)
		if (wire_same_id(list_entry(node, struct request, node)->id, id))
			return true;
	return false;
}

/* 0, or a code in *error. */
static int router_check(struct connection *connection, const struct wire_frame *frame, const struct wire_method **method,
			struct wire_error *error)
{
	const cJSON *id = wire_frame_id(frame);
	const char *name = wire_frame_method(frame);
	unsigned most = connection->server->settings.inflight;

	if (!id)
		return wire_error_set(error, WIRE_INVALID, "A request needs \"id\", an integer or a string; without it nothing can be "
				      "answered.");
	if (router_is_in_flight(connection, id))
		return wire_error_set(error, WIRE_INVALID, "This \"id\" belongs to a request that is still in flight; use another one.");
	if (wire_method_find(name, method, error))
		return error->code;
	if (connection->n_requests >= most && !router_is_light(*method)) {
		wire_error_set(error, WIRE_LIMIT, "%u requests are in flight on this connection, the most it may have; wait for an "
			       "answer, or open another connection.", connection->n_requests);
		wire_error_string(error, "limit", "inflight");
		wire_error_number(error, "value", most);
		return error->code;
	}
	if ((*method)->role == WIRE_ADMIN && connection->role != WIRE_ADMIN)
		return wire_error_set(error, WIRE_FORBIDDEN, "%s is for the daemon's own user (%u) and root.", name,
				      (unsigned)geteuid());
	return wire_method_check(*method, wire_frame_params(frame), error);
}

void router_run(struct connection *connection, struct wire_frame *frame)
{
	const struct wire_method *method = NULL;
	struct wire_error error = {0};
	struct request *request;

	if (router_check(connection, frame, &method, &error)) {
		connection->began = true;
		connection_send(connection, wire_error_answer(wire_frame_id(frame), &error), NULL, 0);
		wire_error_fini(&error);
		return;
	}
	request = request_new(connection, method, wire_frame_id(frame));
	if (!request) {
		connection_doom(connection, "no memory for a request");
		return;
	}
	for (size_t i = 0; i < sizeof(router_table) / sizeof(router_table[0]); i++) {
		if (strcmp(router_table[i].name, method->name))
			continue;
		if (connection->server->draining && !router_table[i].while_draining) {
			wire_error_set(&error, WIRE_SHUTDOWN, "The daemon is shutting down; try again when it has been restarted.");
			request_fail(request, &error);
			return;
		}
		router_table[i].run(request, frame);
		connection->began = true;
		return;
	}
	wire_error_set(&error, WIRE_NO_METHOD, "%s is not served here.", method->name);
	request_fail(request, &error);
}

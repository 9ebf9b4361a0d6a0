/* request.c - one request of a client, from its frame to its one answer. */
#include "daemon/serve/request.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/serve/server.h"

/* FNV-1a of an id, never 0. */
static uint32_t request_hash(const cJSON *id)
{
	const unsigned char *at = cJSON_IsString(id) ? (const unsigned char *)id->valuestring
						     : (const unsigned char *)&id->valuedouble;
	size_t n = cJSON_IsString(id) ? strlen(id->valuestring) : sizeof(id->valuedouble);
	uint32_t hash = 2166136261u + cJSON_IsString(id);

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ at[i]) * 16777619u;
	return hash ? hash : 1;
}

struct request *request_new(struct connection *connection, const struct wire_method *method, const cJSON *id)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->id = cJSON_Duplicate(id, 1);
	if (!request->id) {
		free(request);
		return NULL;
	}
	request->connection = connection;
	request->server = connection->server;
	request->method = method;
	list_add(&connection->requests, &request->node);
	connection->n_requests++;
	connection->newest = request;
	return request;
}

static void request_drop_held(struct request *request)
{
	if (request->connection)
		request->connection->held_bytes -= request->held_bytes;
	cJSON_Delete(request->held);
	free(request->held_text);
	request->held = NULL;
	request->held_text = NULL;
	request->held_bytes = request->held_room = request->held_n = 0;
}

static void request_free(struct request *request)
{
	struct connection *connection = request->connection;

	request_drop_held(request);
	if (connection) {
		list_remove(&request->node);
		connection->n_requests--;
		connection->waiting_bytes -= request->bytes;
		connection->recent[connection->n_recent++ % CONNECTION_RECENT] = request_hash(request->id);
		if (connection->newest == request)
			connection->newest = NULL;
	}
	cJSON_Delete(request->id);
	free(request);
	if (connection)
		connection_settle(connection);
}

/* Adds the three members that all notifications of a request have. */
static void request_send(struct request *request, const char *method, cJSON *params)
{
	const char *response_id = request->job ? request->job->response_id : "";

	cJSON_DeleteItemFromObjectCaseSensitive(params, "request_id");
	cJSON_DeleteItemFromObjectCaseSensitive(params, "response_id");
	cJSON_DeleteItemFromObjectCaseSensitive(params, "sequence_number");
	cJSON_AddItemToObject(params, "request_id", cJSON_Duplicate(request->id, 1));
	cJSON_AddStringToObject(params, "response_id", response_id);
	cJSON_AddNumberToObject(params, "sequence_number", request->sequence++);
	connection_send(request->connection, wire_notification(method, params), NULL, 0);
}

static void request_flush(struct request *request)
{
	cJSON *params = request->held;

	if (!params)
		return;
	request->held = NULL;
	cJSON_DeleteItemFromObjectCaseSensitive(params, "delta");
	cJSON_AddStringToObject(params, "delta", request->held_text ? request->held_text : "");
	request_drop_held(request);
	request_send(request, "response.output_text.delta", params);
}

void request_flush_all(struct connection *connection)
{
	struct list *node, *after;

	if (wire_writer_pending(connection->writer) >= connection->server->settings.write_merge)
		return;
	list_each(node, after, &connection->requests)
		request_flush(list_entry(node, struct request, node));
}

void request_notify(struct request *request, const char *method, cJSON *params)
{
	if (!request->connection || !request->stream || !params) {
		cJSON_Delete(params);
		return;
	}
	request_flush(request);
	request_send(request, method, params);
}

/* Moves the elements of an array member of `from` behind those of the same member of `to`. */
static size_t request_move_elements(cJSON *to, cJSON *from, const char *name)
{
	cJSON *old = cJSON_GetObjectItemCaseSensitive(to, name), *new = cJSON_GetObjectItemCaseSensitive(from, name);
	cJSON *one;
	size_t n = 0;

	if (!cJSON_IsArray(new))
		return 0;
	if (!cJSON_IsArray(old))
		old = cJSON_AddArrayToObject(to, name);
	while (old && (one = cJSON_DetachItemFromArray(new, 0))) {
		cJSON_AddItemToArray(old, one);
		n++;
	}
	return n;
}

/* Appends to held_text. False when memory is out. */
static bool request_hold_text(struct request *request, const char *text, size_t n)
{
	size_t have = request->held_n, room = request->held_room ? request->held_room : 256;
	char *grown = request->held_text;

	while (room < have + n + 1)
		room *= 2;
	if (room != request->held_room)
		grown = realloc(request->held_text, room);
	if (!grown)
		return false;
	memcpy(grown + have, text, n + 1);
	request->held_text = grown;
	request->held_room = room;
	request->held_n = have + n;
	return true;
}

void request_notify_delta(struct request *request, cJSON *params)
{
	struct connection *connection = request->connection;
	const char *delta = cJSON_GetStringValue(wire_member(params, "delta"));
	size_t more;

	if (!connection || !request->stream || !delta) {
		cJSON_Delete(params);
		return;
	}
	if (!request->held && wire_writer_pending(connection->writer) < connection->server->settings.write_merge) {
		request_send(request, "response.output_text.delta", params);
		return;
	}
	more = strlen(delta);
	if (!request_hold_text(request, delta, more)) {
		cJSON_Delete(params);
		connection_doom(connection, "no memory for a delta");
		return;
	}
	if (!request->held) {
		request->held = params;
		more += 64;
	} else {
		more += 32 * request_move_elements(request->held, params, "tokens");
		more += 128 * request_move_elements(request->held, params, "logprobs");
		cJSON_Delete(params);
	}
	request->held_bytes += more;
	connection->held_bytes += more;
	if (connection_pending(connection) > connection->server->settings.write_most)
		connection_doom(connection, "the client does not read: too much is queued");
}

void request_answer_tail(struct request *request, cJSON *result, const void *tail, size_t tail_bytes)
{
	struct wire_error error = {0};

	if (!result) {
		wire_error_set(&error, WIRE_INTERNAL, "There is not enough memory for the answer.");
		request_fail(request, &error);
		return;
	}
	if (request->connection) {
		request_flush(request);
		connection_send(request->connection, wire_result(request->id, result), tail, tail_bytes);
	} else {
		cJSON_Delete(result);
	}
	request->job = NULL;
	request_free(request);
}

void request_answer(struct request *request, cJSON *result)
{
	request_answer_tail(request, result, NULL, 0);
}

void request_fail(struct request *request, struct wire_error *error)
{
	if (request->connection) {
		request_flush(request);
		connection_send(request->connection, wire_error_answer(request->id, error), NULL, 0);
	}
	request->job = NULL;
	wire_error_fini(error);
	request_free(request);
}

void request_abandon_all(struct connection *connection)
{
	struct list *node;

	while ((node = list_pop(&connection->requests))) {
		struct request *request = list_entry(node, struct request, node);

		request_drop_held(request);
		request->connection = NULL;
		/* One without a job is held by whoever will answer it. */
		if (!request->job)
			continue;
		job_abandon(request->job);
		request_free(request);
	}
	connection->n_requests = 0;
}

static struct request *request_of(const struct connection *connection, const cJSON *id, const char *response_id)
{
	struct list *node, *after;

	list_each(node, after, &connection->requests) {
		struct request *request = list_entry(node, struct request, node);

		if (!request->job)
			continue;
		if (response_id ? !strcmp(request->job->response_id, response_id) : wire_same_id(request->id, id))
			return request;
	}
	return NULL;
}

struct request *request_find(struct connection *connection, const cJSON *id, const char *response_id)
{
	struct request *found = request_of(connection, id, response_id);
	struct list *node, *after;

	if (found)
		return found;
	/* An id that this client itself used and got answered is not meant for somebody else's. */
	for (unsigned i = 0; id && i < CONNECTION_RECENT; i++)
		if (connection->recent[i] == request_hash(id))
			return NULL;
	list_each(node, after, &connection->server->connections) {
		const struct connection *other = list_entry(node, struct connection, node);

		if (other != connection && other->uid == connection->uid && (found = request_of(other, id, response_id)))
			return found;
	}
	return NULL;
}

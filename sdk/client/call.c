/* call.c - one call: the request out, notifications and the answer in. */
#include "sdk/client/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The call in progress, on the stack of percept_call(). */
struct client_call {
	double id;
	const struct percept_events *events; /* a whole struct, never NULL */
	struct percept_answer *answer;       /* never NULL */
	struct percept_error *error;         /* may be NULL */
	int64_t until_ms;                    /* 0: no end */
	int done, code;
	int cancelled;                       /* asked for already */
	int deaf;                            /* the peer takes no more bytes: read what it still says */
};

enum { CALL_ASK_MS = 10 };

static const char out_of_memory[] = "Memory is out: the call was given up.";

static int64_t call_now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void call_end(struct client_call *call, int code)
{
	call->done = 1;
	call->code = code;
}

static void call_take_error(struct client_call *call, const cJSON *e)
{
	const cJSON *code = cJSON_GetObjectItemCaseSensitive(e, "code");
	const cJSON *text = cJSON_GetObjectItemCaseSensitive(e, "message");
	const cJSON *data = cJSON_GetObjectItemCaseSensitive(e, "data");
	int n = cJSON_IsNumber(code) && code->valueint < 0 ? code->valueint : WIRE_INTERNAL;
	call_end(call, client_fail(call->error, n, "%s", cJSON_IsString(text) ? text->valuestring : "The daemon gave no reason."));
	if (data && call->error)
		call->error->data = cJSON_PrintUnformatted(data);
}

static void call_take_result(struct client_call *call, const cJSON *result, struct wire_frame *frame)
{
	char *text = cJSON_PrintUnformatted(result);
	if (!text) {
		call_end(call, client_fail(call->error, -ENOMEM, "%s", out_of_memory));
		return;
	}
	percept_answer_clear(call->answer);
	call->answer->result = text;
	call->answer->tail = frame->tail;
	call->answer->tail_bytes = frame->tail_bytes;
	frame->tail = NULL;
	frame->tail_bytes = 0;
	call_end(call, 0);
}

static double call_number(const cJSON *object, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(object, name);
	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

static void call_notify(struct client_call *call, const char *method, const cJSON *params, const struct wire_frame *frame)
{
	const struct percept_events *e = call->events;
	const cJSON *id = cJSON_GetObjectItemCaseSensitive(params, "request_id");
	if (cJSON_IsNumber(id) && id->valuedouble != call->id)
		return;
	if (e->delta && strcmp(method, "response.output_text.delta") == 0) {
		const cJSON *delta = cJSON_GetObjectItemCaseSensitive(params, "delta");
		if (cJSON_IsString(delta))
			e->delta(e->arg, delta->valuestring, strlen(delta->valuestring));
	} else if (e->progress && strcmp(method, "response.in_progress") == 0) {
		const cJSON *stage = cJSON_GetObjectItemCaseSensitive(params, "stage");
		if (cJSON_IsString(stage))
			e->progress(e->arg, stage->valuestring, call_number(params, "done"), call_number(params, "total"));
	}
	if (!e->notification)
		return;
	char *text = params ? cJSON_PrintUnformatted(params) : NULL;
	e->notification(e->arg, method, text ? text : "{}", frame->tail, frame->tail_bytes);
	free(text);
}

/* Reader events. Frames of earlier calls (an answer to a cancel that came late) are dropped by their id. */

static int call_on_frame(void *arg, struct wire_frame *frame)
{
	struct percept_connection *c = arg;
	struct client_call *call = c->call;
	const cJSON *method = cJSON_GetObjectItemCaseSensitive(frame->json, "method");
	const cJSON *id = cJSON_GetObjectItemCaseSensitive(frame->json, "id");
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(frame->json, "error");
	const cJSON *result = cJSON_GetObjectItemCaseSensitive(frame->json, "result");
	int mine = call && !call->done;
	if (mine && cJSON_IsString(method))
		call_notify(call, method->valuestring, cJSON_GetObjectItemCaseSensitive(frame->json, "params"), frame);
	else if (mine && cJSON_IsNumber(id) && id->valuedouble == call->id && result)
		call_take_result(call, result, frame);
	else if (mine && error && ((cJSON_IsNumber(id) && id->valuedouble == call->id) || !id || cJSON_IsNull(id)))
		call_take_error(call, error);
	wire_frame_fini(frame);
	return 0;
}

static void call_on_broken(void *arg, const struct wire_error *error, const cJSON *id)
{
	struct percept_connection *c = arg;
	(void)id;
	if (c->call && !c->call->done)
		call_end(c->call, client_fail(c->call->error, -EPROTO, "What answers on this socket does not speak the protocol: %s",
					      error->text));
}

const struct wire_reader_events client_reader_events = {
	.frame = call_on_frame, .broken = call_on_broken, .invalid = call_on_broken};

/* Sending. */

static int call_queue(struct percept_connection *c, double id, const char *method, cJSON *params, struct client_cargo *cargo)
{
	cJSON *json = wire_request(id, method, params);
	if (!json)
		return -ENOMEM;
	int r;
	if (cargo) {
		r = wire_writer_add(c->writer, json, cargo->tail, cargo->tail_bytes, cargo->fds, cargo->n_fds);
		if (r >= 0)
			cargo->n_fds = 0; /* the writer's now */
	} else {
		r = wire_writer_add(c->writer, json, NULL, 0, NULL, 0);
	}
	cJSON_Delete(json);
	return r < 0 ? r : 0;
}

static void call_ask_to_cancel(struct percept_connection *c, struct client_call *call)
{
	if (call->cancelled)
		return;
	call->cancelled = 1;
	if (call->events->cancelling)
		call->events->cancelling(call->events->arg);
	cJSON *params = cJSON_CreateObject();
	if (!params || !cJSON_AddNumberToObject(params, "request_id", call->id)) {
		cJSON_Delete(params);
		return;
	}
	call_queue(c, c->next_id++, "response.cancel", params, NULL);
}

static void call_wake_clear(struct percept_connection *c)
{
	uint64_t count;
	while (read(c->wake, &count, sizeof count) < 0 && errno == EINTR)
		;
}

/* The loop. */

static void call_send(struct percept_connection *c, struct client_call *call)
{
	if (call->deaf || wire_writer_pending(c->writer) == 0)
		return;
	ssize_t left = wire_writer_push(c->writer, c->socket);
	if (left == -EPIPE || left == -ECONNRESET)
		call->deaf = 1;
	else if (left < 0 && left != -EAGAIN && left != -EINTR)
		call_end(call, client_fail(call->error, (int)left, "The request could not be sent: %s.", strerror((int)-left)));
}

static void call_receive(struct percept_connection *c, struct client_call *call)
{
	while (!call->done) {
		ssize_t n = wire_reader_pull(c->reader, c->socket);
		if (n > 0 || n == -EINTR)
			continue;
		if (n == -EAGAIN || call->done)
			return;
		if (n == 0 || n == -ECONNRESET || n == -EPIPE)
			call_end(call, client_fail(call->error, -ECONNRESET,
						   "The daemon closed the connection before it had answered: its log says why."));
		else
			call_end(call, client_fail(call->error, (int)n, "The answer could not be read: %s.", strerror((int)-n)));
	}
}

static void call_wait(struct percept_connection *c, struct client_call *call)
{
	struct pollfd p[3] = {{.fd = c->socket, .events = POLLIN}, {.fd = -1, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
	if (!call->deaf && wire_writer_pending(c->writer) > 0)
		p[0].events |= POLLOUT;
	if (!call->cancelled) {
		p[1].fd = c->wake;
		p[2].fd = c->cancel_on;
	}
	const int asks = call->events->stopped && !call->cancelled;
	int64_t left = call->until_ms ? call->until_ms - call_now_ms() : -1;
	if (call->until_ms && left <= 0) {
		call_end(call, client_fail(call->error, -ETIMEDOUT, "The daemon did not answer in time."));
		return;
	}
	if (asks && (left < 0 || left > CALL_ASK_MS))
		left = CALL_ASK_MS;
	int r = poll(p, 3, left > INT32_MAX ? INT32_MAX : (int)left);
	if (asks && call->events->stopped(call->events->arg))
		call_ask_to_cancel(c, call);
	if (r < 0 && errno != EINTR)
		call_end(call, client_fail(call->error, -errno, "Waiting for the answer failed: %s.", strerror(errno)));
	if (r <= 0)
		return;
	if (p[1].revents || p[2].revents)
		call_ask_to_cancel(c, call);
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR))
		call_receive(c, call);
}

static int call_run(struct percept_connection *c, struct client_call *call)
{
	call_wake_clear(c);
	c->call = call;
	while (!call->done) {
		call_send(c, call);
		if (!call->done)
			call_wait(c, call);
	}
	c->call = NULL;
	return call->code;
}

static cJSON *call_params(const char *text, struct percept_error *error)
{
	if (!text)
		text = "{}";
	const char *why = "it is not an object";
	cJSON *params = wire_json_parse(text, strlen(text), &why);
	if (params && cJSON_IsObject(params))
		return params;
	cJSON_Delete(params);
	client_fail(error, WIRE_PARAMS, "The params are no JSON object: %s.", why);
	return NULL;
}

/* A copy of what a caller, maybe of an older or newer header, gave. */
static void call_copy(void *to, size_t to_size, const void *from, uint32_t from_size)
{
	memset(to, 0, to_size);
	if (from)
		memcpy(to, from, from_size < to_size ? from_size : to_size);
}

int percept_call(struct percept_connection *c, const struct percept_request *given, const struct percept_events *given_events,
		 struct percept_answer *answer, struct percept_error *error)
{
	struct percept_request request;
	struct percept_events events;
	struct percept_answer own = {0};
	struct client_cargo cargo;
	call_copy(&request, sizeof request, given, given->size);
	call_copy(&events, sizeof events, given_events, given_events ? given_events->size : 0);
	if (!request.method)
		return client_fail(error, -EINVAL, "The request names no method.");
	if (answer)
		memset(answer, 0, sizeof *answer);
	cJSON *params = call_params(request.params, error);
	if (!params)
		return WIRE_PARAMS;
	int r = client_cargo_load(&cargo, params, &request, error);
	if (r < 0) {
		cJSON_Delete(params);
		return r;
	}
	struct client_call call = {.id = c->next_id++, .events = &events, .answer = &own, .error = error};
	call.until_ms = request.timeout_ms ? call_now_ms() + request.timeout_ms : 0;
	r = call_queue(c, call.id, request.method, params, &cargo);
	client_cargo_fini(&cargo);
	if (r < 0)
		return client_fail(error, r, "The request could not be made: %s.", strerror(-r));
	r = call_run(c, &call);
	if (r == 0 && answer)
		*answer = own;
	else
		percept_answer_clear(&own);
	return r;
}

int percept_hello(struct percept_connection *c, const char *name, const char *version, struct percept_answer *answer,
		  struct percept_error *error)
{
	cJSON *params = cJSON_CreateObject();
	cJSON *protocol = cJSON_AddArrayToObject(params, "protocol");
	cJSON *client = cJSON_AddObjectToObject(params, "client");
	char *text = NULL;
	if (protocol && cJSON_AddItemToArray(protocol, cJSON_CreateNumber(1)) && client &&
	    cJSON_AddStringToObject(client, "name", name) && cJSON_AddStringToObject(client, "version", version))
		text = cJSON_PrintUnformatted(params);
	cJSON_Delete(params);
	if (!text)
		return client_fail(error, -ENOMEM, "%s", out_of_memory);
	struct percept_request request = {.size = sizeof request, .method = "hello", .params = text};
	int r = percept_call(c, &request, NULL, answer, error);
	free(text);
	return r;
}

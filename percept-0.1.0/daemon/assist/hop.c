/* hop.c - perceptd's end of the PP1 stream to one engine: calls out, their answers and notifications back. */
#include "daemon/assist/hop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hop {
	uv_poll_t poll;
	int socket;
	struct wire_reader *reader;
	struct wire_writer *writer;
	const struct hop_events *events;
	void *arg;
	double last_id;
	struct hop_call calls; /* the ring's head */
	unsigned n_calls;
	unsigned depth;        /* of hop_read; a hop is not freed under it */
	unsigned freed : 1, closed : 1;
};

static struct hop_call *hop_call_of(struct hop *hop, const cJSON *id)
{
	if (!cJSON_IsNumber(id))
		return NULL;
	for (struct hop_call *call = hop->calls.next; call != &hop->calls; call = call->next)
		if (call->id == id->valuedouble)
			return call;
	return NULL;
}

static void hop_unlink(struct hop *hop, struct hop_call *call)
{
	call->prev->next = call->next;
	call->next->prev = call->prev;
	call->next = call->prev = NULL;
	hop->n_calls--;
}

/* Answers a call; what the callback did not take is freed here. */
static void hop_reply_to(struct hop *hop, struct hop_call *call, struct hop_reply *reply)
{
	hop_unlink(hop, call);
	call->events->reply(call->arg, reply);
	cJSON_Delete(reply->result);
	wire_error_fini(&reply->error);
	free(reply->tail);
}

static void hop_read_error(const cJSON *error, struct wire_error *out)
{
	const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "code");
	const cJSON *text = cJSON_GetObjectItemCaseSensitive(error, "message");
	const cJSON *data = cJSON_GetObjectItemCaseSensitive(error, "data");

	wire_error_set(out, cJSON_IsNumber(code) && code->valueint < 0 ? code->valueint : WIRE_INTERNAL, "%s",
		       cJSON_IsString(text) ? text->valuestring : "The engine failed and did not say why.");
	if (data)
		out->data = cJSON_Duplicate(data, 1);
}

static void hop_on_notification(struct hop *hop, struct wire_frame *frame)
{
	const cJSON *method = cJSON_GetObjectItemCaseSensitive(frame->json, "method");
	const cJSON *params = cJSON_GetObjectItemCaseSensitive(frame->json, "params");
	struct hop_call *call;

	if (!cJSON_IsString(method))
		return;
	call = hop_call_of(hop, cJSON_GetObjectItemCaseSensitive(params, "request_id"));
	if (call && call->events->notify)
		call->events->notify(call->arg, method->valuestring, frame->json);
	else if (!call && hop->events->notify)
		hop->events->notify(hop->arg, method->valuestring, frame->json);
}

static int hop_on_frame(void *arg, struct wire_frame *frame)
{
	struct hop *hop = arg;
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(frame->json, "error");
	struct hop_call *call = hop_call_of(hop, cJSON_GetObjectItemCaseSensitive(frame->json, "id"));
	struct hop_reply reply = {0};

	if (cJSON_HasObjectItem(frame->json, "method")) {
		hop_on_notification(hop, frame);
	} else if (call) {
		if (error) {
			hop_read_error(error, &reply.error);
		} else {
			reply.result = cJSON_DetachItemFromObjectCaseSensitive(frame->json, "result");
			reply.tail = frame->tail;
			reply.tail_bytes = frame->tail_bytes;
			frame->tail = NULL;
		}
		if (!error && !reply.result)
			wire_error_set(&reply.error, WIRE_INTERNAL, "The engine's answer has no result.");
		hop_reply_to(hop, call, &reply);
	}
	wire_frame_fini(frame);
	return hop->freed;
}

static void hop_close(struct hop *hop, const char *why)
{
	if (hop->closed)
		return;
	hop->closed = 1;
	uv_poll_stop(&hop->poll);
	hop->events->closed(hop->arg, why);
}

static void hop_on_broken(void *arg, const struct wire_error *error, const cJSON *id)
{
	hop_close(arg, error->text);
}

static void hop_on_invalid(void *arg, const struct wire_error *error, const cJSON *id)
{
	hop_close(arg, error->text);
}

static const struct wire_reader_events hop_reader_events = {hop_on_frame, hop_on_broken, hop_on_invalid};

static void hop_on_poll(uv_poll_t *poll, int status, int events);

static void hop_want(struct hop *hop)
{
	int events = UV_READABLE | (wire_writer_pending(hop->writer) ? UV_WRITABLE : 0);

	if (!hop->closed && !hop->freed)
		uv_poll_start(&hop->poll, events, hop_on_poll);
}

static void hop_on_closed(uv_handle_t *handle)
{
	struct hop *hop = handle->data;

	close(hop->socket);
	wire_reader_free(hop->reader);
	wire_writer_free(hop->writer);
	free(hop);
}

/* Reads until nothing is there, or `turns` times. */
static void hop_read(struct hop *hop, unsigned turns)
{
	ssize_t n = -EAGAIN;

	hop->depth++;
	while (turns-- && !hop->freed && (n = wire_reader_pull(hop->reader, hop->socket)) > 0)
		;
	if (!hop->freed && n <= 0 && n != -EAGAIN && n != -EINTR)
		hop_close(hop, n == 0 ? "it hung up" : n == -EPROTO ? "it sent what is no frame" : strerror((int)-n));
	hop->depth--;
	if (hop->freed && !hop->depth)
		uv_close((uv_handle_t *)&hop->poll, hop_on_closed);
}

static void hop_on_poll(uv_poll_t *poll, int status, int events)
{
	struct hop *hop = poll->data;

	if (status == 0 && events & UV_WRITABLE) {
		/* A peer that is gone is noticed by the reading. */
		if (wire_writer_push(hop->writer, hop->socket) <= 0)
			hop_want(hop);
	}
	if (status < 0 || events & UV_READABLE)
		hop_read(hop, 8);
}

struct hop *hop_new(uv_loop_t *loop, int socket, const struct hop_events *events, void *arg)
{
	struct hop *hop = calloc(1, sizeof(*hop));

	if (!hop)
		return NULL;
	hop->socket = socket;
	hop->events = events;
	hop->arg = arg;
	hop->calls.next = hop->calls.prev = &hop->calls;
	hop->reader = wire_reader_new(&wire_engine_limits, &hop_reader_events, hop);
	hop->writer = wire_writer_new();
	if (!hop->reader || !hop->writer || uv_poll_init(loop, &hop->poll, socket)) {
		wire_reader_free(hop->reader);
		wire_writer_free(hop->writer);
		free(hop);
		return NULL;
	}
	hop->poll.data = hop;
	hop_want(hop);
	return hop;
}

void hop_free(struct hop *hop)
{
	if (!hop || hop->freed)
		return;
	hop->freed = 1;
	while (hop->calls.next != &hop->calls)
		hop_unlink(hop, hop->calls.next);
	uv_poll_stop(&hop->poll);
	if (!hop->depth)
		uv_close((uv_handle_t *)&hop->poll, hop_on_closed);
}

int hop_send(struct hop *hop, struct hop_call *call, const char *method, cJSON *params, const int *fds, unsigned n_fds)
{
	cJSON *json;
	int err = -ENOMEM;

	call->id = ++hop->last_id;
	json = wire_request(call->id, method, params);
	if (!json || hop->closed) {
		for (unsigned i = 0; i < n_fds; i++)
			close(fds[i]);
		cJSON_Delete(json);
		return hop->closed ? -EPIPE : -ENOMEM;
	}
	err = wire_writer_add(hop->writer, json, NULL, 0, fds, n_fds);
	cJSON_Delete(json);
	if (err)
		return err;
	call->prev = hop->calls.prev;
	call->next = &hop->calls;
	call->prev->next = call->next->prev = call;
	hop->n_calls++;
	wire_writer_push(hop->writer, hop->socket);
	hop_want(hop);
	return 0;
}

void hop_finish(struct hop *hop)
{
	if (!hop->closed)
		hop_read(hop, 1024);
}

void hop_fail(struct hop *hop, const struct wire_error *error)
{
	while (hop->calls.next != &hop->calls) {
		struct hop_reply reply = {0};

		wire_error_set(&reply.error, error->code, "%s", error->text);
		if (error->data)
			reply.error.data = cJSON_Duplicate(error->data, 1);
		hop_reply_to(hop, hop->calls.next, &reply);
	}
}

unsigned hop_calls(const struct hop *hop)
{
	return hop->n_calls;
}

/* method-response.c - response.create, embedding.create, token.count, image.look: requests that an assistant works on. */
/*
 * Who ends a request early: while it is queued or its media are decoded, perceptd does (a deadline is -32009, as there is no
 * text yet; a cancellation gives a result without text); from then on its engine does (a deadline gives "incomplete", a
 * cancellation "cancelled", each with the text so far).
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/serve/references.h"
#include "daemon/serve/router.h"
#include "daemon/serve/server.h"

/* A stage of perceptd's own. */
static void response_on_stage(void *arg, const char *stage)
{
	cJSON *params = cJSON_CreateObject();

	cJSON_AddStringToObject(params, "stage", stage);
	request_notify(arg, "response.in_progress", params);
}

/* The engine's own "created" and ids are replaced: the client has had the one, and knows others. */
static void response_on_notify(void *arg, const char *method, cJSON *frame)
{
	struct request *request = arg;
	cJSON *params;

	if (!request->stream || !strcmp(method, "response.created"))
		return;
	params = cJSON_DetachItemFromObjectCaseSensitive(frame, "params");
	if (!strcmp(method, "response.output_text.delta"))
		request_notify_delta(request, params);
	else
		request_notify(request, method, params);
}

static void response_on_done(void *arg, struct hop_reply *reply)
{
	struct request *request = arg;
	struct server *server = request->server;
	cJSON *result = reply->result;

	reply->result = NULL;
	if (result)
		request_answer_tail(request, result, reply->tail, reply->tail_bytes);
	else
		request_fail(request, &reply->error);
	server_freed_some(server);
}

static const struct job_events response_events = {response_on_stage, response_on_notify, response_on_done};

static int response_make_id(char id[32])
{
	unsigned long long number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -1;
	snprintf(id, 32, "r_%016llx", number);
	return 0;
}

/* Everything that can be refused is looked at here: 0, or a code in *error. */
static int response_prepare(struct request *request, struct wire_frame *frame, struct assistant **assistant, struct job *job,
			    struct wire_error *error)
{
	const cJSON *params = wire_frame_params(frame);
	const char *name = wire_param_string(params, "assistant", "default");

	*assistant = assist_named(&request->server->assist, name);
	if (!*assistant)
		return wire_error_set(error, WIRE_NOT_FOUND, "There is no assistant \"%.100s\"; assistant.list tells which there are.",
				      name);
	job->deadline_ms = (uint64_t)wire_param_int(params, "deadline_ms", 0);
	job->params = cJSON_DetachItemFromObjectCaseSensitive(frame->json, "params");
	if (response_make_id(job->response_id))
		return wire_error_set(error, WIRE_INTERNAL, "The kernel has no random numbers.");
	if (assistant_refuses(*assistant, error))
		return error->code;
	return references_resolve(job, request->connection, frame, error);
}

static void response_run(struct request *request, struct wire_frame *frame, const char *method)
{
	struct job *job = job_new(method, &response_events, request);
	struct assistant *assistant;
	struct wire_error error = {0};

	if (!job) {
		wire_error_set(&error, WIRE_INTERNAL, "There is not enough memory for the request.");
		request_fail(request, &error);
		return;
	}
	if (response_prepare(request, frame, &assistant, job, &error)) {
		job_free(job);
		request_fail(request, &error);
		return;
	}
	request->job = job;
	request->stream = !strcmp(method, "response.create") && wire_param_bool(job->params, "stream", 1);
	if (request->stream)
		request_notify(request, "response.created", cJSON_CreateObject());
	/* From here on the job ends by response_on_done, maybe at once. */
	assistant_submit(assistant, job);
}

void method_response_create(struct request *request, struct wire_frame *frame)
{
	response_run(request, frame, "response.create");
}

void method_embedding_create(struct request *request, struct wire_frame *frame)
{
	response_run(request, frame, "embedding.create");
}

void method_image_look(struct request *request, struct wire_frame *frame)
{
	response_run(request, frame, "image.look");
}

void method_token_count(struct request *request, struct wire_frame *frame)
{
	response_run(request, frame, "token.count");
}

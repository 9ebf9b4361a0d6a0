/* request.c - one request: made from its frame, ended in its result. */
#include "daemon/engine/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/look.h"
#include "daemon/engine/pipeline.h"
#include "sdk/wire/schema.h"

int request_stopped(void *arg)
{
	struct request *request = arg;

	return atomic_load_explicit(&request->stop, memory_order_relaxed) != REQUEST_RUNS;
}

/* What perceptd says of the time before and of the deadline. */
static void request_read_hop(struct request *request, const cJSON *hop)
{
	const char *id = wire_param_string(hop, "response_id", "r_0");
	double deadline = wire_param_number(hop, "deadline_ms", wire_param_number(request->params, "deadline_ms", 0));

	memcpy(request->response_id, id, strnlen(id, sizeof(request->response_id) - 1));
	request->times.before = wire_param_number(hop, "total_ms", 0);
	request->times.queue = wire_param_number(hop, "queue_ms", 0);
	request->times.media = wire_param_number(hop, "media_ms", 0);
	if (deadline > 0)
		request->deadline = clock_now_ms() + deadline;
}

int request_new(struct engine *engine, enum request_kind kind, struct wire_frame *frame, struct request **out,
		struct wire_error *error)
{
	struct request *request = calloc(1, sizeof(*request));
	cJSON *hop;

	*out = NULL;
	if (!request)
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	list_init(&request->node);
	list_init(&request->wait);
	request->engine = engine;
	request->kind = kind;
	request->id = cJSON_DetachItemFromObjectCaseSensitive(frame->json, "id");
	request->params = cJSON_DetachItemFromObjectCaseSensitive(frame->json, "params");
	if (!request->params)
		request->params = cJSON_CreateObject();
	hop = cJSON_DetachItemFromObjectCaseSensitive(request->params, "hop");
	request_read_hop(request, hop);
	int r = request_read_params(request, error);

	if (r == 0)
		r = request_read_items(request, frame, hop, error);
	cJSON_Delete(hop);
	if (r == 0) {
		*out = request;
		return 0;
	}
	/* The id is needed for the answer. */
	cJSON_AddItemToObject(frame->json, "id", request->id);
	request->id = NULL;
	request_free(request);
	return r;
}

void request_free(struct request *request)
{
	for (size_t i = 0; i < request->n_items; i++)
		stage_media_end(&request->items[i]);
	free(request->items);
	embeddings_fini(&request->made);
	prompt_fini(&request->prompt);
	rows_fini(&request->rows);
	wire_error_fini(&request->error);
	cJSON_Delete(request->id);
	cJSON_Delete(request->params);
	cJSON_Delete(request->logprobs);
	cJSON_Delete(request->by_item);
	free(request->bias);
	free(request->instruction);
	free(request->tokens);
	free(request->text);
	look_free(request->look);
	free(request->vector);
	free(request);
}

/* Which way the item came into the prompt, and how sure an expert was. */
static void request_add_via(const struct request *request, const struct item *item, cJSON *to)
{
	const struct lane *lane = &request->engine->assembly.lanes[item->lane];
	const struct embeddings *e = item->entry ? &item->entry->embeddings : NULL;

	cJSON_AddStringToObject(to, "via", !lane->expert ? "connector" : lane->connector ? "connector+expert" : "expert");
	if (e && e->told && e->confidence >= 0)
		cJSON_AddNumberToObject(to, "confidence", (double)(int)(e->confidence * 1000 + 0.5f) / 1000);
}

static cJSON *request_usage(const struct request *request)
{
	cJSON *usage = cJSON_CreateObject();

	cJSON_AddNumberToObject(usage, "input_tokens", rows_asked(&request->rows));
	cJSON_AddNumberToObject(usage, "cached_tokens", request->cached_rows);
	cJSON_AddNumberToObject(usage, "output_tokens", request->n_tokens);
	cJSON *media = cJSON_AddArrayToObject(usage, "media");

	for (size_t i = 0; i < request->n_items; i++) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "type", text_media_names[request->items[i].lane]);
		cJSON_AddNumberToObject(item, "tokens", request->items[i].rows);
		cJSON_AddBoolToObject(item, "encoder_cached", request->items[i].cached);
		request_add_via(request, &request->items[i], item);
		cJSON_AddItemToArray(media, item);
	}
	return usage;
}

/* Rounded to microseconds. */
static void request_add_ms(cJSON *timings, const char *name, double ms)
{
	cJSON_AddNumberToObject(timings, name, ms > 0 ? (double)(uint64_t)(ms * 1000 + 0.5) / 1000 : 0);
}

static cJSON *request_timings(const struct request *request)
{
	const struct request_times *t = &request->times;
	cJSON *timings = cJSON_CreateObject();

	request_add_ms(timings, "queue_ms", t->queue);
	request_add_ms(timings, "media_ms", t->media);
	request_add_ms(timings, "encode_ms", t->encode);
	request_add_ms(timings, "connect_ms", t->connect);
	request_add_ms(timings, "prefill_ms", t->prefill);
	request_add_ms(timings, "first_token_ms", t->first_token);
	request_add_ms(timings, "decode_ms", t->decode);
	request_add_ms(timings, "total_ms", t->before + clock_now_ms() - t->arrived);
	return timings;
}

/* {type, role, content:[{type, text}]} */
static cJSON *request_message(const char *text)
{
	cJSON *message = cJSON_CreateObject(), *content, *part = cJSON_CreateObject();

	cJSON_AddStringToObject(message, "type", "message");
	cJSON_AddStringToObject(message, "role", "assistant");
	content = cJSON_AddArrayToObject(message, "content");
	cJSON_AddStringToObject(part, "type", "output_text");
	cJSON_AddStringToObject(part, "text", text);
	cJSON_AddItemToArray(content, part);
	return message;
}

static const struct {
	const char *finish, *status;
} request_statuses[] = {
	{"stop", "completed"}, {"length", "incomplete"}, {"deadline", "incomplete"}, {"cancelled", "cancelled"},
};

cJSON *request_result(const struct request *request)
{
	const char *finish = request->finish ? request->finish
			     : atomic_load(&request->stop) == REQUEST_LATE ? "deadline" : "cancelled";
	const char *text = request->text ? request->text : "";
	cJSON *result = cJSON_CreateObject();

	cJSON_AddStringToObject(result, "response_id", request->response_id);
	for (size_t i = 0; i < sizeof(request_statuses) / sizeof(request_statuses[0]); i++)
		if (strcmp(request_statuses[i].finish, finish) == 0)
			cJSON_AddStringToObject(result, "status", request_statuses[i].status);
	cJSON_AddStringToObject(result, "finish_reason", finish);
	cJSON_AddItemToArray(cJSON_AddArrayToObject(result, "output"), request_message(text));
	cJSON_AddStringToObject(result, "output_text", text);
	cJSON_AddItemToObject(result, "usage", request_usage(request));
	cJSON_AddItemToObject(result, "timings", request_timings(request));
	if (request->return_tokens)
		cJSON_AddItemToObject(result, "tokens", cJSON_CreateIntArray(request->tokens, (int)request->n_tokens));
	if (request->top_logprobs)
		cJSON_AddItemToObject(result, "logprobs",
				      request->logprobs ? cJSON_Duplicate(request->logprobs, 1) : cJSON_CreateArray());
	return result;
}

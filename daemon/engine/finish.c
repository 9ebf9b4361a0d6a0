/* finish.c - the end of a request: its one answer. */
#include "daemon/engine/engine.h"

#include <stdlib.h>

#include "daemon/engine/look.h"
#include "daemon/engine/pipeline.h"

static void engine_answer_embedding(struct engine *engine, const struct request *request)
{
	static const char *const spaces[] = {"encoder", "connector", "text"};
	cJSON *result = cJSON_CreateObject(), *shape = cJSON_AddArrayToObject(result, "shape");
	size_t n = 1;

	for (uint32_t i = 0; i < request->rank; i++) {
		cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)request->shape[i]));
		n *= request->shape[i];
	}
	cJSON_AddStringToObject(result, "dtype", "f32");
	cJSON_AddStringToObject(result, "space", spaces[request->space]);
	engine_send(engine, wire_result(request->id, result), request->vector, n * sizeof(float));
}

static void engine_answer_look(struct engine *engine, struct request *request)
{
	void *tail;
	size_t bytes;
	cJSON *result = look_result(request, &tail, &bytes);

	if (!result) {
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
		engine_send_error(engine, request->id, &request->error);
		return;
	}
	engine_send(engine, wire_result(request->id, result), tail, bytes);
	free(tail);
}

static void engine_answer(struct engine *engine, struct request *request)
{
	int why = atomic_load(&request->stop);

	if (!request->error.code && why == REQUEST_LATE && request->n_tokens == 0 && !request->vector)
		wire_error_set(&request->error, WIRE_DEADLINE, "The deadline passed before the answer began.");
	if (request->error.code) {
		engine_send_error(engine, request->id, &request->error);
	} else if (request->kind == REQUEST_RESPONSE) {
		engine_send_result(engine, request->id, request_result(request));
	} else if (why != REQUEST_RUNS) {
		cJSON *result = cJSON_CreateObject();

		cJSON_AddStringToObject(result, "status", "cancelled");
		engine_send_result(engine, request->id, result);
	} else if (request->kind == REQUEST_COUNT) {
		cJSON *result = cJSON_CreateObject();

		cJSON_AddNumberToObject(result, "tokens", rows_asked(&request->rows));
		cJSON_AddItemToObject(result, "by_item", request->by_item ? request->by_item : cJSON_CreateArray());
		request->by_item = NULL;
		engine_send_result(engine, request->id, result);
	} else if (request->kind == REQUEST_LOOK) {
		engine_answer_look(engine, request);
	} else {
		engine_answer_embedding(engine, request);
	}
}

void engine_finish(struct request *request)
{
	struct engine *engine = request->engine;

	if (request->n_tokens || request->times.prefill > 0)
		engine_count(engine, STAGE_PREFILL, request->times.prefill);
	if (request->n_tokens)
		engine_count(engine, STAGE_DECODE, request->times.decode);
	engine_answer(engine, request);
	/* The answer tells of them. */
	for (size_t i = 0; i < request->n_items; i++)
		cache_release(&engine->cache, request->items[i].entry);
	list_remove(&request->node);
	engine->running--;
	request_free(request);
	if (engine->state == ENGINE_ENDING && engine->running == 0)
		engine_end(engine, engine->exit_code);
	by_hand_maybe_detach(engine);
}

/* engine-open.c - engine.open: from the resolved assistant to open parts, threads and a scheduler. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/scheduler.h"
#include "sdk/wire/schema.h"

#define OPEN_CHUNK 512 /* prompt rows a step, at most, if the assistant does not say */
#define OPEN_STALL_MS 200
#define OPEN_CACHE_BYTES ((double)(256u << 20))
#define OPEN_MAX_THREADS 1024

uint64_t engine_memory(const struct engine *engine)
{
	uint64_t bytes = engine->cache.bytes;
	size_t resident;

	if (uv_resident_set_memory(&resident) == 0)
		return resident;
	if (engine->scheduler)
		bytes += assembly_weight_bytes(&engine->assembly) + scheduler_bytes(engine->scheduler);
	return bytes;
}

static uint32_t open_number(const cJSON *params, const char *name, uint32_t fallback, uint32_t max)
{
	double x = wire_param_number(params, name, 0);

	return x >= 1 && x <= max ? (uint32_t)x : fallback;
}

static int open_stopped(void *arg)
{
	const struct engine *engine = arg;

	return __atomic_load_n(&engine->state, __ATOMIC_RELAXED) == ENGINE_ENDING;
}

static void open_run(struct worker_job *job)
{
	struct engine *engine = list_entry(job, struct engine, opening_job);
	const cJSON *params = engine->opening;
	uint32_t threads = open_number(params, "threads", worker_processors(), OPEN_MAX_THREADS);
	struct wire_error *error = &engine->opening_error;
	struct call call;

	engine->decode_pool = nn_pool_new(threads);
	engine->encode_pool = nn_pool_new(open_number(params, "encode_threads", threads, OPEN_MAX_THREADS));
	if (!engine->decode_pool || !engine->encode_pool || call_init(&call, engine->decode_pool, 0)) {
		wire_error_set(error, WIRE_INTERNAL, "Memory or threads are out.");
		return;
	}
	call.stopped = open_stopped;
	call.arg = engine;
	if (features_open(&engine->features, wire_param_string(params, "features", "auto"),
			  (uint64_t)wire_param_number(params, "features_bytes", 0), error) == 0 &&
	    assembly_open(&engine->assembly, params, engine->program, &call, error) == 0) {
		engine->assembly.pulses = &engine->pulses;
		/* Who has no decoder makes embeddings only. */
		if (engine->assembly.decoder)
			engine->scheduler = scheduler_new(&engine->assembly, engine->decode_pool,
							  open_number(params, "prefill_chunk", OPEN_CHUNK, 65536),
							  open_number(params, "stall_ms", OPEN_STALL_MS, 3600000));
		if (engine->assembly.decoder && !engine->scheduler) {
			assembly_close(&engine->assembly);
			wire_error_set(error, WIRE_INTERNAL, "Memory or threads are out.");
		}
	}
	call_fini(&call);
}

static void open_done(struct worker_job *job)
{
	struct engine *engine = list_entry(job, struct engine, opening_job);
	const cJSON *params = engine->opening;
	cJSON *result;

	engine->scanning--;
	if (engine->state == ENGINE_ENDING)
		return;
	if (!engine->opening_error.code) {
		engine->text_worker = worker_new(engine->loop, 1, "text");
		engine->encode_worker = worker_new(engine->loop, 2, "encode");
		if (!engine->text_worker || !engine->encode_worker)
			wire_error_set(&engine->opening_error, WIRE_INTERNAL, "Memory or threads are out.");
	}
	if (engine->opening_error.code) {
		log_error("open", "error=\"%s\"", engine->opening_error.text);
		if (engine->opening_id)
			engine_send_error(engine, engine->opening_id, &engine->opening_error);
		else
			fprintf(stderr, "percept-engine: %s\n", engine->opening_error.text);
		engine_end(engine, 1);
		return;
	}
	engine->cache.budget = (size_t)wire_param_number(params, "cache_bytes", OPEN_CACHE_BYTES);
	engine->state = ENGINE_READY;
	result = assembly_describe(&engine->assembly);
	cJSON_AddNumberToObject(result, "memory_bytes", (double)engine_memory(engine));
	log_info("ready", "assistant=%s memory_bytes=%llu", engine->assembly.name, (unsigned long long)engine_memory(engine));
	engine_send_result(engine, engine->opening_id, result);
	by_hand_ready(engine);
}

void engine_open(struct engine *engine, struct wire_frame *frame)
{
	struct wire_error error = {0};

	if (engine->state != ENGINE_IDLE || engine->scan_only) {
		wire_error_set(&error, WIRE_INVALID, engine->scan_only ? "This engine only lists plugins (--scan)."
								       : "This engine has an assistant already.");
		engine_send_error(engine, wire_frame_id(frame), &error);
		return;
	}
	engine->opening_id = cJSON_DetachItemFromObjectCaseSensitive(frame->json, "id");
	engine_open_assistant(engine, cJSON_DetachItemFromObjectCaseSensitive(frame->json, "params"));
}

void engine_open_assistant(struct engine *engine, cJSON *assistant)
{
	engine->state = ENGINE_OPENING;
	engine->opening = assistant;
	engine->opening_job = (struct worker_job){.run = open_run, .done = open_done};
	engine->scanning++;
	worker_submit(engine->scan_worker, &engine->opening_job);
}

void engine_open_fini(struct engine *engine)
{
	/* A failed assembly_open() left nothing. */
	if (engine->assembly.parts)
		assembly_close(&engine->assembly);
	features_close(&engine->features);
	nn_pool_free(engine->decode_pool);
	nn_pool_free(engine->encode_pool);
	wire_error_fini(&engine->opening_error);
	cJSON_Delete(engine->opening);
	cJSON_Delete(engine->opening_id);
}

/* pipeline.c - a request's way from the frame to the scheduler. The loop passes it from worker to worker; nobody else has it. */
#include "daemon/engine/pipeline.h"

#include <errno.h>

#include "daemon/base/clock.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/look.h"
#include "daemon/engine/scheduler.h"

static void pipeline_item(struct request *request);

struct request *pipeline_request(struct worker_job *job)
{
	return list_entry(job, struct request, job);
}

static void pipeline_done(struct worker_job *job)
{
	struct request *request = pipeline_request(job);

	request->where = REQUEST_ON_LOOP;
	/* The job's news go out before what follows from it. */
	if (request->engine->state != ENGINE_ENDING)
		postbox_flush(request->engine->postbox);
	request->next(request);
}

void pipeline_submit(struct request *request, struct worker *worker, void (*run)(struct worker_job *job),
		     void (*next)(struct request *request))
{
	request->job = (struct worker_job){.run = run, .done = pipeline_done};
	request->next = next;
	request->where = REQUEST_IN_JOB;
	worker_submit(worker, &request->job);
}

static void pipeline_show_progress(void *arg, uint64_t done, uint64_t total)
{
	struct request *request = arg;

	engine_progress(request, request->stage, (int)request->next_item, done, total);
}

int pipeline_call(struct request *request, struct call *call, struct nn_pool *pool)
{
	if (call_init(call, pool, 0))
		return -ENOMEM;
	call->stopped = request_stopped;
	call->progress = pipeline_show_progress;
	call->arg = request;
	call_watch(call, request->engine->assembly.pulses);
	return 0;
}

/* Runs one stage over the item at hand. */
static void pipeline_run_stage(struct request *request, const struct stage *stage)
{
	struct call call;

	if (pipeline_call(request, &call, request->engine->encode_pool)) {
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
		return;
	}
	int r = request_stopped(request) ? 0
					  : stage->run(request, &request->items[request->next_item], &call, &request->error);

	if (r == -ENOTSUP)
		request->unplanned = 1;
	if (r == -ECANCELED && !request_stopped(request))
		call_broken(&call, &request->error, "it says it was cancelled, but it was not");
	if (request->error.code && request->error.code != WIRE_PLUGIN)
		wire_error_number(&request->error, "item", (double)request->next_item);
	call_fini(&call);
}

/* ---- prompt and rows ---- */

static void pipeline_prompt_run(struct worker_job *job)
{
	struct request *request = pipeline_request(job);
	struct engine *engine = request->engine;
	double start = clock_now_ms();
	struct call call;

	request->times.queue += start - request->times.arrived;
	if (pipeline_call(request, &call, NULL)) {
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
		return;
	}
	int r = prompt_build(&request->prompt, &engine->assembly, &call, request->params, request->n_items, &request->error);

	if (r == 0 && request->n_items == 0)
		r = rows_build(request, &call, &request->error);
	if (r == 0 && request->n_items == 0 && request->kind == REQUEST_COUNT)
		rows_count_items(request, &call, &request->error);
	call_fini(&call);
	request->times.prompt = clock_now_ms() - start;
}

static void pipeline_rows_run(struct worker_job *job)
{
	struct request *request = pipeline_request(job);
	struct call call;

	if (pipeline_call(request, &call, NULL)) {
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
		return;
	}
	int r = rows_build(request, &call, &request->error);

	if (r == 0 && request->kind == REQUEST_COUNT)
		rows_count_items(request, &call, &request->error);
	if (r == 0 && request->look)
		look_prepare(request, &call, &request->error);
	call_fini(&call);
}

static int pipeline_is_over(struct request *request)
{
	return request->error.code || request_stopped(request);
}

/* The rows are there. */
static void pipeline_ready(struct request *request)
{
	if (pipeline_is_over(request) || request->kind == REQUEST_COUNT) {
		engine_finish(request);
		return;
	}
	request->where = REQUEST_IN_SCHEDULER;
	scheduler_submit(request->engine->scheduler, request);
}

static void pipeline_prompted(struct request *request)
{
	engine_count(request->engine, STAGE_PROMPT, request->times.prompt);
	if (pipeline_is_over(request))
		engine_finish(request);
	else if (request->n_items == 0)
		pipeline_ready(request);
	else
		pipeline_item(request);
}

/* ---- media items ---- */

static const struct stage stages[] = {
	{"media", stage_media},
	{"encode", stage_encode},
	{"plan", stage_plan},
	{"encode", stage_features},
};
enum { PIPELINE_MEDIA, PIPELINE_ENCODE, PIPELINE_PLAN, PIPELINE_FEATURES };

static void pipeline_media_run(struct worker_job *job)
{
	struct request *request = pipeline_request(job);
	double start = clock_now_ms();

	pipeline_run_stage(request, &stages[PIPELINE_MEDIA]);
	request->times.media += clock_now_ms() - start;
}

static void pipeline_encode_run(struct worker_job *job)
{
	pipeline_run_stage(pipeline_request(job), &stages[PIPELINE_ENCODE]);
}

static void pipeline_plan_run(struct worker_job *job)
{
	pipeline_run_stage(pipeline_request(job), &stages[PIPELINE_PLAN]);
}

static void pipeline_features_run(struct worker_job *job)
{
	pipeline_run_stage(pipeline_request(job), &stages[PIPELINE_FEATURES]);
}

static void pipeline_mapped(struct request *request);

/* What was taken over from another assistant is no encode. */
static void pipeline_count_encode(struct request *request)
{
	if (!request->items[request->next_item].cached)
		engine_count(request->engine, STAGE_ENCODE, request->times.encode_item);
}

static void pipeline_next_item(struct request *request)
{
	stage_media_end(&request->items[request->next_item]);
	request->next_item++;
	pipeline_item(request);
}

/* Those who waited for an entry go on with it, or, if nothing came of it, try themselves. */
static void pipeline_wake(struct engine *engine, struct cache_entry *entry)
{
	struct list waiters, *node;

	list_init(&waiters);
	list_move(&waiters, &entry->waiters);
	while ((node = list_pop(&waiters))) {
		struct request *request = list_entry(node, struct request, wait);
		struct item *item = &request->items[request->next_item];

		request->where = REQUEST_ON_LOOP;
		if (entry->state != CACHE_FILLING && (entry->embeddings.n_pieces || entry->embeddings.told)) {
			item->cached = 1;
			pipeline_next_item(request);
			continue;
		}
		item->entry = NULL;
		cache_release(&engine->cache, entry);
		pipeline_mapped(request);
	}
}

static void pipeline_encoded(struct request *request)
{
	struct engine *engine = request->engine;
	struct item *item = &request->items[request->next_item];
	struct cache_entry *entry = item->entry;
	int ok = !pipeline_is_over(request);

	request->filling = NULL;
	if (ok)
		cache_fill(&engine->cache, entry, &request->made);
	else
		cache_abandon(&engine->cache, entry);
	pipeline_count_encode(request);
	engine_count(engine, STAGE_CONNECT, request->times.connect_item);
	/* Whoever wakes may end and release: this request's own hold keeps the entry. */
	pipeline_wake(engine, entry);
	if (ok)
		pipeline_next_item(request);
	else
		engine_finish(request);
}

static void pipeline_planned(struct request *request)
{
	if (pipeline_is_over(request)) {
		engine_finish(request);
		return;
	}
	if (request->unplanned) {
		request->kind_plans = 0;
		pipeline_mapped(request);
		return;
	}
	request->items[request->next_item].entry = cache_private(&request->made);
	if (!request->items[request->next_item].entry)
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
	if (pipeline_is_over(request))
		engine_finish(request);
	else
		pipeline_next_item(request);
}

/* Who looks has the work done anew, and keeps what comes of it to himself. */
static void pipeline_looked(struct request *request)
{
	struct item *item = &request->items[request->next_item];

	pipeline_count_encode(request);
	if (!pipeline_is_over(request)) {
		item->entry = cache_private(&request->made);
		if (!item->entry)
			wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
	}
	if (pipeline_is_over(request))
		engine_finish(request);
	else
		pipeline_next_item(request);
}

static void pipeline_featured(struct request *request)
{
	pipeline_count_encode(request);
	engine_finish(request);
}

static void pipeline_mapped(struct request *request)
{
	struct engine *engine = request->engine;
	struct item *item = &request->items[request->next_item];
	int mine;

	if (pipeline_is_over(request)) {
		engine_finish(request);
		return;
	}
	if (request->kind_plans) {
		pipeline_submit(request, engine->encode_worker, pipeline_plan_run, pipeline_planned);
		return;
	}
	if (request->kind == REQUEST_EMBEDDING && request->space == REQUEST_ENCODER) {
		pipeline_submit(request, engine->encode_worker, pipeline_features_run, pipeline_featured);
		return;
	}
	if (request->kind == REQUEST_LOOK) {
		pipeline_submit(request, engine->encode_worker, pipeline_encode_run, pipeline_looked);
		return;
	}
	item->entry = cache_get(&engine->cache, item->key, &mine);
	if (!item->entry) {
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
		engine_finish(request);
	} else if (mine) {
		request->filling = item->entry;
		pipeline_submit(request, engine->encode_worker, pipeline_encode_run, pipeline_encoded);
	} else if (item->entry->state == CACHE_READY) {
		item->cached = 1;
		pipeline_next_item(request);
	} else {
		request->where = REQUEST_PARKED;
		list_add(&item->entry->waiters, &request->wait);
	}
}

static void pipeline_hashed(struct request *request)
{
	engine_count(request->engine, STAGE_MEDIA, request->times.media);
	pipeline_mapped(request);
}

static void pipeline_item(struct request *request)
{
	if (pipeline_is_over(request))
		engine_finish(request);
	else if (request->next_item < request->n_items)
		pipeline_submit(request, request->engine->encode_worker, pipeline_media_run, pipeline_hashed);
	else if (request->kind == REQUEST_EMBEDDING)
		embed_finish(request);
	else if (request->mute)
		engine_finish(request);
	else
		pipeline_submit(request, request->engine->text_worker, pipeline_rows_run, pipeline_ready);
}

/* ---- from outside ---- */

void pipeline_start(struct request *request)
{
	request->times.arrived = clock_now_ms();
	request->kind_plans = request->kind == REQUEST_COUNT;
	if (request->mute)
		pipeline_item(request);
	else if (request->kind != REQUEST_EMBEDDING)
		pipeline_submit(request, request->engine->text_worker, pipeline_prompt_run, pipeline_prompted);
	else if (request->space == REQUEST_TEXT || request->n_items == 0)
		embed_text(request);
	else
		pipeline_item(request);
}

void pipeline_stop(struct request *request, enum request_stop why)
{
	int running = REQUEST_RUNS;

	/* The first reason counts. */
	if (!atomic_compare_exchange_strong(&request->stop, &running, why))
		return;
	switch (request->where) {
	case REQUEST_IN_JOB:
		if (worker_withdraw(&request->job))
			pipeline_done(&request->job);
		break;
	case REQUEST_PARKED:
		list_remove(&request->wait);
		engine_finish(request);
		break;
	case REQUEST_IN_SCHEDULER:
		scheduler_wake(request->engine->scheduler);
		break;
	case REQUEST_ON_LOOP:
		break;
	}
}

/* scheduler.c - the decode thread: takes requests in between steps, runs steps, sleeps when there is nothing to do. */
#include "daemon/engine/scheduler-impl.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/clock.h"

/* A call of the batch is cancelled once every stream in it is. */
static int scheduler_all_stopped(void *arg)
{
	struct scheduler *scheduler = arg;
	struct list *node, *after;

	list_each(node, after, &scheduler->streams) {
		struct stream *stream = list_entry(node, struct stream, node);

		if (stream->batch && !request_stopped(stream->request))
			return 0;
	}
	return 1;
}

/* Takes the inbox over; sleeps while there is neither news nor work. 0 when the thread shall end. */
static int scheduler_receive(struct scheduler *scheduler)
{
	int go_on;

	worker_gate_lock(&scheduler->gate);
	while (list_empty(&scheduler->inbox) && list_empty(&scheduler->streams) && list_empty(&scheduler->waiting) &&
	       !scheduler->ending)
		worker_gate_wait(&scheduler->gate);
	list_move(&scheduler->waiting, &scheduler->inbox);
	scheduler->woken = 0;
	go_on = !scheduler->ending;
	worker_gate_unlock(&scheduler->gate);
	return go_on || !list_empty(&scheduler->streams) || !list_empty(&scheduler->waiting);
}

/* Gives the waiting ones a sequence, first come first served. */
static void scheduler_admit(struct scheduler *scheduler)
{
	struct list *node, *after;

	list_each(node, after, &scheduler->waiting) {
		struct request *request = list_entry(node, struct request, wait);

		if (request_stopped(request) || request->error.code) {
			list_remove(&request->wait);
			engine_return(request);
			continue;
		}
		struct stream *stream = stream_new(scheduler, request);

		if (!stream && !request->error.code)
			return;
		list_remove(&request->wait);
		if (stream)
			list_add(&scheduler->streams, &stream->node);
		else
			engine_return(request);
	}
}

static void scheduler_end_stopped(struct scheduler *scheduler)
{
	struct list *node, *after;

	list_each(node, after, &scheduler->streams) {
		struct stream *stream = list_entry(node, struct stream, node);

		if (request_stopped(stream->request))
			stream_end(scheduler, stream, NULL);
	}
}

static void scheduler_main(void *arg)
{
	struct scheduler *scheduler = arg;

	while (scheduler_receive(scheduler)) {
		scheduler_end_stopped(scheduler);
		scheduler_admit(scheduler);
		if (scheduler_fill(scheduler))
			scheduler_run(scheduler);
	}
}

struct scheduler *scheduler_new(struct assembly *assembly, struct nn_pool *pool, uint32_t chunk, double stall_ms)
{
	struct scheduler *scheduler = calloc(1, sizeof(*scheduler));

	if (!scheduler)
		return NULL;
	list_init(&scheduler->inbox);
	list_init(&scheduler->waiting);
	list_init(&scheduler->streams);
	scheduler->assembly = assembly;
	scheduler->chunk = chunk;
	scheduler->stall = stall_ms;
	scheduler->n_sequences = assembly->max_sequences;
	scheduler->room = chunk + assembly->max_sequences;
	if (scheduler->room > assembly->info.max_batch)
		scheduler->room = assembly->info.max_batch;
	scheduler->size = scheduler->room;
	scheduler->sequences = calloc(scheduler->n_sequences, sizeof(*scheduler->sequences));
	scheduler->rows = calloc(scheduler->room, sizeof(*scheduler->rows));
	scheduler->owners = calloc(scheduler->room, sizeof(*scheduler->owners));
	if (!scheduler->sequences || !scheduler->rows || !scheduler->owners || call_init(&scheduler->call, pool, 0))
		goto fail;
	scheduler->call.stopped = scheduler_all_stopped;
	scheduler->call.arg = scheduler;
	if (worker_gate_init(&scheduler->gate))
		goto fail_call;
	if (worker_thread_start(&scheduler->thread, "decode", scheduler_main, scheduler))
		goto fail_gate;
	return scheduler;
fail_gate:
	worker_gate_fini(&scheduler->gate);
fail_call:
	call_fini(&scheduler->call);
fail:
	free(scheduler->sequences);
	free(scheduler->rows);
	free(scheduler->owners);
	free(scheduler);
	return NULL;
}

void scheduler_submit(struct scheduler *scheduler, struct request *request)
{
	request->times.submitted = clock_now_ms();
	worker_gate_lock(&scheduler->gate);
	list_add(&scheduler->inbox, &request->wait);
	worker_gate_wake(&scheduler->gate);
	worker_gate_unlock(&scheduler->gate);
}

void scheduler_wake(struct scheduler *scheduler)
{
	worker_gate_lock(&scheduler->gate);
	scheduler->woken = 1;
	worker_gate_wake(&scheduler->gate);
	worker_gate_unlock(&scheduler->gate);
}

void scheduler_free(struct scheduler *scheduler)
{
	if (!scheduler)
		return;
	worker_gate_lock(&scheduler->gate);
	scheduler->ending = 1;
	worker_gate_wake(&scheduler->gate);
	worker_gate_unlock(&scheduler->gate);
	worker_thread_join(&scheduler->thread);
	while (scheduler_evict(scheduler))
		;
	for (uint32_t i = 0; i < scheduler->n_sequences; i++)
		free(scheduler->sequences[i].keys);
	worker_gate_fini(&scheduler->gate);
	call_fini(&scheduler->call);
	sampler_scratch_fini(&scheduler->scratch);
	free(scheduler->sequences);
	free(scheduler->rows);
	free(scheduler->owners);
	free(scheduler);
}

uint64_t scheduler_bytes(const struct scheduler *scheduler)
{
	return atomic_load(&scheduler->bytes);
}

uint64_t scheduler_rows(const struct scheduler *scheduler)
{
	return atomic_load(&scheduler->held_rows);
}

/* engine.c - the engine's loop: the peer's socket, what is sent, deadlines, the end. */
#include "daemon/engine/engine.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/file.h"
#include "daemon/base/log.h"
#include "daemon/engine/lost.h"
#include "daemon/engine/pipeline.h"
#include "daemon/engine/scheduler.h"

/* What the engine has computed is worth nothing to a peer that is gone; a plugin that hangs may not keep it. */
#define ENGINE_END_MS 3000
#define ENGINE_PROGRESS_MS 100

const char *const engine_stage_names[STAGES] = {"prompt", "media", "encode", "connect", "prefill", "decode"};

void engine_count(struct engine *engine, enum engine_stage stage, double ms)
{
	engine->stages[stage].count++;
	engine->stages[stage].seconds += ms / 1000;
}

/* ---- sending ---- */

static void engine_flush(struct engine *engine)
{
	ssize_t left = wire_writer_push(engine->writer, engine->fd);

	if (left < 0 && engine->state != ENGINE_ENDING) {
		log_info("peer", "gone=write error=\"%s\"", strerror((int)-left));
		if (engine->listener >= 0)
			by_hand_gone(engine);
		else
			engine_end(engine, 0);
		return;
	}
	engine_poll_events(engine);
}

void engine_send(struct engine *engine, cJSON *message, const void *tail, size_t bytes)
{
	if (!message)
		log_error("send", "error=\"memory is out\"");
	else if (!engine->attached || engine->deaf)
		log_debug("send", "dropped=yes");
	else if (wire_writer_add(engine->writer, message, tail, bytes, NULL, 0))
		log_error("send", "error=\"the message could not be queued\"");
	cJSON_Delete(message);
	if (engine->attached && !engine->deaf)
		engine_flush(engine);
}

void engine_send_result(struct engine *engine, const cJSON *id, cJSON *result)
{
	if (id)
		engine_send(engine, wire_result(id, result), NULL, 0);
	else
		cJSON_Delete(result);
}

void engine_send_error(struct engine *engine, const cJSON *id, struct wire_error *error)
{
	engine_send(engine, wire_error_answer(id, error), NULL, 0);
	wire_error_fini(error);
}

/* ---- letters from the other threads ---- */

void engine_notify(struct request *request, const char *method, cJSON *params)
{
	struct request_letter *letter = malloc(sizeof(*letter));

	if (!letter || !cJSON_IsObject(params)) {
		free(letter);
		cJSON_Delete(params);
		return;
	}
	cJSON_AddItemToObject(params, "request_id", cJSON_Duplicate(request->id, 1));
	cJSON_AddStringToObject(params, "response_id", request->response_id);
	cJSON_AddNumberToObject(params, "sequence_number", request->sequence_number++);
	*letter = (struct request_letter){.message = wire_notification(method, params)};
	postbox_send(request->engine->postbox, &letter->post);
}

void engine_progress(struct request *request, const char *stage, int item, uint64_t done, uint64_t total)
{
	double now = clock_now_ms();

	if (!request->stream || (request->told_stage == stage && request->told_item == item &&
				 now - request->last_progress < ENGINE_PROGRESS_MS))
		return;
	request->told_stage = stage;
	request->told_item = item;
	request->last_progress = now;
	cJSON *params = cJSON_CreateObject();

	cJSON_AddStringToObject(params, "stage", stage);
	if (item >= 0)
		cJSON_AddNumberToObject(params, "item", item);
	if (total) {
		cJSON_AddNumberToObject(params, "done", (double)done);
		cJSON_AddNumberToObject(params, "total", (double)total);
	}
	engine_notify(request, "response.in_progress", params);
}

void engine_return(struct request *request)
{
	/* A letter that lies in the request, so that it cannot fail. */
	request->letter = (struct request_letter){.returned = request};
	postbox_send(request->engine->postbox, &request->letter.post);
}

static void engine_deliver(void *arg, struct post *post)
{
	struct engine *engine = arg;
	struct request_letter *letter = list_entry(post, struct request_letter, post);

	if (letter->returned) {
		letter->returned->where = REQUEST_ON_LOOP;
		engine_finish(letter->returned);
		return;
	}
	engine_send(engine, letter->message, NULL, 0);
	free(letter);
}

/* ---- reading ---- */

static int engine_on_frame(void *arg, struct wire_frame *frame)
{
	messages_take(arg, frame);
	wire_frame_fini(frame);
	return 0;
}

static void engine_on_broken(void *arg, const struct wire_error *error, const cJSON *id)
{
	struct engine *engine = arg;

	engine_send(engine, wire_error_answer(id, error), NULL, 0);
	log_error("peer", "broken=\"%s\"", error->text);
	if (engine->listener >= 0)
		by_hand_ended(engine);
	else
		engine_end(engine, 1);
}

static void engine_on_invalid(void *arg, const struct wire_error *error, const cJSON *id)
{
	engine_send(arg, wire_error_answer(id, error), NULL, 0);
}

static const struct wire_reader_events engine_events = {engine_on_frame, engine_on_broken, engine_on_invalid};

static void engine_on_poll(uv_poll_t *poll, int status, int events)
{
	struct engine *engine = poll->data;

	if (events & UV_WRITABLE)
		engine_flush(engine);
	if (status == 0 && !(events & (UV_READABLE | UV_DISCONNECT)))
		return;
	/* A few frames a turn, so that answers get out in between. */
	for (int i = 0; i < 16 && engine->state != ENGINE_ENDING && engine->attached && !engine->half_closed; i++) {
		ssize_t n = wire_reader_pull(engine->reader, engine->fd);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			if (engine->listener < 0)
				engine_end(engine, n == -EPROTO ? 1 : 0);
			else if (n == 0 || n == -EPROTO)
				by_hand_ended(engine);
			else
				by_hand_gone(engine);
			return;
		}
	}
}

void engine_poll_events(struct engine *engine)
{
	int events = (engine->half_closed ? 0 : UV_READABLE) | (wire_writer_pending(engine->writer) ? UV_WRITABLE : 0);

	if (engine->state == ENGINE_ENDING || !engine->attached || events == engine->polled) {
		by_hand_maybe_detach(engine);
		return;
	}
	engine->polled = events;
	if (events)
		uv_poll_start(&engine->poll, events, engine_on_poll);
	else
		uv_poll_stop(&engine->poll);
	by_hand_maybe_detach(engine);
}

int engine_attach(struct engine *engine, int fd)
{
	int r = file_set_nonblocking(fd);

	if (r == 0)
		r = uv_poll_init(engine->loop, &engine->poll, fd);
	if (r) {
		close(fd);
		return r;
	}
	engine->fd = fd;
	engine->poll.data = engine;
	engine->attached = 1;
	engine->polled = engine->half_closed = engine->deaf = 0;
	wire_reader_free(engine->reader);
	wire_writer_free(engine->writer);
	engine->reader = wire_reader_new(&wire_engine_limits, &engine_events, engine);
	engine->writer = wire_writer_new();
	if (!engine->reader || !engine->writer)
		return -ENOMEM;
	engine_poll_events(engine);
	return 0;
}

/* ---- the end ---- */

/* Nobody computes any more: the handles go, and with them the loop ends. */
static void engine_close(struct engine *engine)
{
	worker_free(engine->text_worker);
	worker_free(engine->encode_worker);
	worker_free(engine->scan_worker);
	scheduler_free(engine->scheduler);
	engine->text_worker = engine->encode_worker = engine->scan_worker = NULL;
	engine->scheduler = NULL;
	if (engine->postbox)
		postbox_close(engine->postbox);
	engine->postbox = NULL;
	if (engine->attached) {
		wire_writer_push(engine->writer, engine->fd);
		uv_close((uv_handle_t *)&engine->poll, NULL);
	}
	if (engine->listener >= 0)
		uv_close((uv_handle_t *)&engine->listener_poll, NULL);
	uv_close((uv_handle_t *)&engine->clock, NULL);
	if (engine->faults >= 0)
		uv_close((uv_handle_t *)&engine->faults_poll, NULL);
}

/* All requests are answered, or the time for that is over. */
static void engine_on_end(struct engine *engine)
{
	/* A plugin that hangs while it is opened, or looked at, is not waited for. */
	if (engine->running || engine->scanning) {
		log_warn("end", "forced=yes running=%u scanning=%u", engine->running, engine->scanning);
		_exit(engine->exit_code);
	}
	if (!engine->closing) {
		engine->closing = 1;
		engine_close(engine);
	}
}

/* ---- time ---- */

static void engine_on_clock(uv_timer_t *timer)
{
	struct engine *engine = timer->data;
	struct list *node, *after;
	double now = clock_now_ms();

	if (engine->state == ENGINE_ENDING) {
		engine_on_end(engine);
		return;
	}
	list_each(node, after, &engine->requests) {
		struct request *request = list_entry(node, struct request, node);

		if (request->deadline > 0 && now >= request->deadline && atomic_load(&request->stop) == REQUEST_RUNS)
			pipeline_stop(request, REQUEST_LATE);
	}
	engine_watch_deadlines(engine);
}

void engine_watch_deadlines(struct engine *engine)
{
	struct list *node, *after;
	double nearest = 0, left;

	list_each(node, after, &engine->requests) {
		const struct request *request = list_entry(node, struct request, node);

		if (request->deadline > 0 && atomic_load(&request->stop) == REQUEST_RUNS &&
		    (nearest == 0 || request->deadline < nearest))
			nearest = request->deadline;
	}
	left = nearest - clock_now_ms();
	uv_update_time(engine->loop);
	if (nearest > 0)
		uv_timer_start(&engine->clock, engine_on_clock, left > 0 ? (uint64_t)ceil(left) : 0, 0);
}

void engine_end(struct engine *engine, int exit_code)
{
	struct list *node, *after;

	if (engine->state != ENGINE_ENDING) {
		engine->state = ENGINE_ENDING;
		engine->exit_code = exit_code;
		if (engine->attached) {
			wire_writer_push(engine->writer, engine->fd);
			uv_poll_stop(&engine->poll);
		}
		uv_timer_start(&engine->clock, engine_on_clock, ENGINE_END_MS, 0);
		list_each(node, after, &engine->requests)
			pipeline_stop(list_entry(node, struct request, node), REQUEST_CANCELLED);
	}
	/* From a turn of its own: whoever called may be a worker's or the postbox's delivery. */
	if (engine->running == 0 && !engine->closing)
		uv_timer_start(&engine->clock, engine_on_clock, 0, 0);
}

static int engine_start(struct engine *engine, int fd)
{
	engine->loop = uv_default_loop();
	list_init(&engine->requests);
	cache_init(&engine->cache, 0);
	if (uv_timer_init(engine->loop, &engine->clock) ||
	    (engine->listener >= 0 && uv_poll_init(engine->loop, &engine->listener_poll, engine->listener)))
		return -EIO;
	engine->clock.data = engine->faults_poll.data = engine->listener_poll.data = engine;
	if (engine->faults >= 0 && (uv_poll_init(engine->loop, &engine->faults_poll, engine->faults) ||
				    uv_poll_start(&engine->faults_poll, UV_READABLE, last_words_on_fault)))
		return -EIO;
	engine->postbox = postbox_open(engine->loop, engine_deliver, engine);
	engine->scan_worker = worker_new(engine->loop, 1, "scan");
	if (!engine->postbox || !engine->scan_worker)
		return -ENOMEM;
	return fd >= 0 ? engine_attach(engine, fd) : 0;
}

int engine_run(const struct engine_setup *setup)
{
	struct engine engine = {.program = strdup(setup->program), .scan_only = setup->scan_only, .plugin_path = setup->plugin_path,
				.faults = lost_begin(), .fd = -1, .listener = setup->listener,
				.check = setup->fd < 0 && setup->listener < 0};
	int r = engine.program ? engine_start(&engine, setup->fd) : -ENOMEM;

	if (r == 0) {
		if (setup->assistant)
			engine_open_assistant(&engine, setup->assistant);
		uv_run(engine.loop, UV_RUN_DEFAULT);
		/* What is cached may be memory of the assistant's parts. */
		cache_fini(&engine.cache);
		engine_open_fini(&engine);
		uv_loop_close(engine.loop);
	} else {
		log_error("start", "error=\"%s\"", strerror(-r));
	}
	wire_reader_free(engine.reader);
	wire_writer_free(engine.writer);
	cJSON_Delete(engine.plugin_path);
	free(engine.program);
	if (engine.faults >= 0)
		close(engine.faults);
	if (engine.fd >= 0)
		close(engine.fd);
	if (engine.listener >= 0)
		close(engine.listener);
	return r ? 1 : engine.exit_code;
}

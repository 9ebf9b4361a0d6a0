/* job.c - one request on its way through an assistant: queue, media, engine. */
#include "daemon/assist/job.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/assist/assist.h"
#include "daemon/base/log.h"

static void job_on_call_reply(void *arg, struct hop_reply *reply);
static void job_on_call_notify(void *arg, const char *method, cJSON *frame);

static const struct hop_call_events job_call_events = {job_on_call_reply, job_on_call_notify};

static double job_ms(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns && from_ns ? (double)(to_ns - from_ns) / 1e6 : 0;
}

struct job *job_new(const char *method, const struct job_events *events, void *arg)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->method = method;
	job->events = events;
	job->arg = arg;
	job->call = (struct hop_call){.events = &job_call_events, .arg = job};
	job->arrived_ns = uv_hrtime();
	return job;
}

static void job_free_media(struct job *job)
{
	for (unsigned i = 0; i < job->n_media; i++) {
		struct media_call *call = &job->media[i];

		if (call->run)
			media_client_cancel(job->assistant->home->media, call);
		if (call->source >= 0)
			close(call->source);
		if (call->pixels >= 0)
			close(call->pixels);
		wire_error_fini(&call->error);
	}
	free(job->media);
	job->media = NULL;
	job->n_media = 0;
}

static void job_on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void job_free(struct job *job)
{
	job_free_media(job);
	cJSON_Delete(job->params);
	if (job->timer_used)
		uv_close((uv_handle_t *)&job->timer, job_on_timer_closed);
	else
		free(job);
}

/* Gives the answer, leaves the assistant's lists and frees the job. */
void job_finish(struct job *job, struct hop_reply *reply)
{
	struct assistant *assistant = job->assistant;
	struct assist_counts *counts = &assistant->home->counts;
	const char *status = cJSON_GetStringValue(wire_member(reply->result, "status"));
	struct job_list *list = job->state == JOB_QUEUED ? &assistant->queue : &assistant->running;

	if (job->cancelled || (status && !strcmp(status, "cancelled")))
		counts->cancelled++;
	else if (reply->result)
		counts->done++;
	else
		counts->failed++;
	log_debug("request.end", "assistant=%s response=%s method=%s code=%d total_ms=%.1f", assistant->name,
		  job->response_id, job->method, reply->error.code, job_ms(job->arrived_ns, uv_hrtime()));
	job_list_take(list, job);
	if (job->events)
		job->events->done(job->arg, reply);
	job_free(job);
	assistant_pump(assistant);
}

void job_fail(struct job *job, const struct wire_error *error)
{
	struct hop_reply reply = {0};

	wire_error_set(&reply.error, error->code, "%s", error->text);
	if (error->data)
		reply.error.data = cJSON_Duplicate(error->data, 1);
	job_finish(job, &reply);
	wire_error_fini(&reply.error);
}

/* The end of a job that was cancelled before an engine had it. */
static cJSON *job_cancelled_result(const struct job *job)
{
	static const char *const zero[] = {"encode_ms", "connect_ms", "prefill_ms", "first_token_ms", "decode_ms"};
	uint64_t now = uv_hrtime();
	cJSON *result = cJSON_CreateObject();
	cJSON *usage, *timings, *message, *content, *text;

	cJSON_AddStringToObject(result, "response_id", job->response_id);
	cJSON_AddStringToObject(result, "status", "cancelled");
	cJSON_AddStringToObject(result, "finish_reason", "cancelled");
	cJSON_AddItemToArray(cJSON_AddArrayToObject(result, "output"), message = cJSON_CreateObject());
	cJSON_AddStringToObject(message, "type", "message");
	cJSON_AddStringToObject(message, "role", "assistant");
	content = cJSON_AddArrayToObject(message, "content");
	cJSON_AddItemToArray(content, text = cJSON_CreateObject());
	cJSON_AddStringToObject(text, "type", "output_text");
	cJSON_AddStringToObject(text, "text", "");
	cJSON_AddStringToObject(result, "output_text", "");
	usage = cJSON_AddObjectToObject(result, "usage");
	cJSON_AddNumberToObject(usage, "input_tokens", 0);
	cJSON_AddNumberToObject(usage, "cached_tokens", 0);
	cJSON_AddNumberToObject(usage, "output_tokens", 0);
	cJSON_AddArrayToObject(usage, "media");
	timings = cJSON_AddObjectToObject(result, "timings");
	cJSON_AddNumberToObject(timings, "queue_ms", job_ms(job->arrived_ns, job->started_ns ? job->started_ns : now));
	cJSON_AddNumberToObject(timings, "media_ms", job_ms(job->started_ns, job->decoded_ns ? job->decoded_ns : now));
	for (size_t i = 0; i < sizeof(zero) / sizeof(zero[0]); i++)
		cJSON_AddNumberToObject(timings, zero[i], 0);
	cJSON_AddNumberToObject(timings, "total_ms", job_ms(job->arrived_ns, now));
	return result;
}

static void job_finish_cancelled(struct job *job)
{
	struct hop_reply reply = {0};

	job->cancelled = true;
	if (!strcmp(job->method, "response.create"))
		reply.result = job_cancelled_result(job);
	if (!reply.result)
		wire_error_set(&reply.error, WIRE_INTERNAL, "The request was cancelled.");
	job_finish(job, &reply);
	cJSON_Delete(reply.result);
	wire_error_fini(&reply.error);
}

static void job_on_timer(uv_timer_t *timer)
{
	struct job *job = timer->data;
	struct wire_error error = {0};
	char why[96];

	if (job->state == JOB_ENGINE) {
		snprintf(why, sizeof(why), "did not end a request that was cancelled or past its deadline");
		engine_kill(job->engine, why);
		return;
	}
	wire_error_set(&error, WIRE_DEADLINE, "The deadline of %.0f ms passed before the assistant \"%s\" could begin; allow more "
		       "time or send fewer requests at once.", (double)job->deadline_ms, job->assistant->name);
	job_fail(job, &error);
}

static void job_set_timer(struct job *job, uint64_t ms)
{
	uv_loop_t *loop = job->assistant->home->loop;

	if (!job->timer_used) {
		uv_timer_init(loop, &job->timer);
		job->timer.data = job;
		job->timer_used = true;
	}
	uv_timer_start(&job->timer, job_on_timer, ms, 0);
}

void job_arm(struct job *job, uv_loop_t *loop)
{
	uv_update_time(loop);
	if (job->deadline_ms)
		job_set_timer(job, job->deadline_ms);
}

static void job_on_media(void *arg, struct media_call *call)
{
	struct job *job = arg;
	struct assist_stage_count *count = &job->assistant->home->counts.media;

	if (call->error.code) {
		wire_error_number(&call->error, "item", (double)(call - job->media));
		job_fail(job, &call->error);
		return;
	}
	if (--job->media_left)
		return;
	job->decoded_ns = uv_hrtime();
	count->count++;
	count->seconds += job_ms(job->started_ns, job->decoded_ns) / 1e3;
	job->state = JOB_DECODED;
	assistant_pump(job->assistant);
}

void job_start(struct job *job)
{
	struct assist *home = job->assistant->home;

	job->started_ns = uv_hrtime();
	home->counts.queue.count++;
	home->counts.queue.seconds += job_ms(job->arrived_ns, job->started_ns) / 1e3;
	job->media_left = job->n_media;
	if (!job->n_media) {
		job->decoded_ns = job->started_ns;
		job->state = JOB_DECODED;
		return;
	}
	job->state = JOB_MEDIA;
	for (unsigned i = 0; i < job->n_media; i++) {
		job->media[i].done = job_on_media;
		job->media[i].arg = job;
		media_client_submit(home->media, &job->media[i]);
	}
	/* Last: the client may be gone behind it, and the job with it. */
	if (job->events)
		job->events->stage(job->arg, "media");
}

/* What the engine is told besides the client's own params. */
static cJSON *job_hop(const struct job *job)
{
	uint64_t now = uv_hrtime();
	double left = job->deadline_ms ? (double)job->deadline_ms - job_ms(job->arrived_ns, now) : 0;
	cJSON *hop = cJSON_CreateObject();
	cJSON *media = cJSON_AddArrayToObject(hop, "media");

	cJSON_AddStringToObject(hop, "response_id", job->response_id);
	for (unsigned i = 0; i < job->n_media; i++) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "kind", "image");
		cJSON_AddNumberToObject(item, "width", job->media[i].width);
		cJSON_AddNumberToObject(item, "height", job->media[i].height);
		cJSON_AddNumberToObject(item, "channels", job->media[i].channels);
		cJSON_AddNumberToObject(item, "frames", job->media[i].frames);
		cJSON_AddItemToArray(media, item);
	}
	cJSON_AddNumberToObject(hop, "queue_ms", job_ms(job->arrived_ns, job->started_ns));
	cJSON_AddNumberToObject(hop, "media_ms", job_ms(job->started_ns, job->decoded_ns));
	cJSON_AddNumberToObject(hop, "total_ms", job_ms(job->arrived_ns, now));
	cJSON_AddNumberToObject(hop, "deadline_ms", job->deadline_ms ? (left > 1 ? left : 1) : 0);
	return hop;
}

void job_forward(struct job *job)
{
	int fds[JOB_MAX_MEDIA];
	unsigned n = job->n_media;
	struct wire_error error = {0};

	cJSON_AddItemToObject(job->params, "hop", job_hop(job));
	for (unsigned i = 0; i < n; i++) {
		fds[i] = job->media[i].pixels;
		job->media[i].pixels = -1;
	}
	job_free_media(job);
	job->engine = job->assistant->engine;
	job->state = JOB_ENGINE;
	if (engine_call(job->engine, &job->call, job->method, job->params, fds, n)) {
		job->params = NULL;
		wire_error_set(&error, WIRE_PLUGIN, "The engine of the assistant \"%s\" has just ended; send the request again.",
			       job->assistant->name);
		job_fail(job, &error);
		return;
	}
	job->params = NULL;
	/* The engine keeps the deadline now; this is for one that cannot. */
	if (job->deadline_ms)
		job_set_timer(job, job->deadline_ms + job->assistant->home->engines.hang_ms);
}

static void job_on_call_reply(void *arg, struct hop_reply *reply)
{
	job_finish(arg, reply);
}

static void job_on_call_notify(void *arg, const char *method, cJSON *frame)
{
	struct job *job = arg;

	if (job->events)
		job->events->notify(job->arg, method, frame);
}

/* A response.cancel on its way to an engine. */
struct job_cancellation {
	struct hop_call call;
	job_told *told;
	void *arg;
};

static void job_on_cancel_reply(void *arg, struct hop_reply *reply)
{
	struct job_cancellation *cancellation = arg;
	const char *status = cJSON_GetStringValue(wire_member(reply->result, "status"));

	/* An engine that died meanwhile has ended the work too. */
	cancellation->told(cancellation->arg, status && !strcmp(status, "already_done") ? "already_done" : "cancelled");
	free(cancellation);
}

static const struct hop_call_events job_cancel_events = {job_on_cancel_reply, NULL};

/* Tells the engine. The answer, if somebody wants it, comes later. */
static void job_cancel_in_engine(struct job *job, job_told *told, void *arg)
{
	struct job_cancellation *cancellation = calloc(1, sizeof(*cancellation));
	cJSON *params = cJSON_CreateObject();

	cJSON_AddNumberToObject(params, "request_id", job->call.id);
	if (!cancellation) {
		cJSON_Delete(params);
		told(arg, "already_done");
		return;
	}
	cancellation->call = (struct hop_call){.events = &job_cancel_events, .arg = cancellation};
	cancellation->told = told;
	cancellation->arg = arg;
	job_set_timer(job, job->assistant->home->engines.hang_ms);
	if (engine_call(job->engine, &cancellation->call, "response.cancel", params, NULL, 0)) {
		told(arg, "already_done");
		free(cancellation);
	}
}

static void job_told_nobody(void *arg, const char *status)
{
}

void job_cancel(struct job *job, job_told *told, void *arg)
{
	if (job->state == JOB_ENGINE) {
		job_cancel_in_engine(job, told, arg);
		return;
	}
	job_finish_cancelled(job);
	told(arg, "cancelled");
}

void job_abandon(struct job *job)
{
	job->events = NULL;
	job->cancelled = true;
	job_cancel(job, job_told_nobody, NULL);
}

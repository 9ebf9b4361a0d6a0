/* scheduler-stream.c - one request among the decoded ones: from its first row to its last token. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/engine/look.h"
#include "daemon/engine/scheduler-impl.h"

static int stream_out_of_memory(struct request *request)
{
	return wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
}

/* The prompt must leave room for a token. */
static int stream_check_context(struct scheduler *scheduler, struct request *request)
{
	uint32_t context = scheduler->assembly->context, n = request->rows.n;

	if (n == 0)
		return wire_error_path(&request->error, "input", "is empty: there is nothing to answer");
	if (n < context || (n == context && request->kind == REQUEST_EMBEDDING))
		return 0;
	wire_error_set(&request->error, WIRE_CONTEXT,
		       "The prompt has %u tokens, but assistant %s has a context of %u, the answer included: shorten it.", n,
		       scheduler->assembly->name, context);
	wire_error_number(&request->error, "tokens", n);
	wire_error_number(&request->error, "context", context);
	return request->error.code;
}

static int stream_begin_history(struct stream *stream)
{
	const struct rows *rows = &stream->request->rows;

	if (!sampler_penalises(&stream->request->sampler))
		return 0;
	for (uint32_t i = 0; i < rows->n; i++)
		if (rows->rows[i].token >= 0 && !(rows->rows[i].wants & PERCEPT_ENCODER_ROW) &&
		    sampler_history_add(&stream->history, rows->rows[i].token))
			return -ENOMEM;
	return 0;
}

static void stream_free(struct stream *stream)
{
	textout_fini(&stream->out);
	sampler_history_fini(&stream->history);
	free(stream);
}

struct stream *stream_new(struct scheduler *scheduler, struct request *request)
{
	struct stream *stream = stream_check_context(scheduler, request) ? NULL : calloc(1, sizeof(*stream));

	if (!stream) {
		if (!request->error.code)
			stream_out_of_memory(request);
		return NULL;
	}
	list_init(&stream->node);
	stream->request = request;
	int r = stream_begin_history(stream);

	if (r == 0)
		r = scheduler_take_sequence(scheduler, stream);
	if (r) {
		if (r != -EAGAIN)
			stream_out_of_memory(request);
		stream_free(stream);
		return NULL;
	}
	if (fusion_bind(scheduler, stream)) {
		scheduler_leave_sequence(scheduler, stream, 0);
		stream_free(stream);
		return NULL;
	}
	uint32_t room = scheduler->assembly->context - request->rows.n;

	stream->limit = request->max_output < room ? request->max_output : room;
	stream->position = request->rows.position;
	stream->started = clock_now_ms();
	stream->out.stop = request->stops;
	stream->out.n_stop = request->n_stops;
	stream->out.drop_space = !request->raw && scheduler->assembly->text.chat != NULL;
	request->times.queue += stream->started - request->times.submitted;
	request->stage = "prefill";
	engine_progress(request, "prefill", -1, stream->done, request->rows.n);
	return stream;
}

void stream_prefilled(struct stream *stream, uint32_t n)
{
	if (stream->done < stream->request->rows.n)
		engine_progress(stream->request, "prefill", -1, stream->done, stream->request->rows.n);
}

/* ---- deltas ---- */

/* What became ready since the last delta, if anything did. */
static void stream_tell(struct stream *stream)
{
	struct request *request = stream->request;
	size_t n;
	const char *text = textout_take(&stream->out, &n);

	if (!request->stream || (n == 0 && !(request->return_tokens && request->finish && stream->told < request->n_tokens)))
		return;
	char *delta = strndup(text, n);
	cJSON *params = delta ? cJSON_CreateObject() : NULL;

	cJSON_AddStringToObject(params, "delta", delta ? delta : "");
	if (request->return_tokens)
		cJSON_AddItemToObject(params, "tokens", cJSON_CreateIntArray(request->tokens + stream->told,
									     (int)(request->n_tokens - stream->told)));
	if (request->top_logprobs) {
		cJSON *list = cJSON_AddArrayToObject(params, "logprobs");

		for (uint32_t i = stream->told; i < request->n_tokens; i++)
			cJSON_AddItemToArray(list, cJSON_Duplicate(cJSON_GetArrayItem(request->logprobs, (int)i), 1));
	}
	stream->told = request->n_tokens;
	free(delta);
	if (params)
		engine_notify(request, "response.output_text.delta", params);
}

void stream_end(struct scheduler *scheduler, struct stream *stream, const char *finish)
{
	struct request *request = stream->request;
	double now = clock_now_ms();
	int failed = request->error.code;

	/* An answer that was stopped keeps its text; a deadline without any is an error, made at the end. */
	if (!finish && !failed)
		finish = atomic_load(&request->stop) == REQUEST_LATE ? "deadline" : "cancelled";
	request->finish = finish;
	if (textout_finish(&stream->out) && !failed)
		stream_out_of_memory(request);
	if (finish)
		stream_tell(stream);
	request->text = stream->out.text;
	stream->out.text = NULL;
	request->times.prefill = (stream->first_token > 0 ? stream->first_token : now) - stream->started;
	request->times.decode = stream->first_token > 0 ? now - stream->first_token : 0;
	if (finish && request->stream && request->text) {
		cJSON *params = cJSON_CreateObject();

		cJSON_AddStringToObject(params, "text", request->text);
		engine_notify(request, "response.output_text.done", params);
	}
	fusion_unbind(scheduler, stream);
	scheduler_leave_sequence(scheduler, stream, !failed);
	list_remove(&stream->node);
	stream_free(stream);
	engine_return(request);
}

/* ---- tokens ---- */

static int stream_keep_token(struct stream *stream, int32_t id)
{
	struct request *request = stream->request;

	if (request->n_tokens == stream->room) {
		uint32_t room = stream->room ? stream->room * 2 : 64;
		int32_t *tokens = reallocarray(request->tokens, room, sizeof(*tokens));

		if (!tokens)
			return -ENOMEM;
		request->tokens = tokens;
		stream->room = room;
	}
	request->tokens[request->n_tokens++] = id;
	if (request->look && look_keep_step(request))
		return -ENOMEM;
	return sampler_penalises(&request->sampler) ? sampler_history_add(&stream->history, id) : 0;
}

static cJSON *stream_logprob(const struct text *text, int32_t id, double logprob, int with_text)
{
	cJSON *one = cJSON_CreateObject();
	size_t n;
	const char *bytes = text_piece(text, id, &n);
	char *valid = with_text ? textout_valid(bytes, n) : NULL;

	cJSON_AddNumberToObject(one, "id", id);
	/* JSON knows no infinity. */
	cJSON_AddNumberToObject(one, "logprob", logprob > -1e9 ? logprob : -1e9);
	if (with_text)
		cJSON_AddStringToObject(one, "text", valid ? valid : "");
	free(valid);
	return one;
}

static void stream_keep_logprobs(struct scheduler *scheduler, struct stream *stream, const float *logits, int32_t id)
{
	struct request *request = stream->request;
	struct sampler_logprob top[64];
	double chosen;
	uint32_t n = sampler_logprobs(logits, scheduler->assembly->info.vocab, id, request->top_logprobs, top, &chosen);
	cJSON *one = stream_logprob(&scheduler->assembly->text, id, chosen, 0), *list = cJSON_AddArrayToObject(one, "top");

	for (uint32_t i = 0; i < n; i++)
		cJSON_AddItemToArray(list, stream_logprob(&scheduler->assembly->text, top[i].id, top[i].logprob, 1));
	if (!request->logprobs)
		request->logprobs = cJSON_CreateArray();
	cJSON_AddItemToArray(request->logprobs, one);
}

static int stream_is_end(const struct scheduler *scheduler, int32_t id)
{
	const struct percept_decoder_info *info = &scheduler->assembly->info;
	const struct nn_tokenizer *tokenizer = scheduler->assembly->text.tokenizer;

	for (uint32_t i = 0; i < info->n_end; i++)
		if (info->end[i] == id)
			return 1;
	return tokenizer && id >= 0 && nn_tokenizer_eos(tokenizer) == id;
}

static void stream_first_token(struct stream *stream)
{
	struct request *request = stream->request;

	stream->first_token = clock_now_ms();
	request->times.first_token = request->times.before + stream->first_token - request->times.arrived;
	request->stage = "decode";
	engine_progress(request, "decode", -1, 0, 0);
}

void stream_sample(struct scheduler *scheduler, struct stream *stream, const float *logits)
{
	struct request *request = stream->request;
	const char *finish = NULL;
	size_t n = 0;
	int32_t id = -EPROTO;

	if (logits)
		id = sampler_next(&request->sampler, logits, scheduler->assembly->info.vocab, &stream->history, request->n_tokens,
				  &scheduler->scratch);
	if (id < 0) {
		if (id == -ENOMEM)
			stream_out_of_memory(request);
		else
			call_broken(&scheduler->call, &request->error, logits ? "none of its logits is a finite number"
									      : "step() returned 0 and no logits");
		stream_end(scheduler, stream, NULL);
		return;
	}
	if (request->n_tokens == 0)
		stream_first_token(stream);
	if (request->top_logprobs)
		stream_keep_logprobs(scheduler, stream, logits, id);
	int r = stream_keep_token(stream, id), end = stream_is_end(scheduler, id);
	const char *bytes = end ? "" : text_piece(&scheduler->assembly->text, id, &n);

	if (r || textout_push(&stream->out, bytes, n)) {
		stream_out_of_memory(request);
		stream_end(scheduler, stream, NULL);
		return;
	}
	if (end || stream->out.stopped)
		finish = "stop";
	else if (request->n_tokens >= stream->limit)
		finish = "length";
	if (finish)
		stream_end(scheduler, stream, finish);
	else
		stream_tell(stream);
}

void stream_hidden(struct scheduler *scheduler, struct stream *stream, const float *hidden)
{
	struct request *request = stream->request;
	uint32_t d = scheduler->assembly->info.d_model;

	if (!hidden)
		call_broken(&scheduler->call, &request->error, "step() returned 0 and no hidden state");
	else if (!(request->vector = malloc(d * sizeof(float))))
		stream_out_of_memory(request);
	else
		memcpy(request->vector, hidden, d * sizeof(float));
	request->rank = 1;
	request->shape[0] = d;
	stream_end(scheduler, stream, "stop");
}

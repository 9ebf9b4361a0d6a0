/* scheduler-batch.c - one step: who puts which rows into it, and what comes out for whom. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/engine/look.h"
#include "daemon/engine/scheduler-impl.h"

#define BATCH_LEAST_SHARE 16
#define BATCH_RETRY_MS 1000
#define BATCH_FIRST 64 /* prompt rows of a step as long as nobody knows what one takes */

/* The stream's prompt is through. */
static int batch_is_decoding(const struct stream *stream)
{
	return stream->done == stream->request->rows.n;
}

static void batch_add(struct scheduler *scheduler, struct stream *stream, const struct percept_row *row, uint32_t wants)
{
	struct percept_row *to = &scheduler->rows[scheduler->n_rows];

	*to = *row;
	to->sequence = stream->sequence;
	to->wants = wants | (row->wants & PERCEPT_ENCODER_ROW);
	if (wants)
		scheduler->owners[scheduler->n_wanting++] = stream;
	if (stream->batch++ == 0)
		stream->first = scheduler->n_rows;
	scheduler->n_rows++;
}

static void batch_add_token(struct scheduler *scheduler, struct stream *stream)
{
	const struct request *request = stream->request;
	int32_t p = stream->position;
	struct percept_row row = {
		.token = request->tokens[request->n_tokens - 1],
		.position = {p, p, p, p},
		.media_seen = request->rows.media,
		.media_run = request->rows.run,
	};

	batch_add(scheduler, stream, &row, PERCEPT_WANT_LOGITS);
}

/* How many of the stream's prompt rows go into a step that has room for `most`, and for `room` if need be: no span is cut. */
static uint32_t batch_share(const struct stream *stream, uint32_t most, uint32_t room)
{
	const struct rows *rows = &stream->request->rows;
	const struct percept_row *row = rows->rows + stream->done;
	uint32_t left = rows->n - stream->done, n = most < left ? most : left;

	while (n > 0 && n < left && row[n].span && row[n - 1].span == row[n].span)
		n--;
	if (n > 0 || most == 0)
		return n;
	while (n < left && (n == 0 || row[n].span == row[0].span))
		n++;
	return n <= room ? n : 0;
}

/* Room for `n` more rows: a span may be longer than a step is meant to be. 0 or -ENOMEM. */
static int batch_reserve(struct scheduler *scheduler, uint32_t n)
{
	uint32_t size = scheduler->n_rows + n;

	if (size <= scheduler->size)
		return 0;
	struct percept_row *rows = reallocarray(scheduler->rows, size, sizeof(*rows));

	if (rows)
		scheduler->rows = rows;
	struct stream **owners = reallocarray(scheduler->owners, size, sizeof(*owners));

	if (owners)
		scheduler->owners = owners;
	if (!rows || !owners)
		return -ENOMEM;
	scheduler->size = size;
	return 0;
}

static void batch_add_prompt(struct scheduler *scheduler, struct stream *stream, uint32_t n)
{
	const struct request *request = stream->request;
	uint32_t wants = request->kind == REQUEST_EMBEDDING ? PERCEPT_WANT_HIDDEN : PERCEPT_WANT_LOGITS;

	for (uint32_t i = stream->done; i < stream->done + n; i++)
		batch_add(scheduler, stream, &request->rows.rows[i], i + 1 == request->rows.n ? wants : 0);
}

/* A span that no step can hold would wait for ever. */
static void batch_refuse_span(struct scheduler *scheduler, struct stream *stream)
{
	wire_error_set(&stream->request->error, WIRE_CONTEXT,
		       "The prompt has more rows that must be run together, because they see each other both ways, than decoder %s "
		       "takes in a step (%u): give it a larger batch, or send less.",
		       scheduler->assembly->decoder->plugin.api->name, scheduler->assembly->info.max_batch);
	stream_end(scheduler, stream, NULL);
}

static void batch_no_room(struct scheduler *scheduler, struct stream *stream)
{
	wire_error_set(&stream->request->error, WIRE_INTERNAL, "Memory is out.");
	stream_end(scheduler, stream, NULL);
}

/* Prompt rows of the next step: as many as the time that others may be held up for allows. */
static uint32_t batch_budget(const struct scheduler *scheduler)
{
	double rows = scheduler->row_ms > 0 ? scheduler->stall / scheduler->row_ms : BATCH_FIRST;

	if (rows >= scheduler->chunk)
		return scheduler->chunk;
	return rows > BATCH_LEAST_SHARE ? (uint32_t)rows : BATCH_LEAST_SHARE;
}

/* The step took `ms`. Steps of few rows tell nothing: reading the weights is what they take. */
static void batch_learn(struct scheduler *scheduler, double ms)
{
	double row = ms / scheduler->n_rows;

	if (scheduler->n_rows >= BATCH_LEAST_SHARE)
		scheduler->row_ms = scheduler->row_ms > 0 ? 0.6 * scheduler->row_ms + 0.4 * row : row;
}

uint32_t scheduler_fill(struct scheduler *scheduler)
{
	struct list *node, *after;
	uint32_t prefilling = 0, budget = batch_budget(scheduler);

	scheduler->n_rows = scheduler->n_wanting = 0;
	list_each(node, after, &scheduler->streams) {
		struct stream *stream = list_entry(node, struct stream, node);

		stream->batch = 0;
		prefilling += !batch_is_decoding(stream);
		if (batch_is_decoding(stream) && scheduler->n_rows < scheduler->room)
			batch_add_token(scheduler, stream);
	}
	uint32_t share = prefilling ? budget / prefilling : 0;

	if (share < BATCH_LEAST_SHARE)
		share = BATCH_LEAST_SHARE;
	list_each(node, after, &scheduler->streams) {
		struct stream *stream = list_entry(node, struct stream, node);
		if (batch_is_decoding(stream) || budget == 0 || scheduler->n_rows >= scheduler->room)
			continue;
		uint32_t room = scheduler->room - scheduler->n_rows, most = share < budget ? share : budget;
		uint32_t n = batch_share(stream, most < room ? most : room, scheduler->assembly->info.max_batch - scheduler->n_rows);

		if (n == 0 && scheduler->n_rows == 0)
			batch_refuse_span(scheduler, stream);
		else if (batch_reserve(scheduler, n))
			batch_no_room(scheduler, stream);
		else
			batch_add_prompt(scheduler, stream, n);
		budget -= n < budget ? n : budget;
	}
	return scheduler->n_rows;
}

/* One call of step() over rows [first, first + n). 0, or -errno with the call's text. */
static int batch_step(struct scheduler *scheduler, struct percept_batch *batch, uint32_t first, uint32_t n)
{
	const struct assembly *assembly = scheduler->assembly;
	const int fused = assembly->fusion && fusion_concerns(scheduler, first, n);
	struct percept_hooks hooks;
	int r;

	call_watch(&scheduler->call, assembly->pulses);
	do {
		*batch = (struct percept_batch){.size = sizeof(*batch), .n = n, .rows = scheduler->rows + first};
		call_reset(&scheduler->call, assembly->decoder->plugin.api->name);
		r = fused ? fusion_hooks(scheduler, &hooks) : 0;
		batch->hooks = fused ? &hooks : NULL;
		if (r == 0)
			r = assembly->ops->step(&scheduler->call.base, assembly->decoder->instance, batch);
	} while (r == -ENOMEM && scheduler_evict(scheduler));
	call_unwatch(&scheduler->call);
	return r;
}

/* The stream's rows are in its sequence. */
static void batch_note(struct scheduler *scheduler, struct stream *stream)
{
	struct request *request = stream->request;
	struct sequence *sequence = &scheduler->sequences[stream->sequence];
	uint32_t n = stream->batch;
	int r;

	if (batch_is_decoding(stream)) {
		struct row_key key = rows_token_key(&request->rows, request->tokens[request->n_tokens - 1]);

		stream->position++;
		r = scheduler_note_rows(sequence, &key, 1);
	} else {
		r = scheduler_note_rows(sequence, request->rows.keys + stream->done, n);
		sequence->encoder = request->rows.encoder;
		stream->done += n;
		stream_prefilled(stream, n);
	}
	if (r)
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
}

/* Gives what came out of rows [first, first + n) to those who wanted it. */
static void batch_deliver(struct scheduler *scheduler, const struct percept_batch *batch, uint32_t first, uint32_t n)
{
	const struct percept_decoder_info *info = &scheduler->assembly->info;
	const struct percept_row *rows = scheduler->rows;
	uint32_t owner = 0;
	size_t logits = 0, hidden = 0;

	for (uint32_t i = 0; i < first + n; i++) {
		const uint32_t wants = rows[i].wants & (PERCEPT_WANT_LOGITS | PERCEPT_WANT_HIDDEN);
		struct stream *stream = wants ? scheduler->owners[owner++] : NULL;

		if (!stream || i < first)
			continue;
		if (stream->request->error.code)
			stream_end(scheduler, stream, NULL);
		else if (wants == PERCEPT_WANT_HIDDEN)
			stream_hidden(scheduler, stream, batch->hidden ? batch->hidden + hidden++ * info->d_model : NULL);
		else
			stream_sample(scheduler, stream, batch->logits ? batch->logits + logits++ * info->vocab : NULL);
	}
}

/* What others hold will be free again; what one alone cannot have is too long. */
static void batch_no_memory(struct scheduler *scheduler, struct stream *stream)
{
	struct wire_error *error = &stream->request->error;
	uint32_t others = 0;

	for (uint32_t i = 0; i < scheduler->n_sequences; i++)
		others += i != stream->sequence && scheduler->sequences[i].state == SEQUENCE_BUSY && scheduler->sequences[i].n > 0;
	if (others) {
		wire_error_set(error, WIRE_OVERLOADED, "%s %u other requests hold it; try again later.", scheduler->call.text, others);
		wire_error_number(error, "retry_after_ms", BATCH_RETRY_MS);
		return;
	}
	wire_error_set(error, WIRE_CONTEXT, "%s The request alone needs more: shorten it.", scheduler->call.text);
	wire_error_number(error, "tokens", stream->request->rows.n);
	wire_error_number(error, "context", scheduler->sequences[stream->sequence].n);
}

static void batch_fail(struct scheduler *scheduler, struct stream *stream, int r)
{
	if (r == -ECANCELED && request_stopped(stream->request)) {
		stream_end(scheduler, stream, NULL);
		return;
	}
	if (r == -ENOMEM && scheduler->call.text[0])
		batch_no_memory(scheduler, stream);
	else if (!call_failed(&scheduler->call, r, "run a step", &stream->request->error))
		call_broken(&scheduler->call, &stream->request->error, "step() said it was cancelled, but it was not");
	stream_end(scheduler, stream, NULL);
}

/* Each stream alone: the batch failed as a whole, and only those shall fail that must; or somebody looks. */
static void batch_run_alone(struct scheduler *scheduler)
{
	struct list *node, *after;

	list_each(node, after, &scheduler->streams) {
		struct stream *stream = list_entry(node, struct stream, node);
		struct percept_batch batch;

		if (stream->batch == 0)
			continue;
		uint32_t first = stream->first, n = stream->batch;
		struct look *look = stream->request->look;

		if (look)
			look_begin_step(look);
		call_observe(&scheduler->call, look ? look_on_decoder : NULL, look);
		int r = batch_step(scheduler, &batch, first, n);

		call_observe(&scheduler->call, NULL, NULL);

		if (r) {
			batch_fail(scheduler, stream, r);
			continue;
		}
		batch_note(scheduler, stream);
		batch_deliver(scheduler, &batch, first, n);
	}
}

/* Where somebody looks into a stream, the batch's streams run one by one: what is shown is then that one's. */
static int batch_is_watched(const struct scheduler *scheduler)
{
	struct list *node, *after;

	list_each(node, after, &scheduler->streams) {
		const struct stream *stream = list_entry(node, struct stream, node);

		if (stream->batch && stream->request->look)
			return 1;
	}
	return 0;
}

void scheduler_run(struct scheduler *scheduler)
{
	struct percept_batch batch;
	struct list *node, *after;
	uint64_t rows = 0;
	double start = clock_now_ms();
	const int watched = batch_is_watched(scheduler);
	int r = watched ? 0 : batch_step(scheduler, &batch, 0, scheduler->n_rows);

	if (!r && !watched)
		batch_learn(scheduler, clock_now_ms() - start);
	scheduler->steps++;
	if (r || watched) {
		batch_run_alone(scheduler);
	} else {
		list_each(node, after, &scheduler->streams)
			if (list_entry(node, struct stream, node)->batch)
				batch_note(scheduler, list_entry(node, struct stream, node));
		batch_deliver(scheduler, &batch, 0, scheduler->n_rows);
	}
	for (uint32_t i = 0; i < scheduler->n_sequences; i++)
		rows += scheduler->sequences[i].state == SEQUENCE_BUSY ? scheduler->sequences[i].n : 0;
	atomic_store(&scheduler->held_rows, rows);
	atomic_store(&scheduler->bytes, scheduler->assembly->ops->sequence_bytes(scheduler->assembly->decoder->instance, UINT32_MAX));
}

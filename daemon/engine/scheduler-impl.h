/* scheduler-impl.h - what the scheduler's files share. All of it belongs to the decode thread, but for the inbox. */
#ifndef ENGINE_SCHEDULER_IMPL_H
#define ENGINE_SCHEDULER_IMPL_H

#include <stdatomic.h>

#include "daemon/engine/engine.h"
#include "daemon/engine/scheduler.h"
#include "daemon/engine/textout.h"

/* One of the decoder's sequences: free, a stream's, or kept for its prefix. */
struct sequence {
	enum { SEQUENCE_FREE, SEQUENCE_BUSY, SEQUENCE_KEPT } state;
	struct row_key *keys; /* of the rows it holds */
	uint32_t n, room;
	uint32_t encoder;      /* the first ones are an encoder's, whole; 0: none are */
	uint64_t used; /* when it was last used, in steps */
};

/* A request while it is here. */
struct stream {
	struct list node;
	struct request *request;
	uint32_t sequence;
	uint32_t done;      /* prompt rows in the sequence */
	uint32_t batch;     /* rows of it in the batch at hand */
	uint32_t first;     /* the first of them in the batch */
	uint32_t limit;     /* tokens that may be generated */
	int32_t position;   /* of the next generated row */
	uint32_t room;      /* of request->tokens */
	uint32_t told;      /* tokens that deltas have told */
	int bound;          /* items of it are bound to its sequence: layers attend them */
	struct textout out;
	struct sampler_history history;
	double started, first_token;
};

struct scheduler {
	struct assembly *assembly;
	uint32_t chunk;      /* prompt rows of a step, at most */
	double stall, row_ms; /* milliseconds that a step with prompts may take; that a row of one took lately, 0: none yet */
	struct worker_thread thread;

	/* The gate guards inbox, woken and ending; everything below it is the thread's. */
	struct worker_gate gate;
	struct list inbox; /* request->wait */
	int woken, ending;

	struct list waiting; /* request->wait: no sequence is free */
	struct list streams; /* those with a sequence, oldest first */
	struct sequence *sequences;
	uint32_t n_sequences;
	uint64_t steps;
	struct call call;
	struct percept_row *rows; /* the batch */
	struct stream **owners;   /* of the rows that want logits, in order */
	uint32_t n_rows, n_wanting;
	uint32_t room;            /* rows that a step is meant to have at most; size: that fit */
	uint32_t size;
	struct sampler_scratch scratch;
	atomic_uint_fast64_t bytes, held_rows;
};

/* scheduler-prefix.c: the sequence with the longest prefix of the request's rows, made the stream's own; its length in
 * stream->done. -EAGAIN if all sequences are busy, -ENOMEM, or 0. */
int scheduler_take_sequence(struct scheduler *scheduler, struct stream *stream);
/* The stream is over: its sequence is kept for others, or freed (`keep` 0). */
void scheduler_leave_sequence(struct scheduler *scheduler, struct stream *stream, int keep);
/* Frees the longest unused kept sequence. 0 if there is none. */
int scheduler_evict(struct scheduler *scheduler);
/* `n` more rows are in the sequence. -ENOMEM if their keys cannot be kept. */
int scheduler_note_rows(struct sequence *sequence, const struct row_key *keys, uint32_t n);

/* scheduler-fusion.c: the items that the decoder's layers attend, bound to the stream's sequence; nothing where there are none.
 * 0, or the request's error. */
int fusion_bind(struct scheduler *scheduler, struct stream *stream);
void fusion_unbind(struct scheduler *scheduler, struct stream *stream);
/* Whether rows [first, first + n) of the batch are of a stream with such items. */
int fusion_concerns(const struct scheduler *scheduler, uint32_t first, uint32_t n);
/* The connector's hooks for the batch, in the scheduler's call. 0 or -errno. */
int fusion_hooks(struct scheduler *scheduler, struct percept_hooks *hooks);

/* scheduler-batch.c: fills the batch; 0 if there is nothing to do. */
uint32_t scheduler_fill(struct scheduler *scheduler);
/* Runs it and hands the logits to the streams; failures end the streams they belong to. */
void scheduler_run(struct scheduler *scheduler);

/* scheduler-stream.c */
struct stream *stream_new(struct scheduler *scheduler, struct request *request);
/* Ends it: `finish` says how (NULL: request->error, or it was stopped). Frees the stream and returns the request. */
void stream_end(struct scheduler *scheduler, struct stream *stream, const char *finish);
/* The next token from logits f32 [vocab]. May end the stream. */
void stream_sample(struct scheduler *scheduler, struct stream *stream, const float *logits);
/* The last row's hidden state, f32 [d_model], for embedding.create. Ends the stream. */
void stream_hidden(struct scheduler *scheduler, struct stream *stream, const float *hidden);
/* Rows of the prompt went through. */
void stream_prefilled(struct stream *stream, uint32_t n);

#endif

/* scheduler-prefix.c - sequences, and which of them begins as a new prompt does. */
#include "config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/scheduler-impl.h"

/* A shorter common beginning is not worth a sequence's history. */
#define PREFIX_LEAST 4
/* Finished sequences are kept while all sequences together take less. */
#define PREFIX_BYTES ((uint64_t)512 << 20)

int scheduler_note_rows(struct sequence *sequence, const struct row_key *keys, uint32_t n)
{
	if (n > sequence->room - sequence->n) {
		uint32_t room = (sequence->n + n) * 2;
		struct row_key *more = reallocarray(sequence->keys, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		sequence->keys = more;
		sequence->room = room;
	}
	memcpy(sequence->keys + sequence->n, keys, n * sizeof(*keys));
	sequence->n += n;
	return 0;
}

static void scheduler_drop(struct scheduler *scheduler, uint32_t i)
{
	scheduler->assembly->ops->sequence_free(scheduler->assembly->decoder->instance, i);
	scheduler->sequences[i].state = SEQUENCE_FREE;
	scheduler->sequences[i].n = scheduler->sequences[i].encoder = 0;
}

int scheduler_evict(struct scheduler *scheduler)
{
	uint32_t oldest = scheduler->n_sequences;

	for (uint32_t i = 0; i < scheduler->n_sequences; i++)
		if (scheduler->sequences[i].state == SEQUENCE_KEPT &&
		    (oldest == scheduler->n_sequences || scheduler->sequences[i].used < scheduler->sequences[oldest].used))
			oldest = i;
	if (oldest == scheduler->n_sequences)
		return 0;
	scheduler_drop(scheduler, oldest);
	return 1;
}

/* Rows that `sequence` and the prompt have in common from the start. The last prompt row is always run, for its logits, and a
 * span that sees itself both ways is run whole; so is an encoder's input, which is another's only where all of it is equal. */
static uint32_t scheduler_common(const struct sequence *sequence, const struct rows *rows)
{
	uint32_t most = rows->n - 1, n = 0;

	if (sequence->encoder != rows->encoder)
		return 0;
	if (sequence->n < most)
		most = sequence->n;
	while (n < most && sequence->keys[n].a == rows->keys[n].a && sequence->keys[n].b == rows->keys[n].b)
		n++;
	while (n > 0 && rows->rows[n].span && rows->rows[n - 1].span == rows->rows[n].span)
		n--;
	return n < PREFIX_LEAST || n < rows->encoder ? 0 : n;
}

/* An unused sequence, an old one given up if need be; n_sequences if all are busy. `but` is spared. */
static uint32_t scheduler_free_sequence(struct scheduler *scheduler, uint32_t but)
{
	uint32_t oldest = scheduler->n_sequences;

	for (uint32_t i = 0; i < scheduler->n_sequences; i++) {
		const struct sequence *s = &scheduler->sequences[i];

		if (s->state == SEQUENCE_FREE)
			return i;
		if (s->state == SEQUENCE_KEPT && i != but &&
		    (oldest == scheduler->n_sequences || s->used < scheduler->sequences[oldest].used))
			oldest = i;
	}
	if (oldest < scheduler->n_sequences)
		scheduler_drop(scheduler, oldest);
	return oldest;
}

static void scheduler_own(struct scheduler *scheduler, struct stream *stream, uint32_t i, uint32_t length)
{
	scheduler->sequences[i].state = SEQUENCE_BUSY;
	stream->sequence = i;
	stream->done = length;
}

/* Another sequence that begins with the first `length` rows of `from`. 0 or -errno. */
static int scheduler_fork(struct scheduler *scheduler, struct stream *stream, uint32_t from, uint32_t length)
{
	const struct assembly *assembly = scheduler->assembly;
	uint32_t to = scheduler_free_sequence(scheduler, from);

	if (to == scheduler->n_sequences)
		return -EAGAIN;
	if (assembly->ops->sequence_fork(assembly->decoder->instance, from, to, length))
		return -ENOMEM;
	if (scheduler_note_rows(&scheduler->sequences[to], scheduler->sequences[from].keys, length)) {
		scheduler_drop(scheduler, to);
		return -ENOMEM;
	}
	scheduler->sequences[to].encoder = scheduler->sequences[from].encoder;
	scheduler_own(scheduler, stream, to, length);
	return 0;
}

/* Takes over a kept sequence, cut to `length`. 0 or -errno. */
static int scheduler_reuse(struct scheduler *scheduler, struct stream *stream, uint32_t i, uint32_t length)
{
	const struct assembly *assembly = scheduler->assembly;
	struct sequence *sequence = &scheduler->sequences[i];

	if (sequence->n > length && assembly->ops->sequence_trim(assembly->decoder->instance, i, length))
		return -ENOMEM;
	sequence->n = length;
	scheduler_own(scheduler, stream, i, length);
	return 0;
}

static int scheduler_new_sequence(struct scheduler *scheduler, struct stream *stream)
{
	uint32_t i = scheduler_free_sequence(scheduler, scheduler->n_sequences);

	if (i == scheduler->n_sequences)
		return -EAGAIN;
	while (scheduler->assembly->ops->sequence_new(scheduler->assembly->decoder->instance, i))
		if (!scheduler_evict(scheduler))
			return -ENOMEM;
	scheduler->sequences[i].n = 0;
	scheduler_own(scheduler, stream, i, 0);
	return 0;
}

int scheduler_take_sequence(struct scheduler *scheduler, struct stream *stream)
{
	const struct assembly *assembly = scheduler->assembly;
	int can_fork = assembly->info.capabilities & PERCEPT_CAN_FORK && assembly->ops->sequence_fork;
	int can_trim = assembly->info.capabilities & PERCEPT_CAN_TRIM && assembly->ops->sequence_trim;
	uint32_t best = scheduler->n_sequences, length = 0;

	for (uint32_t i = 0; i < scheduler->n_sequences; i++) {
		const struct sequence *s = &scheduler->sequences[i];
		uint32_t n = s->state == SEQUENCE_FREE ? 0 : scheduler_common(s, &stream->request->rows);
		/* Whose decoder can neither fork nor trim is prefilled anew: it may see more in a sequence than its rows. */
		int usable = can_fork || (s->state == SEQUENCE_KEPT && can_trim);

		/* Of equal ones a kept one that is used up whole: it needs no copy. */
		if (usable && n && (n > length || (n == length && s->state == SEQUENCE_KEPT && s->n == n))) {
			best = i;
			length = n;
		}
	}
	int r = -ENOENT;

	if (length && scheduler->sequences[best].state == SEQUENCE_KEPT && scheduler->sequences[best].n == length)
		r = scheduler_reuse(scheduler, stream, best, length);
	else if (length && can_fork)
		r = scheduler_fork(scheduler, stream, best, length);
	else if (length)
		r = scheduler_reuse(scheduler, stream, best, length);
	if (r)
		r = scheduler_new_sequence(scheduler, stream);
	if (r == 0)
		stream->request->cached_rows = stream->done;
	return r;
}

void scheduler_leave_sequence(struct scheduler *scheduler, struct stream *stream, int keep)
{
	struct sequence *sequence = &scheduler->sequences[stream->sequence];
	const struct assembly *assembly = scheduler->assembly;

	sequence->used = ++scheduler->steps;
	sequence->state = SEQUENCE_KEPT;
	if (!keep || sequence->n == 0)
		scheduler_drop(scheduler, stream->sequence);
	while (assembly->ops->sequence_bytes(assembly->decoder->instance, UINT32_MAX) > PREFIX_BYTES &&
	       scheduler_evict(scheduler))
		;
}

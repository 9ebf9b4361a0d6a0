/* check-decoder.c - stepping decoders at work: logits, sequences, and rows that do not see each other. */
#include "sdk/tool/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DECODER_ROWS = 9 };

/* Rows [first, first + n) of a fixed text, for a sequence; all want logits. */
static void check_fill(struct percept_row *rows, uint32_t sequence, uint32_t first, uint32_t n, uint32_t vocab)
{
	for (uint32_t i = 0; i < n; i++) {
		const int32_t at = (int32_t)(first + i);

		rows[i] = (struct percept_row){ .token = (int32_t)((sequence * 13 + (first + i) * 7 + 3) % vocab),
						.sequence = sequence, .position = { at, at, at, at },
						.wants = PERCEPT_WANT_LOGITS };
	}
}

static int check_step(struct check *c, void *instance, const struct percept_row *rows, uint32_t n, struct percept_batch *b)
{
	*b = (struct percept_batch){ .size = sizeof(*b), .n = n, .rows = rows };
	return ((const struct percept_decoder *)c->plugin->ops)->step(&c->host.call, instance, b);
}

static void check_decoder_about(struct check *c, void *instance, struct percept_decoder_info *info)
{
	*info = (struct percept_decoder_info){ .size = sizeof(*info) };
	((const struct percept_decoder *)c->plugin->ops)->info(instance, info);
}

/* Rows that a sequence holds before its first decoded one. */
static uint32_t check_encoded(const struct percept_decoder_info *info)
{
	return info->capabilities & PERCEPT_CAN_ENCODE ? DECODER_ROWS : 0;
}

/* A new sequence: of an encoder-decoder its encoder's rows are in it. */
static int check_sequence(struct check *c, void *instance, const struct percept_decoder_info *info, uint32_t sequence)
{
	struct percept_row rows[DECODER_ROWS];
	struct percept_batch b;

	if (((const struct percept_decoder *)c->plugin->ops)->sequence_new(instance, sequence))
		return check_broken(c, "sequence_new failed.");
	if (!check_encoded(info))
		return 0;
	check_fill(rows, sequence, 0, DECODER_ROWS, info->vocab);
	for (uint32_t i = 0; i < DECODER_ROWS; i++)
		rows[i].wants = PERCEPT_ENCODER_ROW;
	return check_step(c, instance, rows, DECODER_ROWS, &b);
}

static int check_decoder_numbers(struct check *c, const struct percept_decoder_info *info)
{
	for (uint32_t i = 0; i < info->n_end; i++) {
		if (info->end[i] < 0 || (uint32_t)info->end[i] >= info->vocab)
			return check_broken(c, "End token %d is not of the vocabulary of %u.", info->end[i], info->vocab);
	}
	if (info->capabilities & PERCEPT_CAN_ENCODE && (info->start < 0 || (uint32_t)info->start >= info->vocab))
		return check_broken(c, "Decoding starts with token %d, which is not of the vocabulary of %u.", info->start, info->vocab);
	if (info->max_batch < DECODER_ROWS || info->context < DECODER_ROWS + check_encoded(info))
		return check_broken(c, "A step of %u rows in a context of %u is too small for anything.", info->max_batch,
				    info->context);
	return 0;
}

int check_decoder_work(struct check *c, void *instance)
{
	const struct percept_decoder *ops = c->plugin->ops;
	struct percept_decoder_info info;
	struct percept_row rows[DECODER_ROWS];
	struct percept_batch b;

	check_decoder_about(c, instance, &info);
	const uint32_t cut = check_encoded(&info) + 4;
	int r = check_decoder_numbers(c, &info);

	if (!r)
		r = check_sequence(c, instance, &info, 0);
	check_fill(rows, 0, 0, DECODER_ROWS, info.vocab);
	if (!r)
		r = check_step(c, instance, rows, DECODER_ROWS, &b);

	if (!r)
		r = check_finite(c, "The logits", b.logits, (size_t)DECODER_ROWS * info.vocab);
	if (!r && !ops->sequence_bytes(instance, 0))
		r = check_broken(c, "sequence_bytes says 0 of a sequence that holds rows.");
	if (!r && info.capabilities & PERCEPT_CAN_TRIM && (!ops->sequence_trim || ops->sequence_trim(instance, 0, cut)))
		r = check_broken(c, "It declares PERCEPT_CAN_TRIM, and sequence_trim fails.");
	if (!r && info.capabilities & PERCEPT_CAN_FORK && (!ops->sequence_fork || ops->sequence_fork(instance, 0, 1, cut)))
		r = check_broken(c, "It declares PERCEPT_CAN_FORK, and sequence_fork fails.");
	ops->sequence_free(instance, 0);
	ops->sequence_free(instance, 1);
	return r;
}

int check_decoder_nonsense(struct check *c, void *instance)
{
	static const char *const what[] = { "A token behind the vocabulary", "A sequence behind the last", "Rows beyond the context",
					    "A row with neither token nor embedding" };
	const struct percept_decoder *ops = c->plugin->ops;
	struct percept_decoder_info info;
	struct percept_batch b;
	int r = 0;

	check_decoder_about(c, instance, &info);
	const uint32_t room = info.max_batch < 4096 ? info.max_batch : 4096;
	struct percept_row *rows = calloc(room, sizeof(*rows));

	for (int i = 0; rows && i < 4 && !r; i++) {
		uint32_t n = 1;
		int got = 0;

		if (i == 2 && info.context > 65536)
			continue;
		if ((r = check_sequence(c, instance, &info, 0)))
			break;
		/* Filling the context is allowed; the row behind it is not. */
		for (uint32_t at = check_encoded(&info); i == 2 && at <= info.context && !got; at += n) {
			n = at < info.context && info.context - at < room ? info.context - at : at < info.context ? room : 1;
			check_fill(rows, 0, at, n, info.vocab);
			for (uint32_t k = 0; k < n; k++)
				rows[k].wants = 0;
			got = check_step(c, instance, rows, n, &b);
			if (got && at < info.context)
				break;
		}
		if (i != 2) {
			check_fill(rows, i == 1 ? 1000000 : 0, 0, 1, info.vocab);
			rows[0].token = i == 0 ? (int32_t)info.vocab : i == 3 ? -1 : rows[0].token;
			got = check_step(c, instance, rows, 1, &b);
		}
		/* A decoder without embeddings may take a row of neither as it likes. */
		if (i != 3 || info.capabilities & PERCEPT_CAN_EMBEDDINGS)
			r = check_refused(c, what[i], got);
		check_host_begin(&c->host);
		ops->sequence_free(instance, 0);
	}
	free(rows);
	return r;
}

/* Logits of the last of DECODER_ROWS rows of sequence 0: alone, and then row by row between those of sequence 1. */
int check_decoder_repeat(struct check *c, void *instance)
{
	const struct percept_decoder *ops = c->plugin->ops;
	struct percept_decoder_info info;
	struct percept_row rows[DECODER_ROWS];
	struct percept_batch b;

	check_decoder_about(c, instance, &info);
	const size_t bytes = info.vocab * sizeof(float);
	float *alone = malloc(bytes);

	int r = alone ? 0 : -ENOMEM;

	if (!r)
		r = check_sequence(c, instance, &info, 0);
	if (!r)
		r = check_sequence(c, instance, &info, 1);
	for (uint32_t i = 0; i < DECODER_ROWS; i++)
		check_fill(&rows[i], 0, i, 1, info.vocab);
	for (uint32_t i = 0; i + 1 < DECODER_ROWS; i++)
		rows[i].wants = 0;
	if (!r)
		r = check_step(c, instance, rows, DECODER_ROWS, &b);
	if (!r)
		memcpy(alone, b.logits, bytes);
	ops->sequence_free(instance, 0);
	if (!r)
		r = check_sequence(c, instance, &info, 0);
	for (uint32_t i = 0; i < DECODER_ROWS && !r; i++) {
		struct percept_row both[2];

		check_fill(&both[0], 1, i, 1, info.vocab);
		check_fill(&both[1], 0, i, 1, info.vocab);
		both[0].wants = 0;
		both[1].wants = i + 1 < DECODER_ROWS ? 0 : PERCEPT_WANT_LOGITS;
		check_host_begin(&c->host);
		r = check_step(c, instance, both, 2, &b);
	}
	if (!r && memcmp(alone, b.logits, bytes))
		r = check_broken(c, "A row's logits depend on what shares its batch.");
	ops->sequence_free(instance, 0);
	ops->sequence_free(instance, 1);
	free(alone);
	return r;
}

/* tokenizer-score.c - SentencePiece's byte pair encoding (Kudo 2018): of all neighbours that make a token those whose token
 * has the best score are merged first; what is no token stays as bytes. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct score {
	struct vocab *vocab;
	uint32_t *ranks;       /* by id: how many different scores are better */
	unsigned char *barred;
	int32_t bytes[256];    /* <0x00> ...; -1: none */
	int32_t unknown;
};

/* Descending; what is no number is last. */
static int score_compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	if (isnan(x) || isnan(y))
		return isnan(x) - isnan(y);
	return x < y ? 1 : -(x > y);
}

static uint32_t *score_ranks(const float *scores, size_t n)
{
	float *sorted = malloc((n + 1) * sizeof(*sorted));
	uint32_t *ranks = sorted ? malloc((n + 1) * sizeof(*ranks)) : NULL;

	if (ranks && n) {
		memcpy(sorted, scores, n * sizeof(*sorted));
		qsort(sorted, n, sizeof(*sorted), score_compare);
		for (size_t i = 0; i < n; i++) {
			size_t low = 0, high = n;

			while (low < high) {
				size_t middle = low + (high - low) / 2;

				if (score_compare(&sorted[middle], &scores[i]) < 0)
					low = middle + 1;
				else
					high = middle;
			}
			ranks[i] = (uint32_t)low;
		}
	}
	free(sorted);
	return ranks;
}

static void score_close(void *model)
{
	struct score *s = model;

	free(s->ranks);
	free(s->barred);
	free(s);
}

void *score_new(struct vocab *vocab, float *scores, unsigned char *barred, int32_t unknown)
{
	struct score *s = calloc(1, sizeof(*s));

	if (s)
		*s = (struct score){.vocab = vocab, .ranks = score_ranks(scores, vocab->n), .barred = barred, .unknown = unknown};
	else
		free(barred);
	free(scores);
	if (s && !s->ranks) {
		score_close(s);
		s = NULL;
	}
	for (int i = 0; s && i < 256; i++) {
		char name[8];

		snprintf(name, sizeof(name), "<0x%02X>", i);
		s->bytes[i] = vocab_find(vocab, name, 6);
	}
	return s;
}

static int32_t score_find(const struct score *s, const char *text, size_t n)
{
	int32_t id = vocab_find(s->vocab, text, n);

	return id >= 0 && s->barred && s->barred[id] ? -1 : id;
}

static int32_t score_pair(const void *model, const struct merge_word *w, const struct merge_symbol *left,
			  const struct merge_symbol *right, uint32_t *rank)
{
	const struct score *s = model;
	int32_t id = score_find(s, w->text + left->at, (size_t)left->n + right->n);

	if (id >= 0)
		*rank = s->ranks[id];
	return id;
}

/* A symbol that is no token: its bytes, where the vocabulary has them. Unknown ones that follow each other are one. */
static int score_put_bytes(const struct score *s, const char *text, size_t n, struct nn_ids *ids)
{
	int failed = 0;

	for (size_t i = 0; i < n && !failed; i++) {
		int32_t byte = s->bytes[(unsigned char)text[i]];

		if (byte >= 0)
			failed = ids_put(ids, byte);
		else if (s->unknown >= 0 && !(ids->n && ids->data[ids->n - 1] == s->unknown))
			failed = ids_put(ids, s->unknown);
	}
	return failed;
}

static int score_encode(const void *model, const char *piece, size_t n, struct nn_ids *ids)
{
	const struct score *s = model;
	struct merge_word w = {.text = piece};
	int failed = 0;

	for (size_t i = 0, length; i < n && !failed; i += length) {
		length = utf8_length((unsigned char)piece[i]);
		if (length > n - i)
			length = n - i;
		failed = merge_add(&w, score_find(s, piece + i, length), i, length);
	}
	if (!failed)
		failed = merge_all(&w, score_pair, s);
	for (size_t i = 0; i < w.n && !failed; i++) {
		const struct merge_symbol *at = &w.symbols[i];

		if (at->n && at->id >= 0)
			failed = ids_put(ids, at->id);
		else if (at->n)
			failed = score_put_bytes(s, piece + at->at, at->n, ids);
	}
	merge_free(&w);
	return failed;
}

const struct model_type score_model = {"score", NULL, score_encode, score_close};

/* run.c - a decoder on one sequence, greedily. */
#include <stdlib.h>
#include <string.h>

#include "tests/golden/part.h"

/* The references were computed in float32. */
int run_open(struct run *r, struct golden *g, const char *model)
{
	cJSON *options = cJSON_CreateObject();

	cJSON_AddStringToObject(options, "compute", "f32");
	const int error = run_open_with(r, g, model, options);

	cJSON_Delete(options);
	return error;
}

int run_open_with(struct run *r, struct golden *g, const char *model, const cJSON *options)
{
	memset(r, 0, sizeof(*r));
	if (part_open(&r->part, g, "causal", model, options, 1))
		return -1;
	r->info.size = sizeof(r->info);
	part_decoder(&r->part)->info(r->part.instance, &r->info);
	return part_decoder(&r->part)->sequence_new(r->part.instance, 0);
}

void run_close(struct run *r)
{
	part_close(&r->part);
	free(r->logits);
	free(r->rows);
}

static int run_rows(struct run *r, const int32_t *ids, uint32_t n, int32_t media_token, const float *embeddings)
{
	free(r->rows);
	r->rows = calloc(n, sizeof(*r->rows));
	if (!r->rows)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		const int32_t at = (int32_t)(r->n + i);
		struct percept_row *row = &r->rows[i];

		*row = (struct percept_row){ .token = ids[i], .position = { at, at, at, at }, .wants = PERCEPT_WANT_LOGITS };
		if (embeddings && ids[i] == media_token) {
			row->token = -1;
			row->embedding = embeddings;
			embeddings += r->info.d_model;
		}
	}
	return 0;
}

int run_step(struct run *r, struct golden *g, const int32_t *ids, uint32_t n, int32_t media_token, const float *embeddings)
{
	float *logits = realloc(r->logits, (size_t)n * r->info.vocab * sizeof(float));

	if (!logits || run_rows(r, ids, n, media_token, embeddings))
		return -1;
	r->logits = logits;
	for (uint32_t done = 0; done < n;) {
		const uint32_t rows = n - done < r->info.max_batch ? n - done : r->info.max_batch;
		struct percept_batch batch = { .size = sizeof(batch), .n = rows, .rows = r->rows + done };
		const int error = part_decoder(&r->part)->step(part_call(&r->part), r->part.instance, &batch);

		if (error) {
			part_failed(&r->part, g, error);
			return -1;
		}
		memcpy(logits + (size_t)done * r->info.vocab, batch.logits, (size_t)rows * r->info.vocab * sizeof(float));
		done += rows;
	}
	r->n += n;
	return 0;
}

static int32_t run_best(const float *logits, uint32_t vocab)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < vocab; i++)
		best = logits[i] > logits[best] ? i : best;
	return (int32_t)best;
}

static int run_is_end(const struct run *r, int32_t id)
{
	for (uint32_t i = 0; i < r->info.n_end; i++) {
		if (r->info.end[i] == id)
			return 1;
	}
	return 0;
}

int run_greedy(struct run *r, struct golden *g, int32_t *ids, uint32_t n, float *step_logits, int ends)
{
	const uint32_t vocab = r->info.vocab;

	for (uint32_t i = 0; i < n; i++) {
		/* The last row of the last step: of the prompt at first, then the only one. */
		const float *last = r->logits + (i ? 0 : (size_t)(r->n - 1) * vocab);

		if (step_logits)
			memcpy(step_logits + (size_t)i * vocab, last, vocab * sizeof(float));
		ids[i] = run_best(last, vocab);
		if (ends && run_is_end(r, ids[i]))
			return (int)i + 1;
		if (i + 1 < n && run_step(r, g, &ids[i], 1, -1, NULL))
			return -1;
	}
	return (int)n;
}

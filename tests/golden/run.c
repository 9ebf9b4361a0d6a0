/* run.c - a decoder on one sequence, greedily. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/bundle.h"
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

/* The decoder that the engine would take for `model`, to delete; NULL: none is known. */
static cJSON *run_decoder(const char *model)
{
	struct wire_error why = { 0 };
	cJSON *parts = bundle_parts(model, NULL, NULL, &why), *part, *found = NULL;

	cJSON_ArrayForEach(part, parts)
		if (!strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(part, "role")), "decoder"))
			found = part;
	found = cJSON_DetachItemViaPointer(parts, found);
	cJSON_Delete(parts);
	wire_error_fini(&why);
	return found;
}

int run_open_with(struct run *r, struct golden *g, const char *model, const cJSON *options)
{
	cJSON *part = run_decoder(model), *all = cJSON_Duplicate(options, 1);
	const char *plugin = cJSON_GetStringValue(cJSON_GetObjectItem(part, "plugin"));
	const char *folder = cJSON_GetStringValue(cJSON_GetObjectItem(part, "model"));
	const cJSON *told;

	if (!all)
		all = cJSON_CreateObject();
	cJSON_ArrayForEach(told, cJSON_GetObjectItem(part, "options"))
		if (!cJSON_GetObjectItemCaseSensitive(all, told->string))
			cJSON_AddItemToObject(all, told->string, cJSON_Duplicate(told, 1));
	memset(r, 0, sizeof(*r));
	const int error = part_open(&r->part, g, plugin ? plugin : "causal", folder ? folder : model, all, 1);

	cJSON_Delete(all);
	cJSON_Delete(part);
	if (error)
		return -1;
	r->info.size = sizeof(r->info);
	part_decoder(&r->part)->info(r->part.instance, &r->info);
	return run_begin(r);
}

int run_begin(struct run *r)
{
	r->n = 0;
	r->position = 0;
	r->media_seen = r->media_run = 0;
	return part_decoder(&r->part)->sequence_new(r->part.instance, 0);
}

void run_close(struct run *r)
{
	part_close(&r->part);
	free(r->logits);
	free(r->rows);
}

int run_encodes(const struct run *r)
{
	return (r->info.capabilities & PERCEPT_CAN_ENCODE) != 0;
}

/* One step, with the connector's hooks if there is one that has them. 0 or -1. */
static int run_batch(struct run *r, struct golden *g, struct percept_batch *batch)
{
	struct percept_hooks hooks = { .size = sizeof(hooks) };
	int error = r->fusion ? part_fusion(r->fusion)->hooks(part_call(r->fusion), r->fusion->instance, &hooks) : 0;

	if (error) {
		part_failed(r->fusion, g, error);
		return -1;
	}
	batch->hooks = r->fusion ? &hooks : NULL;
	error = part_decoder(&r->part)->step(part_call(&r->part), r->part.instance, batch);
	if (error)
		part_failed(&r->part, g, error);
	return error ? -1 : 0;
}

int run_encode(struct run *r, struct golden *g, struct percept_row *rows, uint32_t n)
{
	struct percept_batch batch = { .size = sizeof(batch), .n = n, .rows = rows };

	for (uint32_t i = 0; i < n; i++)
		rows[i].wants = PERCEPT_ENCODER_ROW;
	const int failed = run_batch(r, g, &batch);

	free(rows);
	r->encoded = n;
	r->n = 0;
	r->position = 0;
	return failed;
}

int run_start(struct run *r, struct golden *g)
{
	r->n = 0;
	r->position = 0;
	if (part_decoder(&r->part)->sequence_trim(r->part.instance, 0, r->encoded)) {
		golden_fail(g, "the sequence cannot be cut behind its encoder's rows");
		return -1;
	}
	return run_step(r, g, &r->info.start, 1);
}

struct percept_row run_row(struct run *r, int32_t id)
{
	const int32_t at = r->position++;

	return (struct percept_row){ .token = id, .position = { at, at, at, at }, .wants = PERCEPT_WANT_LOGITS,
				     .media_seen = r->media_seen, .media_run = r->media_run };
}

int run_step_rows(struct run *r, struct golden *g, struct percept_row *rows, uint32_t n)
{
	float *logits = realloc(r->logits, (size_t)n * r->info.vocab * sizeof(float));

	free(r->rows);
	r->rows = rows;
	if (!logits)
		return -1;
	r->logits = logits;
	for (uint32_t done = 0; done < n;) {
		const uint32_t some = n - done < r->info.max_batch ? n - done : r->info.max_batch;
		struct percept_batch batch = { .size = sizeof(batch), .n = some, .rows = r->rows + done };

		if (run_batch(r, g, &batch))
			return -1;
		memcpy(logits + (size_t)done * r->info.vocab, batch.logits, (size_t)some * r->info.vocab * sizeof(float));
		done += some;
	}
	r->n += n;
	return 0;
}

int run_step(struct run *r, struct golden *g, const int32_t *ids, uint32_t n)
{
	struct percept_row *rows = calloc((size_t)n + 1, sizeof(*rows));

	for (uint32_t i = 0; rows && i < n; i++)
		rows[i] = run_row(r, ids[i]);
	return rows ? run_step_rows(r, g, rows, n) : -1;
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
		if (i + 1 < n && run_step(r, g, &ids[i], 1))
			return -1;
	}
	return (int)n;
}

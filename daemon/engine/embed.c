/* embed.c - embedding.create: behind the media's stages, or, for text, by the encoder or the decoder. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/engine.h"
#include "daemon/engine/pipeline.h"
#include "daemon/engine/scheduler.h"

/* (n, dim) to their mean (dim). */
static void embed_mean(const float *data, size_t n, size_t dim, float *mean)
{
	memset(mean, 0, dim * sizeof(float));
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < dim; j++)
			mean[j] += data[i * dim + j] / (float)n;
}

void embed_finish(struct request *request)
{
	const struct embeddings *e = &request->items[0].entry->embeddings;
	size_t n = request->pooled ? e->dim : (size_t)e->n * e->dim;

	request->vector = malloc(n ? n * sizeof(float) : 1);
	if (!request->vector)
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
	else if (request->pooled)
		embed_mean(e->data, e->n, e->dim, request->vector);
	else if (n)
		memcpy(request->vector, e->data, n * sizeof(float));
	request->rank = request->pooled ? 1 : 2;
	request->shape[0] = request->pooled ? e->dim : e->n;
	request->shape[1] = e->dim;
	engine_finish(request);
}

/* All texts of the input, a line feed between messages; malloc'ed. */
static char *embed_all_text(const cJSON *params)
{
	const cJSON *message, *part;
	char *all = calloc(1, 1);
	size_t n = 0;

	cJSON_ArrayForEach(message, wire_member(params, "input")) {
		const cJSON *content = wire_member(message, "content");
		/* A lone text is treated as a list of one. */
		const cJSON *list = cJSON_IsArray(content) ? content->child : content;

		for (part = list; part && all; part = cJSON_IsArray(content) ? part->next : NULL) {
			const char *text = cJSON_IsString(part) ? part->valuestring : prompt_part_text(part);
			size_t more = text ? strlen(text) : 0, gap = n > 0 && part == list;
			char *grown = realloc(all, n + gap + more + 1);

			if (!grown) {
				free(all);
				return NULL;
			}
			all = grown;
			memcpy(all + n, "\n", gap);
			memcpy(all + n + gap, text ? text : "", more + 1);
			n += gap + more;
		}
	}
	return all;
}

static void embed_text_run(struct worker_job *job)
{
	struct request *request = pipeline_request(job);
	const struct lane *lane = assembly_text_lane(&request->engine->assembly);
	char *text = embed_all_text(request->params);
	const float *pooled = NULL;
	struct call call;

	if (!text || pipeline_call(request, &call, request->engine->encode_pool)) {
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
		free(text);
		return;
	}
	call_reset(&call, lane->encoder->plugin.api->name);
	int r = lane->encoder_ops->encode_text(&call.base, lane->encoder->instance, text, &pooled);
	size_t n = lane->encoder_info.pooled_dim;

	if (r)
		call_failed(&call, r, "encode the text", &request->error);
	else if (!pooled)
		call_broken(&call, &request->error, "encode_text() returned 0 and no vector");
	else if (!(request->vector = malloc(n * sizeof(float))))
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
	else
		memcpy(request->vector, pooled, n * sizeof(float));
	request->rank = 1;
	request->shape[0] = n;
	call_fini(&call);
	free(text);
}

/* The decoder, or its encoder, reads the plain text, and the last hidden state is the vector. */
static void embed_rows_run(struct worker_job *job)
{
	struct request *request = pipeline_request(job);
	const struct assembly *assembly = &request->engine->assembly;
	char *text = embed_all_text(request->params);
	struct nn_ids ids = {0};
	struct call call;

	if (!text || pipeline_call(request, &call, NULL)) {
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
		free(text);
		return;
	}
	int r = text_encode(&assembly->text, &call, text, strlen(text), 0, &ids, &request->error);

	if (r == 0 && assembly->text.start >= 0)
		r = rows_add_tokens(&request->rows, &assembly->text.start, 1);
	if (r == 0)
		r = rows_add_tokens(&request->rows, ids.data, ids.n);
	if (r == 0)
		r = rows_encode(&request->rows, assembly, 1);
	if (r && !request->error.code)
		wire_error_set(&request->error, WIRE_INTERNAL, "Memory is out.");
	nn_ids_free(&ids);
	call_fini(&call);
	free(text);
}

static void embed_rows_done(struct request *request)
{
	if (request->error.code || request_stopped(request)) {
		engine_finish(request);
		return;
	}
	request->where = REQUEST_IN_SCHEDULER;
	scheduler_submit(request->engine->scheduler, request);
}

/* Text alone in the encoder's space: there is no other way. */
static int embed_encoder_only(struct request *request)
{
	const struct assembly *assembly = &request->engine->assembly;

	for (size_t i = 0; i < TEXT_MEDIA; i++)
		if (assembly->lanes[i].encoder)
			return wire_error_path(&request->error, "input", "is text alone, and encoder %s of assistant %s reads no text; "
					       "send media", assembly->lanes[i].encoder->plugin.api->name, assembly->name);
	return wire_error_path(&request->error, "space", "is encoder, but assistant %s has no encoder", assembly->name);
}

void embed_text(struct request *request)
{
	struct engine *engine = request->engine;

	if (assembly_text_lane(&engine->assembly)) {
		pipeline_submit(request, engine->encode_worker, embed_text_run, engine_finish);
	} else if (request->space == REQUEST_ENCODER) {
		embed_encoder_only(request);
		engine_finish(request);
	} else if (engine->assembly.info.capabilities & PERCEPT_CAN_HIDDEN) {
		pipeline_submit(request, engine->text_worker, embed_rows_run, embed_rows_done);
	} else {
		wire_error_path(&request->error, "space", "is text, but no part of assistant %s makes vectors of text",
				engine->assembly.name);
		engine_finish(request);
	}
}

/* request-params.c - reads what was asked. The table of methods has checked names, types and ranges already. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/engine.h"
#include "daemon/engine/look.h"
#include "daemon/engine/json-file.h"
#include "sdk/wire/schema.h"

static int request_read_bias(struct request *request, struct wire_error *error)
{
	const cJSON *bias = wire_member(request->params, "logit_bias"), *one;
	uint32_t vocab = request->engine->assembly.info.vocab;
	int n = cJSON_GetArraySize(bias);

	if (n == 0)
		return 0;
	request->bias = calloc((size_t)n, sizeof(*request->bias));
	if (!request->bias)
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	cJSON_ArrayForEach(one, bias) {
		char *end, path[96];
		unsigned long id = strtoul(one->string, &end, 10);

		snprintf(path, sizeof(path), "logit_bias.%.64s", one->string);
		if (one->string[0] < '0' || one->string[0] > '9' || *end || id >= vocab)
			return wire_error_path(error, path, "must be the id of a token, 0 to %u", vocab - 1);
		request->bias[request->sampler.n_bias++] = (struct sampler_bias){(int32_t)id, one->valuedouble};
	}
	request->sampler.bias = request->bias;
	return 0;
}

static void request_read_sampler(struct request *request)
{
	const cJSON *p = request->params;
	struct sampler_params *s = &request->sampler;

	sampler_defaults(s);
	s->temperature = wire_param_number(p, "temperature", 0);
	s->top_k = (uint32_t)wire_param_int(p, "top_k", 0);
	s->top_p = wire_param_number(p, "top_p", 1);
	s->min_p = wire_param_number(p, "min_p", 0);
	s->typical_p = wire_param_number(p, "typical_p", 1);
	s->repetition = wire_param_number(p, "repeat_penalty", 1);
	s->presence = wire_param_number(p, "presence_penalty", 0);
	s->frequency = wire_param_number(p, "frequency_penalty", 0);
	s->seed = (uint64_t)wire_param_int(p, "seed", 0);
}

static const struct {
	const char *name;
	enum request_space space;
} request_spaces[] = {{"encoder", REQUEST_ENCODER}, {"connector", REQUEST_CONNECTOR}, {"text", REQUEST_TEXT}};

/* The last text of the last message. */
static void request_read_instruction(struct request *request)
{
	const cJSON *input = wire_member(request->params, "input"), *content, *part;
	const char *text = cJSON_GetStringValue(input);

	if (cJSON_IsArray(input) && cJSON_GetArraySize(input)) {
		content = wire_member(cJSON_GetArrayItem(input, cJSON_GetArraySize(input) - 1), "content");
		text = cJSON_GetStringValue(content);
		cJSON_ArrayForEach(part, json_list(content))
			text = prompt_part_text(part) ? prompt_part_text(part) : text;
	}
	request->instruction = text ? strdup(text) : NULL;
}

/* Whether there is anything to answer. */
static int request_has_text(const cJSON *params)
{
	const cJSON *message, *part;

	cJSON_ArrayForEach(message, json_list(wire_member(params, "input"))) {
		const cJSON *content = wire_member(message, "content");

		if (cJSON_IsString(content))
			return 1;
		cJSON_ArrayForEach(part, json_list(content))
			if (prompt_part_text(part))
				return 1;
	}
	return 0;
}

/* Encoders alone answer nothing. */
static int request_check_decoder(const struct request *request, struct wire_error *error)
{
	const struct assembly *assembly = &request->engine->assembly;

	if (assembly->decoder || request->kind == REQUEST_EMBEDDING || request->mute)
		return 0;
	return wire_error_path(error, "assistant", "is %s, which has an encoder and no decoder: it makes embeddings "
			       "(embedding.create) and answers no questions", assembly->name);
}

int request_read_params(struct request *request, struct wire_error *error)
{
	static const char *const methods[] = {"response.create", "embedding.create", "token.count", "image.look"};
	const struct wire_method *method = wire_method_named(methods[request->kind]);
	int r = method ? wire_method_check(method, request->params, error) : 0;

	const cJSON *p = request->params, *stop;

	if (r == 0 && request->kind == REQUEST_LOOK)
		request->mute = !request_has_text(p);
	if (r == 0)
		r = request_check_decoder(request, error);

	if (r)
		return r;
	request_read_sampler(request);
	request->stream = request->kind == REQUEST_RESPONSE && wire_param_bool(p, "stream", 1);
	request->raw = wire_param_bool(p, "raw", 0);
	request->return_tokens = wire_param_bool(p, "return_tokens", 0);
	request->max_output = (uint32_t)wire_param_int(p, "max_output_tokens",
						       request->kind == REQUEST_LOOK ? REQUEST_LOOK_TOKENS : 256);
	request->top_logprobs = (uint32_t)wire_param_int(p, "top_logprobs", 0);
	request->pooled = wire_param_bool(p, "pooled", 0);
	cJSON_ArrayForEach(stop, wire_member(p, "stop"))
		if (request->n_stops < REQUEST_MAX_STOPS && cJSON_IsString(stop))
			request->stops[request->n_stops++] = stop->valuestring;
	for (size_t i = 0; i < 3; i++)
		if (strcmp(wire_param_string(p, "space", ""), request_spaces[i].name) == 0)
			request->space = request_spaces[i].space;
	request_read_instruction(request);
	return request_read_bias(request, error);
}

/* ---- media ---- */

struct request_reading {
	struct request *request;
	struct wire_frame *frame;
	const cJSON *hop_media;
	struct wire_error *error;
};

static int request_find_lane(const struct request_reading *reading, const struct wire_media *media, size_t *lane)
{
	const struct assembly *assembly = &reading->request->engine->assembly;

	for (size_t i = 0; i < TEXT_MEDIA; i++)
		/* An expert gives text: no vectors, and nothing to look at. */
		if (strcmp(media->kind, text_media_names[i]) == 0 &&
		    (assembly->lanes[i].encoder || (assembly->lanes[i].expert && reading->request->kind != REQUEST_EMBEDDING &&
						   reading->request->kind != REQUEST_LOOK))) {
			*lane = i;
			return 0;
		}
	return wire_error_path(reading->error, media->path, "is %s %s, which assistant %s does not take",
			       media->kind[0] == 'i' || media->kind[0] == 'a' ? "an" : "a", media->kind, assembly->name);
}

static const struct {
	const char *name;
	enum percept_detail detail;
} request_details[] = {{"auto", PERCEPT_DETAIL_AUTO}, {"low", PERCEPT_DETAIL_LOW}, {"high", PERCEPT_DETAIL_HIGH}};

/* What was asked of the encoder for this item, as far as it says what it can. */
static int request_read_detail(const struct request_reading *reading, const struct wire_media *media, struct item *item)
{
	const struct lane *lane = &reading->request->engine->assembly.lanes[item->lane];
	const char *detail = wire_param_string(media->part, "detail", "auto");
	char path[256];

	item->media.max_tokens = (uint32_t)wire_param_int(media->part, "max_tokens", 0);
	for (size_t i = 0; i < 3; i++)
		if (strcmp(detail, request_details[i].name) == 0)
			item->media.detail = request_details[i].detail;
	if (item->media.detail == PERCEPT_DETAIL_AUTO || lane->encoder_info.details & (1u << item->media.detail))
		return 0;
	snprintf(path, sizeof(path), "%.200s.detail", media->path);
	return wire_error_path(reading->error, path, "is %s, but %s %s knows no such difference; leave it away", detail,
			       lane->encoder ? "encoder" : "expert", (lane->encoder ? lane->encoder : lane->expert)->plugin.api->name);
}

static uint32_t request_hop_number(const cJSON *hop, const char *name, uint32_t fallback)
{
	double x = wire_param_number(hop, name, fallback);

	return x >= 0 && x <= INT32_MAX ? (uint32_t)x : 0;
}

static int request_read_item(void *arg, const struct wire_media *media)
{
	struct request_reading *reading = arg;
	struct request *request = reading->request;
	const cJSON *hop = cJSON_GetArrayItem(reading->hop_media, (int)media->index);
	struct item *items, *item;
	int r;

	if (request->n_items == REQUEST_MAX_ITEMS) {
		wire_error_set(reading->error, WIRE_LIMIT, "A request may have %d media items.", REQUEST_MAX_ITEMS);
		wire_error_string(reading->error, "limit", "media_items");
		wire_error_number(reading->error, "value", REQUEST_MAX_ITEMS);
		return WIRE_LIMIT;
	}
	if (media->reference != WIRE_REF_FD || media->fd >= reading->frame->n_fds || reading->frame->fds[media->fd] < 0 || !hop)
		return wire_error_path(reading->error, media->path,
				       "has no decoded item behind it: an engine takes what perceptd has decoded");
	items = reallocarray(request->items, request->n_items + 1, sizeof(*items));
	if (!items)
		return wire_error_set(reading->error, WIRE_INTERNAL, "Memory is out.");
	request->items = items;
	item = &items[request->n_items];
	*item = (struct item){.fd = -1, .media = {.size = sizeof(item->media), .frames = 1}};
	r = request_find_lane(reading, media, &item->lane);
	if (r == 0)
		r = request_read_detail(reading, media, item);
	if (r)
		return r;
	item->media.modality = (uint32_t)PERCEPT_IMAGE << item->lane;
	item->media.format = item->media.modality == PERCEPT_AUDIO ? PERCEPT_F32_MONO : PERCEPT_U8_RGB;
	item->media.width = request_hop_number(hop, "width", 0);
	item->media.height = request_hop_number(hop, "height", 0);
	item->media.channels = request_hop_number(hop, "channels", 3);
	item->media.frames = request_hop_number(hop, "frames", 1);
	item->media.samples = request_hop_number(hop, "samples", 0);
	item->media.rate_hz = wire_param_number(hop, "rate_hz", 0);
	item->fd = reading->frame->fds[media->fd];
	reading->frame->fds[media->fd] = -1;
	request->n_items++;
	return 0;
}

/* Pictures alone are looked at. */
static int request_begin_look(struct request *request, struct wire_error *error)
{
	for (size_t i = 0; i < request->n_items; i++)
		if (request->items[i].media.modality != PERCEPT_IMAGE)
			return wire_error_path(error, "input", "has other media than pictures, which image.look shows");
	if (request->n_items == 0)
		return wire_error_path(error, "input", "has no picture to look at");
	request->look = look_new(request->n_items);
	return request->look ? 0 : wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
}

int request_read_items(struct request *request, struct wire_frame *frame, const cJSON *hop, struct wire_error *error)
{
	struct request_reading reading = {request, frame, wire_member(hop, "media"), error};
	const size_t least = request->space == REQUEST_CONNECTOR ? 1 : 0;
	int r = wire_media_each(request->params, request_read_item, &reading);

	if (r == 0 && request->kind == REQUEST_LOOK)
		return request_begin_look(request, error);
	if (r || request->kind != REQUEST_EMBEDDING || request->space == REQUEST_TEXT)
		return r;
	if (request->n_items < least || request->n_items > 1)
		return wire_error_path(error, "input", "has %zu media items; the %s space takes one", request->n_items,
				       request_spaces[request->space].name);
	const struct assembly *assembly = &request->engine->assembly;
	const struct lane *lane = request->space == REQUEST_CONNECTOR ? &assembly->lanes[request->items[0].lane] : NULL;

	if (lane && !lane->connector)
		return wire_error_path(error, "space", "is connector, but assistant %s has none", assembly->name);
	if (lane && lane->fusion_ops && !lane->fusion_info.max_rows)
		return wire_error_path(error, "space", "is connector, but connector %s of assistant %s works inside the decoder and "
				       "gives no embeddings", lane->connector->plugin.api->name, assembly->name);
	return 0;
}

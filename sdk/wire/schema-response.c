/* schema-response.c - the methods that work on input: response.*, embedding.create, token.count (PROTOCOL 3, 4). */
#include "sdk/wire/schema-tables.h"

/* ---- input ---- */

static const struct wire_field bin_element = {.type = WIRE_INT, .min = 0, .max = WIRE_MAX_INT};

/* What every media part has; `kind` is its type. */
#define MEDIA_MEMBERS(kind)                                                                                            \
	{.name = "type", .type = WIRE_STRING, .required = 1, .choices = kind},                                         \
	{.name = "bin", .type = WIRE_ARRAY, .group = 1, .min = 2, .max = 2, .items = &bin_element,                     \
	 .help = "[offset, length] in the frame's tail"},                                                              \
	{.name = "fd", .type = WIRE_INT, .group = 1, .min = 0, .max = WIRE_MAX_FDS - 1,                                \
	 .help = "which of the frame's descriptors, from 0"},                                                          \
	{.name = "path", .type = WIRE_STRING, .group = 1, .min = 1, .max = 4095, .format = WIRE_ABSOLUTE,              \
	 .help = "a regular file; only when the peer is the daemon's own user"},                                       \
	{.name = "data", .type = WIRE_STRING, .group = 1, .min = 1, .max = WIRE_BASE64_MOST, .format = WIRE_BASE64,    \
	 .help = "base64, at most 256 KiB of it"},                                                                     \
	{.name = "detail", .type = WIRE_STRING, .choices = "auto|low|high", .fallback = "\"auto\""},                   \
	{.name = "max_tokens", .type = WIRE_INT, .min = 1, .max = WIRE_INT32,                                          \
	 .help = "the most tokens this item may become"},                                                              \
	{0}

static const struct wire_field part_text[] = {
	{.name = "type", .type = WIRE_STRING, .required = 1, .choices = "input_text|output_text"},
	{.name = "text", .type = WIRE_STRING, .required = 1},
	{0},
};
static const struct wire_field part_image[] = {MEDIA_MEMBERS("input_image")};
static const struct wire_field part_audio[] = {MEDIA_MEMBERS("input_audio")};
static const struct wire_field part_video[] = {MEDIA_MEMBERS("input_video")};

static const struct wire_field part_kinds[] = {
	{.type = WIRE_OBJECT, .items = part_text},
	{.type = WIRE_OBJECT, .items = part_image},
	{.type = WIRE_OBJECT, .items = part_audio},
	{.type = WIRE_OBJECT, .items = part_video},
	{0},
};
static const struct wire_field part = {.type = WIRE_ONE_OF, .items = part_kinds};

static const struct wire_field content_kinds[] = {
	{.type = WIRE_STRING},
	{.type = WIRE_ARRAY, .items = &part},
	{0},
};

static const struct wire_field item_members[] = {
	{.name = "type", .type = WIRE_STRING, .required = 1, .choices = "message"},
	{.name = "role", .type = WIRE_STRING, .required = 1, .choices = "system|user|assistant"},
	{.name = "content", .type = WIRE_ONE_OF, .required = 1, .items = content_kinds},
	{0},
};
const struct wire_field wire_input_item = {.type = WIRE_OBJECT, .items = item_members};

static const struct wire_field input_kinds[] = {
	{.type = WIRE_STRING, .min = 1, .max = WIRE_MAX_INT},
	{.type = WIRE_ARRAY, .min = 1, .max = WIRE_MAX_INT, .items = &wire_input_item},
	{0},
};

/* ---- response.create, token.count ---- */

static const struct wire_field stop_element = {.type = WIRE_STRING, .min = 1, .max = 256};
static const struct wire_field bias_value = {.type = WIRE_NUMBER, .min = -100, .max = 100};

static const struct wire_field response_params[] = {
	{.name = "assistant", .type = WIRE_STRING, .fallback = "\"default\""},
	{.name = "instructions", .type = WIRE_STRING, .help = "system text, behind the assistant's own"},
	{.name = "input", .type = WIRE_ONE_OF, .required = 1, .items = input_kinds},
	{.name = "stream", .type = WIRE_BOOL, .fallback = "true", .help = "whether notifications are sent while it runs"},
	{.name = "max_output_tokens", .type = WIRE_INT, .min = 1, .max = WIRE_INT32, .fallback = "256"},
	{.name = "temperature", .type = WIRE_NUMBER, .min = 0, .max = 10, .fallback = "0", .help = "0: greedy"},
	{.name = "top_k", .type = WIRE_INT, .min = 0, .max = 1048576, .fallback = "0", .help = "0: off"},
	{.name = "top_p", .type = WIRE_NUMBER, .min = 0, .max = 1, .fallback = "1"},
	{.name = "min_p", .type = WIRE_NUMBER, .min = 0, .max = 1, .fallback = "0"},
	{.name = "typical_p", .type = WIRE_NUMBER, .min = 0, .max = 1, .fallback = "1"},
	{.name = "repeat_penalty", .type = WIRE_NUMBER, .min = 0.1, .max = 10, .fallback = "1"},
	{.name = "presence_penalty", .type = WIRE_NUMBER, .min = -10, .max = 10, .fallback = "0"},
	{.name = "frequency_penalty", .type = WIRE_NUMBER, .min = -10, .max = 10, .fallback = "0"},
	{.name = "seed", .type = WIRE_INT, .min = 0, .max = WIRE_MAX_INT, .fallback = "0"},
	{.name = "stop", .type = WIRE_ARRAY, .min = 0, .max = 16, .items = &stop_element, .fallback = "[]"},
	{.name = "logit_bias", .type = WIRE_MAP, .min = 0, .max = 1024, .items = &bias_value,
	 .help = "token id to what is added to its logit"},
	{.name = "top_logprobs", .type = WIRE_INT, .min = 0, .max = 64, .fallback = "0"},
	{.name = "response_format", .type = WIRE_ANY, .later = 1},
	{.name = "tools", .type = WIRE_ANY, .later = 1},
	{.name = "raw", .type = WIRE_BOOL, .fallback = "false", .help = "no chat template"},
	{.name = "return_tokens", .type = WIRE_BOOL, .fallback = "false"},
	{.name = "deadline_ms", .type = WIRE_INT, .min = 0, .max = 86400000, .fallback = "0", .help = "0: none"},
	{0},
};

static const struct wire_field token_id = {.type = WIRE_INT};

#define COUNT(n) {.name = n, .type = WIRE_INT, .required = 1, .min = 0, .max = WIRE_MAX_INT}
#define MILLISECONDS(n) {.name = n, .type = WIRE_NUMBER, .required = 1, .min = 0, .max = WIRE_MAX_INT}

static const struct wire_field output_content_members[] = {
	{.name = "type", .type = WIRE_STRING, .required = 1, .choices = "output_text"},
	{.name = "text", .type = WIRE_STRING, .required = 1},
	{0},
};
static const struct wire_field output_content = {.type = WIRE_OBJECT, .items = output_content_members};
static const struct wire_field output_members[] = {
	{.name = "type", .type = WIRE_STRING, .required = 1, .choices = "message"},
	{.name = "role", .type = WIRE_STRING, .required = 1, .choices = "assistant"},
	{.name = "content", .type = WIRE_ARRAY, .required = 1, .items = &output_content},
	{0},
};
static const struct wire_field output = {.type = WIRE_OBJECT, .items = output_members};
static const struct wire_field usage_media_members[] = {
	{.name = "type", .type = WIRE_STRING, .required = 1, .choices = "image|audio|video"},
	COUNT("tokens"),
	{.name = "encoder_cached", .type = WIRE_BOOL, .required = 1},
	{.name = "via", .type = WIRE_STRING, .required = 1, .choices = "connector|expert|connector+expert",
	 .help = "which way the item came into the prompt"},
	{.name = "confidence", .type = WIRE_NUMBER, .help = "of the expert's text, 0 to 1, where it says"},
	{0},
};
static const struct wire_field usage_media = {.type = WIRE_OBJECT, .items = usage_media_members};
static const struct wire_field usage_members[] = {
	COUNT("input_tokens"),
	COUNT("cached_tokens"),
	COUNT("output_tokens"),
	{.name = "media", .type = WIRE_ARRAY, .required = 1, .items = &usage_media},
	{0},
};
static const struct wire_field timings_members[] = {
	MILLISECONDS("queue_ms"), MILLISECONDS("media_ms"), MILLISECONDS("encode_ms"), MILLISECONDS("connect_ms"),
	MILLISECONDS("prefill_ms"), MILLISECONDS("first_token_ms"), MILLISECONDS("decode_ms"), MILLISECONDS("total_ms"),
	{0},
};
static const struct wire_field logprob_top_members[] = {
	{.name = "id", .type = WIRE_INT, .required = 1},
	{.name = "logprob", .type = WIRE_NUMBER, .required = 1},
	{.name = "text", .type = WIRE_STRING, .required = 1},
	{0},
};
static const struct wire_field logprob_top = {.type = WIRE_OBJECT, .items = logprob_top_members};
static const struct wire_field logprob_members[] = {
	{.name = "id", .type = WIRE_INT, .required = 1},
	{.name = "logprob", .type = WIRE_NUMBER, .required = 1},
	{.name = "top", .type = WIRE_ARRAY, .required = 1, .items = &logprob_top},
	{0},
};
static const struct wire_field logprob = {.type = WIRE_OBJECT, .items = logprob_members};

static const struct wire_field response_result_members[] = {
	{.name = "response_id", .type = WIRE_STRING, .required = 1},
	{.name = "status", .type = WIRE_STRING, .required = 1, .choices = "completed|incomplete|cancelled"},
	{.name = "finish_reason", .type = WIRE_STRING, .required = 1, .choices = "stop|length|cancelled|deadline"},
	{.name = "output", .type = WIRE_ARRAY, .required = 1, .items = &output},
	{.name = "output_text", .type = WIRE_STRING, .required = 1},
	{.name = "usage", .type = WIRE_OBJECT, .required = 1, .items = usage_members},
	{.name = "timings", .type = WIRE_OBJECT, .required = 1, .items = timings_members},
	{.name = "tokens", .type = WIRE_ARRAY, .items = &token_id, .help = "with return_tokens"},
	{.name = "logprobs", .type = WIRE_ARRAY, .items = &logprob, .help = "with top_logprobs"},
	{0},
};
static const struct wire_field response_result = {.type = WIRE_OBJECT, .items = response_result_members};

/* ---- notifications ---- */

static const struct wire_field request_id_kinds[] = {
	{.type = WIRE_INT, .min = 0, .max = WIRE_MAX_INT},
	{.type = WIRE_STRING, .min = 0, .max = 64},
	{0},
};

#define NOTIFICATION_MEMBERS                                                                                           \
	{.name = "request_id", .type = WIRE_ONE_OF, .required = 1, .items = request_id_kinds},                         \
	{.name = "response_id", .type = WIRE_STRING, .required = 1}, COUNT("sequence_number")

static const struct wire_field created_params[] = {NOTIFICATION_MEMBERS, {0}};
static const struct wire_field in_progress_params[] = {
	NOTIFICATION_MEMBERS,
	{.name = "stage", .type = WIRE_STRING, .required = 1, .choices = "queue|media|encode|connect|prefill|decode"},
	{.name = "item", .type = WIRE_INT},
	{.name = "done", .type = WIRE_INT},
	{.name = "total", .type = WIRE_INT},
	{0},
};
static const struct wire_field delta_params[] = {
	NOTIFICATION_MEMBERS,
	{.name = "delta", .type = WIRE_STRING, .required = 1, .help = "whole characters only"},
	{.name = "tokens", .type = WIRE_ARRAY, .items = &token_id},
	{.name = "logprobs", .type = WIRE_ARRAY, .items = &logprob},
	{0},
};
static const struct wire_field done_params[] = {
	NOTIFICATION_MEMBERS,
	{.name = "text", .type = WIRE_STRING, .required = 1},
	{0},
};
static const struct wire_notification_schema response_notifications[] = {
	{"response.created", created_params},
	{"response.in_progress", in_progress_params},
	{"response.output_text.delta", delta_params},
	{"response.output_text.done", done_params},
	{NULL, NULL},
};

const int wire_work_errors[] = {WIRE_FORBIDDEN, WIRE_OVERLOADED, WIRE_LIMIT, WIRE_CONTEXT, WIRE_NOT_READY, WIRE_MEDIA,
				  WIRE_DEADLINE, WIRE_PLUGIN, WIRE_NOT_FOUND, WIRE_SHUTDOWN, WIRE_MODEL, WIRE_TEMPLATE, 0};

const struct wire_method wire_method_response_create = {
	"response.create", WIRE_USER, 1, response_params, &response_result, response_notifications, wire_work_errors,
	"Answers text and media with text.",
};

static const struct wire_field count_result_members[] = {
	COUNT("tokens"),
	{.name = "by_item", .type = WIRE_ARRAY, .required = 1, .items = &token_id},
	{0},
};
static const struct wire_field count_result = {.type = WIRE_OBJECT, .items = count_result_members};

const struct wire_method wire_method_token_count = {
	"token.count", WIRE_USER, 1, response_params, &count_result, NULL, wire_work_errors,
	"Counts the tokens that response.create would read.",
};

/* ---- response.cancel ---- */

static const struct wire_field cancel_params[] = {
	{.name = "request_id", .type = WIRE_ONE_OF, .group = 1, .items = request_id_kinds},
	{.name = "response_id", .type = WIRE_STRING, .group = 1, .min = 1, .max = 64},
	{0},
};
static const struct wire_field cancel_result_members[] = {
	{.name = "status", .type = WIRE_STRING, .required = 1, .choices = "cancelled|already_done"},
	{0},
};
static const struct wire_field cancel_result = {.type = WIRE_OBJECT, .items = cancel_result_members};
static const int cancel_errors[] = {WIRE_NOT_FOUND, 0};

const struct wire_method wire_method_response_cancel = {
	"response.cancel", WIRE_USER, 1, cancel_params, &cancel_result, NULL, cancel_errors,
	"Stops a request in any of its stages; any connection of the same user may.",
};

/* ---- embedding.create ---- */

static const struct wire_field embedding_params[] = {
	{.name = "assistant", .type = WIRE_STRING, .fallback = "\"default\""},
	{.name = "input", .type = WIRE_ARRAY, .required = 1, .min = 1, .max = WIRE_MAX_INT, .items = &wire_input_item},
	{.name = "space", .type = WIRE_STRING, .required = 1, .choices = "encoder|connector|text"},
	{.name = "pooled", .type = WIRE_BOOL, .fallback = "false", .help = "one vector, the mean"},
	{0},
};
static const struct wire_field embedding_result_members[] = {
	{.name = "shape", .type = WIRE_ARRAY, .required = 1, .items = &token_id},
	{.name = "dtype", .type = WIRE_STRING, .required = 1, .choices = "f32"},
	{.name = "space", .type = WIRE_STRING, .required = 1, .choices = "encoder|connector|text"},
	{0},
};
static const struct wire_field embedding_result = {.type = WIRE_OBJECT, .items = embedding_result_members,
						   .help = "the numbers are the frame's tail, little-endian"};

const struct wire_method wire_method_embedding_create = {
	"embedding.create", WIRE_USER, 1, embedding_params, &embedding_result, NULL, wire_work_errors,
	"Gives the vectors of media or text at one point of the pipeline.",
};

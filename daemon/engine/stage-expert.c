/* stage-expert.c - one media item to text, by the lane's expert, as it enters the prompt. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/pipeline.h"

#define EXPERT_MAX_TEXT ((size_t)1 << 20)
#define EXPERT_MAX_SPANS (1u << 20)

static int expert_is_utf8(const char *text, size_t bytes)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + bytes;
	size_t n = 1;

	for (; at < end && n; at += n)
		n = wire_utf8_length(at, end);
	return n != 0;
}

/* What an expert gives is text, its spans lie in it. 0, or -32010. */
static int expert_check(const struct call *call, const struct percept_expert_result *result, size_t *bytes, struct wire_error *error)
{
	*bytes = result->text ? strnlen(result->text, EXPERT_MAX_TEXT + 1) : 0;
	if (!result->text || *bytes > EXPERT_MAX_TEXT || !expert_is_utf8(result->text, *bytes))
		return call_broken(call, error, "read() returned 0 and %s", !result->text	     ? "no text" :
									      *bytes > EXPERT_MAX_TEXT ? "too long a text" :
													 "a text that is not UTF-8");
	if (result->n_spans > EXPERT_MAX_SPANS || (result->n_spans && !result->spans))
		return call_broken(call, error, "read() says it found %u spans", result->n_spans);
	for (uint32_t i = 0; i < result->n_spans; i++)
		if (result->spans[i].first > *bytes || result->spans[i].bytes > *bytes - result->spans[i].first)
			return call_broken(call, error, "its span %u lies outside of its text", i);
	return 0;
}

/* The template with `text` in each place of "{text}"; NULL when memory is out. */
static char *expert_fill(const char *template, const char *text, size_t bytes)
{
	static const char mark[] = "{text}";
	size_t n = strlen(template), places = 0;

	for (const char *at = template; (at = strstr(at, mark)); at += sizeof(mark) - 1)
		places++;
	char *out = malloc(n + places * bytes + 1), *to = out;

	for (const char *at = template; out; at += sizeof(mark) - 1) {
		const char *next = strstr(at, mark);
		const size_t before = next ? (size_t)(next - at) : strlen(at);

		to = (char *)memcpy(to, at, before) + before;
		if (!next)
			break;
		to = (char *)memcpy(to, text, bytes) + bytes;
		at = next;
	}
	if (out)
		*to = '\0';
	return out;
}

int stage_expert(struct request *request, struct item *item, struct call *call, struct wire_error *error)
{
	const struct lane *lane = &request->engine->assembly.lanes[item->lane];
	struct percept_expert_result result = {.size = sizeof(result), .confidence = -1};
	const double start = clock_now_ms();
	size_t bytes;

	request->stage = "encode";
	engine_progress(request, "encode", (int)request->next_item, 0, 0);
	call_reset(call, lane->expert->plugin.api->name);
	int r = lane->expert_ops->read(&call->base, lane->expert->instance, &item->media, NULL, &result);

	request->times.encode_item += clock_now_ms() - start;
	request->times.encode += clock_now_ms() - start;
	if (r)
		return call_failed(call, r, "read the media item", error) ? error->code : -ECANCELED;
	if (expert_check(call, &result, &bytes, error))
		return error->code;
	while (bytes && strchr(" \t\r\n", result.text[bytes - 1]))
		bytes--;
	request->made.told = expert_fill(lane->expert->template, result.text, bytes);
	if (!request->made.told)
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	request->made.bytes += strlen(request->made.told);
	request->made.confidence = result.confidence >= 0 && result.confidence <= 1 ? result.confidence : -1;
	return 0;
}

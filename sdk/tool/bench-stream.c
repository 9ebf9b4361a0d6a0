/* bench-stream.c - requests whose prompts and answers have a set length, several at once. */
#include "sdk/tool/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sdk/nn/pool.h"
#include "sdk/tool/sampling.h"

#define BENCH_PICTURE 224 /* pixels a side */

double bench_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int bench_streams_open(struct bench_streams *s, struct tool *tool, unsigned n)
{
	*s = (struct bench_streams){.tool = tool, .assistant = tool->assistant};
	for (; s->n < n && s->n < BENCH_BATCH; s->n++) {
		int r = tool_connect(tool, &s->stream[s->n].connection);
		if (r)
			return r;
	}
	return 0;
}

void bench_streams_close(struct bench_streams *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		percept_close(s->stream[i].connection);
		free(s->stream[i].text);
		percept_error_clear(&s->stream[i].error);
	}
	s->n = 0;
}

/* Numbers of two digits: in every vocabulary they take about the same number of tokens each, and no two prompts begin alike. */
static char *bench_words(unsigned words, uint64_t seed)
{
	char *text = malloc((size_t)words * 3 + 1);
	for (unsigned i = 0; text && i < words; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		snprintf(text + 3 * (size_t)i, 4, "%u ", 10 + (unsigned)(seed >> 33) % 90);
	}
	return text;
}

static struct percept_input *bench_input(const struct bench_streams *s, const char *text)
{
	char bias[32 * BENCH_ENDS + 8] = "{";
	struct percept_input *input = percept_input_new();
	size_t n = 1;
	for (unsigned i = 0; i < s->n_ends; i++)
		n += (size_t)snprintf(bias + n, sizeof bias - n, "%s\"%d\":-100", i ? "," : "", s->ends[i]);
	snprintf(bias + n, sizeof bias - n, "}");
	if (input && (percept_input_text(input, text, NULL) < 0 || percept_input_set(input, "raw", "true", NULL) < 0 ||
		      (s->n_ends && percept_input_set(input, "logit_bias", bias, NULL) < 0) ||
		      (s->assistant && tool_set_text(s->tool, input, "assistant", s->assistant)))) {
		percept_input_free(input);
		return NULL;
	}
	return input;
}

/* How many tokens the text is; negative: an exit code. */
static int bench_count(struct bench_streams *s, const char *text)
{
	struct percept_error error = {0};
	struct percept_answer answer;
	struct percept_input *input = bench_input(s, text);
	if (!input)
		return -tool_no_memory(s->tool);
	int r = percept_call_input(s->stream[0].connection, "token.count", input, NULL, &answer, &error);
	percept_input_free(input);
	if (r < 0)
		return -tool_fail(s->tool, &error);
	cJSON *result = cJSON_Parse(answer.result);
	int tokens = (int)json_number(result, "tokens");
	cJSON_Delete(result);
	percept_answer_clear(&answer);
	return tokens;
}

int bench_prompt(struct bench_streams *s, unsigned i, unsigned tokens)
{
	uint64_t seed = (uint64_t)(bench_now() * 1e9) + i;
	unsigned words = tokens > 1 ? tokens / 2 : 1, nearest = UINT32_MAX;
	struct bench_stream *stream = &s->stream[i];
	for (int round = 0; round < 6 && nearest; round++) {
		char *text = bench_words(words, seed);
		int n = text ? bench_count(s, text) : -tool_no_memory(s->tool);
		unsigned off = n < 0 ? 0 : (unsigned)abs(n - (int)tokens);
		if (n < 0) {
			free(text);
			return -n;
		}
		char *worse = off < nearest ? stream->text : text;
		stream->text = off < nearest ? text : stream->text;
		nearest = off < nearest ? off : nearest;
		free(worse);
		double scaled = n > 0 ? (double)words * tokens / n : words;
		words = scaled < 1 ? 1 : (unsigned)(scaled + 0.5);
	}
	return 0;
}

/* What the result says; an answer that ended by itself too early names the token that ended it. */
static void bench_take(struct bench_stream *stream, const char *text)
{
	cJSON *result = cJSON_Parse(text);
	const cJSON *usage = cJSON_GetObjectItemCaseSensitive(result, "usage");
	const cJSON *timings = cJSON_GetObjectItemCaseSensitive(result, "timings");
	const cJSON *tokens = cJSON_GetObjectItemCaseSensitive(result, "tokens");
	const cJSON *last = cJSON_GetArrayItem(tokens, cJSON_GetArraySize(tokens) - 1);
	stream->input_tokens = json_number(usage, "input_tokens");
	stream->cached_tokens = json_number(usage, "cached_tokens");
	stream->output_tokens = json_number(usage, "output_tokens");
	stream->prefill_ms = json_number(timings, "prefill_ms");
	stream->decode_ms = json_number(timings, "decode_ms");
	stream->first_token_ms = json_number(timings, "first_token_ms");
	stream->encode_ms = json_number(timings, "encode_ms");
	stream->end = strcmp(json_text(result, "finish_reason"), "stop") == 0 && cJSON_IsNumber(last) ? last->valueint : -1;
	cJSON_Delete(result);
}

static void bench_call(struct bench_streams *s, struct bench_stream *stream, struct percept_input *input)
{
	struct percept_answer answer;
	char most[16];
	snprintf(most, sizeof most, "%u", stream->answer);
	stream->failed = !input || percept_input_set(input, "max_output_tokens", most, &stream->error) < 0 ||
			 percept_input_set(input, "stream", "false", &stream->error) < 0 ||
			 percept_input_set(input, "return_tokens", "true", &stream->error) < 0 ||
			 percept_call_input(stream->connection, "response.create", input, NULL, &answer, &stream->error) < 0;
	percept_input_free(input);
	if (stream->failed)
		return;
	bench_take(stream, answer.result);
	percept_answer_clear(&answer);
}

static void bench_task(void *arg, uint32_t i)
{
	struct bench_streams *s = arg;
	bench_call(s, &s->stream[i], bench_input(s, s->stream[i].text));
}

/* The first failure is said; a token that ended an answer is remembered. 0, an exit code, or -1: ask again. */
static int bench_judge(struct bench_streams *s, unsigned n)
{
	int again = 0;
	for (unsigned i = 0; i < n; i++) {
		struct bench_stream *stream = &s->stream[i];
		if (stream->failed)
			return stream->error.code ? tool_fail(s->tool, &stream->error) : tool_no_memory(s->tool);
		int known = stream->end < 0;
		for (unsigned k = 0; k < s->n_ends; k++)
			known |= s->ends[k] == stream->end;
		if (!known && s->n_ends < BENCH_ENDS) {
			s->ends[s->n_ends++] = stream->end;
			again = stream->answer > 1;
		}
	}
	return again ? -1 : 0;
}

int bench_ask(struct bench_streams *s, unsigned n, unsigned answer, double *seconds)
{
	int r = -1;
	struct nn_pool *pool = nn_pool_new(n);
	if (!pool)
		return tool_no_memory(s->tool);
	for (int round = 0; r == -1 && round <= BENCH_ENDS; round++) {
		for (unsigned i = 0; i < n; i++)
			s->stream[i].answer = answer;
		double from = bench_now();
		nn_pool_run(pool, bench_task, s, n);
		*seconds = bench_now() - from;
		r = bench_judge(s, n);
	}
	nn_pool_free(pool);
	return r < 0 ? 0 : r;
}

int bench_look(struct bench_streams *s, double *encode_ms)
{
	size_t n = 0;
	struct bench_stream *stream = &s->stream[0];
	uint8_t *picture = bench_picture(BENCH_PICTURE, BENCH_PICTURE, (uint64_t)(bench_now() * 1e9), &n);
	struct percept_input *input = picture ? bench_input(s, "What is this?") : NULL;
	if (input && percept_input_bytes(input, "image", picture, n, NULL) < 0) {
		percept_input_free(input);
		input = NULL;
	}
	free(picture);
	stream->answer = 1;
	bench_call(s, stream, input);
	*encode_ms = stream->encode_ms;
	int r = bench_judge(s, 1);
	return r < 0 ? 0 : r;
}

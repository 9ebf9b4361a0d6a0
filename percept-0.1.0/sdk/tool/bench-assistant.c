/* bench-assistant.c - an assistant's speed by the daemon's own timings. */
#include "sdk/tool/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sdk/tool/interrupt.h"
#include "sdk/tool/sampling.h"

#define BENCH_RUNS_MAX 64
#define BENCH_PICTURE 224 /* pixels a side */

struct bench_run {
	double prefill_tokens, prefill_ms, decode_tokens, decode_ms, encode_ms, first_token_ms;
	int end; /* the token that ended the answer, or -1 */
};

/* What all requests of a measurement have in common. */
struct bench {
	struct tool *tool;
	struct percept_connection *connection;
	unsigned words, answer;
	int end; /* a token that is not to come, so that answers are as long as asked for; -1: none known yet */
};

static uint64_t bench_seed(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000007u + (uint64_t)t.tv_nsec;
}

/* Words that begin with a number of their own, so that no prefix of an earlier run is found again. By malloc. */
static char *bench_words(unsigned words, uint64_t seed)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	for (unsigned i = 0; i < words; i++)
		fprintf(out, "%llu ", (unsigned long long)((seed >> (i % 24)) + i) % 97);
	return fclose(out) == 0 ? text : NULL;
}

/* The last token, if it was one that ends answers. */
static int bench_end_token(const cJSON *result)
{
	const cJSON *tokens = cJSON_GetObjectItemCaseSensitive(result, "tokens");
	const cJSON *last = cJSON_GetArrayItem(tokens, cJSON_GetArraySize(tokens) - 1);
	return strcmp(json_text(result, "finish_reason"), "stop") == 0 && cJSON_IsNumber(last) ? last->valueint : -1;
}

static int bench_ask(struct bench *b, struct percept_input *input, struct bench_run *run)
{
	struct percept_error error = {0};
	struct percept_answer answer;
	struct interrupt interrupt;
	interrupt_begin(&interrupt, b->connection);
	int r = percept_call_input(b->connection, "response.create", input, NULL, &answer, &error);
	interrupt_end(&interrupt);
	if (r < 0)
		return tool_fail(b->tool, &error);
	cJSON *result = cJSON_Parse(answer.result);
	const cJSON *usage = cJSON_GetObjectItemCaseSensitive(result, "usage");
	const cJSON *timings = cJSON_GetObjectItemCaseSensitive(result, "timings");
	run->prefill_tokens = json_number(usage, "input_tokens") - json_number(usage, "cached_tokens");
	run->prefill_ms = json_number(timings, "prefill_ms");
	run->decode_tokens = json_number(usage, "output_tokens") - 1; /* the first comes of the prefill */
	run->decode_ms = json_number(timings, "decode_ms");
	run->encode_ms = json_number(timings, "encode_ms");
	run->first_token_ms = json_number(timings, "first_token_ms");
	run->end = bench_end_token(result);
	cJSON_Delete(result);
	percept_answer_clear(&answer);
	return interrupt.hit ? TOOL_INTERRUPTED : TOOL_DONE;
}

static int bench_set_options(const struct bench *b, struct percept_input *input)
{
	char most[16], bias[32];
	snprintf(most, sizeof most, "%u", b->answer);
	snprintf(bias, sizeof bias, "{\"%d\":-100}", b->end);
	if (percept_input_set(input, "max_output_tokens", most, NULL) < 0 || percept_input_set(input, "stream", "false", NULL) < 0 ||
	    percept_input_set(input, "return_tokens", "true", NULL) < 0 ||
	    (b->end >= 0 && percept_input_set(input, "logit_bias", bias, NULL) < 0))
		return tool_no_memory(b->tool);
	return b->tool->assistant ? tool_set_text(b->tool, input, "assistant", b->tool->assistant) : 0;
}

/* One request: text, or a picture when there are no words. */
static int bench_once(struct bench *b, struct bench_run *run)
{
	uint64_t seed = bench_seed();
	size_t n = 0;
	struct percept_input *input = percept_input_new();
	char *text = b->words ? bench_words(b->words, seed) : strdup("What is this?");
	uint8_t *picture = b->words ? NULL : bench_picture(BENCH_PICTURE, BENCH_PICTURE, seed, &n);
	int r = input && text && (b->words || picture) ? 0 : tool_no_memory(b->tool);
	if (r == 0 && ((picture && percept_input_bytes(input, "image", picture, n, NULL) < 0) ||
		       percept_input_text(input, text, NULL) < 0))
		r = tool_no_memory(b->tool);
	if (r == 0)
		r = bench_set_options(b, input);
	if (r == 0)
		r = bench_ask(b, input, run);
	percept_input_free(input);
	free(text);
	free(picture);
	return r;
}

/* The first answer is not measured: it warms the pages, and tells which token ends answers. */
static int bench_warm(struct bench *b)
{
	struct bench_run run = {.end = -1};
	int r = bench_once(b, &run);
	b->end = run.end;
	return r;
}

static int bench_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double bench_median(double *values, size_t n)
{
	if (n == 0)
		return 0;
	qsort(values, n, sizeof *values, bench_compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Tokens a second of the runs that have both. */
static double bench_speed(const struct bench_run *runs, size_t n, int decode)
{
	double speeds[BENCH_RUNS_MAX];
	size_t used = 0;
	for (size_t i = 0; i < n; i++) {
		double tokens = decode ? runs[i].decode_tokens : runs[i].prefill_tokens;
		double ms = decode ? runs[i].decode_ms : runs[i].prefill_ms;
		if (tokens > 0 && ms > 0)
			speeds[used++] = tokens * 1000 / ms;
	}
	return bench_median(speeds, used);
}

static int bench_sees(struct percept_connection *c, const char *assistant)
{
	struct percept_answer answer;
	struct percept_request request = {.size = sizeof request, .method = "assistant.list"};
	int sees = 0;
	if (percept_call(c, &request, NULL, &answer, NULL) < 0)
		return 0;
	cJSON *list = cJSON_Parse(answer.result);
	const cJSON *a, *input;
	cJSON_ArrayForEach(a, list)
		if (strcmp(json_text(a, "name"), assistant ? assistant : "default") == 0)
			cJSON_ArrayForEach(input, cJSON_GetObjectItemCaseSensitive(a, "inputs"))
				sees |= cJSON_IsString(input) && strcmp(input->valuestring, "image") == 0;
	cJSON_Delete(list);
	percept_answer_clear(&answer);
	return sees;
}

static void bench_summarise(struct bench_assistant *a, const struct bench_run *text, const struct bench_run *pictures,
			    unsigned runs)
{
	double first[BENCH_RUNS_MAX], encode[BENCH_RUNS_MAX];
	for (unsigned i = 0; i < runs; i++) {
		first[i] = text[i].first_token_ms;
		encode[i] = pictures[i].encode_ms;
	}
	a->prefill_tokens = text[0].prefill_tokens;
	a->prefill_per_second = bench_speed(text, runs, 0);
	a->decode_tokens = text[0].decode_tokens;
	a->decode_per_second = bench_speed(text, runs, 1);
	a->first_token_ms = bench_median(first, runs);
	a->encode_ms = bench_median(encode, runs);
}

int bench_assistant(struct tool *tool, struct bench_assistant *a, unsigned runs, unsigned prompt, unsigned answer)
{
	struct bench_run text[BENCH_RUNS_MAX], pictures[BENCH_RUNS_MAX] = {{0}};
	struct bench b = {.tool = tool, .words = prompt, .answer = answer, .end = -1};
	memset(a, 0, sizeof *a);
	runs = runs < BENCH_RUNS_MAX ? runs : BENCH_RUNS_MAX;
	int r = tool_connect(tool, &b.connection);
	if (r)
		return r;
	r = bench_warm(&b);
	for (unsigned i = 0; i < runs && r == 0; i++)
		r = bench_once(&b, &text[i]);
	int sees = r == 0 && bench_sees(b.connection, tool->assistant);
	b.words = 0;
	b.answer = 1;
	for (unsigned i = 0; i < runs && r == 0 && sees; i++)
		r = bench_once(&b, &pictures[i]);
	percept_close(b.connection);
	if (r == 0)
		bench_summarise(a, text, pictures, runs);
	return r;
}

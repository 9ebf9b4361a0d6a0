/* bench-measure.c - the measurements of an assistant: prefill and decode over lengths, contexts, batches, threads. */
#include "sdk/tool/bench.h"

#include <stdlib.h>
#include <string.h>

#define BENCH_RUNS 64

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

/* Prompts of one length, `batch` at once: by the engine's own time where there is one only, else until the last is through. */
static int bench_prefill(struct bench_streams *s, unsigned runs, struct bench_cell *cell, double *first_token_ms)
{
	double rates[BENCH_RUNS], first[BENCH_RUNS], seconds;
	for (unsigned run = 0; run < runs; run++) {
		double tokens = 0;
		for (unsigned i = 0; i < cell->batch; i++) {
			int r = bench_prompt(s, i, cell->tokens);
			if (r)
				return r;
		}
		int r = bench_ask(s, cell->batch, 1, &seconds);
		if (r)
			return r;
		for (unsigned i = 0; i < cell->batch; i++)
			tokens += s->stream[i].input_tokens - s->stream[i].cached_tokens;
		if (cell->batch == 1 && s->stream[0].prefill_ms > 0)
			seconds = s->stream[0].prefill_ms / 1000;
		rates[run] = tokens / seconds;
		first[run] = s->stream[0].first_token_ms;
	}
	cell->per_second = bench_median(rates, runs);
	*first_token_ms = bench_median(first, runs);
	return 0;
}

/* Answers behind prompts that are in the cache already. The first token comes of the prefill and does not count. */
static int bench_decode(struct bench_streams *s, unsigned runs, struct bench_cell *cell)
{
	double rates[BENCH_RUNS], seconds;
	int r = 0;
	for (unsigned i = 0; i < cell->batch && !r; i++)
		r = bench_prompt(s, i, cell->context ? cell->context : 1);
	for (unsigned run = 0; run < runs + 1 && !r; run++) {
		double tokens = 0, longest = 0;
		r = bench_ask(s, cell->batch, run ? cell->tokens + 1 : 1, &seconds);
		for (unsigned i = 0; i < cell->batch; i++) {
			tokens += s->stream[i].output_tokens - 1;
			longest = s->stream[i].decode_ms > longest ? s->stream[i].decode_ms : longest;
		}
		if (run)
			rates[run - 1] = longest > 0 ? tokens * 1000 / longest : 0;
	}
	if (!r)
		cell->per_second = bench_median(rates, runs);
	return r;
}

static struct bench_cell *bench_add(struct bench_cell **cells, size_t *n)
{
	struct bench_cell *more = realloc(*cells, (*n + 1) * sizeof *more);
	if (!more)
		return NULL;
	*cells = more;
	more[*n] = (struct bench_cell){0};
	return &more[(*n)++];
}

/* What the daemon says of the assistant: its memory, whether it sees. */
static void bench_about(struct bench_streams *s, struct bench_report *report, int *sees, double *context)
{
	struct percept_request list = {.size = sizeof list, .method = "assistant.list"};
	struct percept_request status = {.size = sizeof status, .method = "status"};
	const char *name = s->assistant ? s->assistant : "default";
	struct percept_answer answer;
	const cJSON *a, *input;
	if (percept_call(s->stream[0].connection, &list, NULL, &answer, NULL) == 0) {
		cJSON *all = cJSON_Parse(answer.result);
		cJSON_ArrayForEach(a, all) if (strcmp(json_text(a, "name"), name) == 0) {
			*context = json_number(a, "context");
			cJSON_ArrayForEach(input, cJSON_GetObjectItemCaseSensitive(a, "inputs"))
				*sees |= cJSON_IsString(input) && strcmp(input->valuestring, "image") == 0;
		}
		cJSON_Delete(all);
		percept_answer_clear(&answer);
	}
	if (percept_call(s->stream[0].connection, &status, NULL, &answer, NULL) == 0) {
		cJSON *all = cJSON_Parse(answer.result);
		cJSON_ArrayForEach(a, cJSON_GetObjectItemCaseSensitive(all, "assistants"))
			if (strcmp(json_text(a, "name"), name) == 0)
				report->memory_bytes = json_number(a, "memory_bytes");
		cJSON_Delete(all);
		percept_answer_clear(&answer);
	}
}

/* All measurements on one daemon. Those that the context has no room for stay 0. */
static int bench_all(struct bench_streams *s, const struct bench_plan *plan, unsigned threads, struct bench_report *report)
{
	double context = 0, encode[BENCH_RUNS], seconds, first = 0;
	int sees = 0, r = bench_prompt(s, 0, 8);
	if (!r)
		r = bench_ask(s, 1, 2, &seconds); /* warms the pages */
	bench_about(s, report, &sees, &context);
	for (size_t b = 0; b < plan->batch.n && !r; b++) {
		unsigned batch = plan->batch.value[b];
		for (size_t i = 0; i < plan->prefill.n && !r; i++) {
			struct bench_cell *cell = bench_add(&report->prefill, &report->n_prefill);
			if (!cell)
				return tool_no_memory(s->tool);
			*cell = (struct bench_cell){.tokens = plan->prefill.value[i], .batch = batch, .threads = threads};
			if (cell->tokens + 8 <= context)
				r = bench_prefill(s, plan->runs, cell, &first);
			if (!r && b == 0 && i == 0)
				report->first_token_ms = first;
		}
		for (size_t i = 0; i < plan->context.n * plan->decode.n && !r; i++) {
			struct bench_cell *cell = bench_add(&report->decode, &report->n_decode);
			if (!cell)
				return tool_no_memory(s->tool);
			*cell = (struct bench_cell){.tokens = plan->decode.value[i / plan->context.n], .batch = batch, .threads = threads,
						    .context = plan->context.value[i % plan->context.n]};
			if (cell->context + cell->tokens + 8 <= context)
				r = bench_decode(s, plan->runs, cell);
		}
	}
	for (unsigned run = 0; run < plan->runs && sees && !r; run++)
		r = bench_look(s, &encode[run]);
	if (!r && sees)
		report->encode_ms = bench_median(encode, plan->runs);
	return r;
}

static unsigned bench_most(const struct bench_list *list)
{
	unsigned most = 0;
	for (size_t i = 0; i < list->n; i++)
		most = list->value[i] > most ? list->value[i] : most;
	return most;
}

static int bench_on(struct tool *tool, const struct bench_plan *plan, unsigned threads, struct bench_report *report)
{
	struct bench_daemon daemon = {.folder = ""};
	struct bench_streams *streams = calloc(1, sizeof *streams);
	struct tool mine = *tool;
	int r = streams ? 0 : tool_no_memory(tool);
	if (!r && plan->model) {
		r = bench_daemon_start(tool, &daemon, plan->model, threads);
		mine.socket = daemon.socket;
		mine.assistant = NULL;
	}
	if (!r)
		r = bench_streams_open(streams, &mine, bench_most(&plan->batch));
	if (!r)
		r = bench_all(streams, plan, threads, report);
	if (streams)
		bench_streams_close(streams);
	if (plan->model)
		bench_daemon_end(&daemon);
	free(streams);
	return r;
}

int bench_measure(struct tool *tool, const struct bench_plan *plan, struct bench_report *report)
{
	int r = 0;
	for (size_t i = 0; i < plan->threads.n && !r; i++)
		r = bench_on(tool, plan, plan->threads.value[i], report);
	return r;
}

void bench_report_fini(struct bench_report *report)
{
	free(report->prefill);
	free(report->decode);
}

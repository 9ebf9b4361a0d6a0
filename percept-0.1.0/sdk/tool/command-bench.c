/* command-bench.c - how fast this machine is, and an assistant on it. */
#include "sdk/tool/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct bench_values {
	struct tool_number threads, runs, prompt, answer;
	int machine;
};

static const struct tool_option bench_options[] = {
	{0, "threads", TOOL_WHOLE, offsetof(struct bench_values, threads), 1, 1024, "N", "of the machine's part (else: all)", NULL},
	{0, "runs", TOOL_WHOLE, offsetof(struct bench_values, runs), 1, 64, "N", "of each measurement (else: 5)", NULL},
	{0, "prefill", TOOL_WHOLE, offsetof(struct bench_values, prompt), 1, 1000000, "N", "words of the prompt (else: 64)", NULL},
	{0, "decode", TOOL_WHOLE, offsetof(struct bench_values, answer), 2, 1000000, "N", "tokens of the answer (else: 64)", NULL},
	{0, "machine", TOOL_FLAG, offsetof(struct bench_values, machine), 0, 0, NULL, "measure the machine only", NULL},
	{0},
};

static unsigned bench_value(struct tool_number n, unsigned usual)
{
	return n.set ? (unsigned)n.value : usual;
}

static int bench_print_json(struct tool *tool, const struct bench_machine *m, const struct bench_assistant *a)
{
	cJSON *json = cJSON_CreateObject();
	cJSON *machine = cJSON_AddObjectToObject(json, "machine");
	cJSON_AddNumberToObject(machine, "threads", m->threads);
	cJSON_AddStringToObject(machine, "vectors", m->vectors);
	cJSON_AddNumberToObject(machine, "read_gb_per_second", m->read_gb_per_second);
	cJSON_AddNumberToObject(machine, "giga_multiply_adds_per_second", m->giga_multiply_adds);
	if (a) {
		cJSON *assistant = cJSON_AddObjectToObject(json, "assistant");
		cJSON_AddStringToObject(assistant, "name", tool->assistant ? tool->assistant : "default");
		cJSON_AddNumberToObject(assistant, "prefill_tokens", a->prefill_tokens);
		cJSON_AddNumberToObject(assistant, "prefill_tokens_per_second", a->prefill_per_second);
		cJSON_AddNumberToObject(assistant, "decode_tokens", a->decode_tokens);
		cJSON_AddNumberToObject(assistant, "decode_tokens_per_second", a->decode_per_second);
		cJSON_AddNumberToObject(assistant, "first_token_ms", a->first_token_ms);
		cJSON_AddNumberToObject(assistant, "encode_ms", a->encode_ms);
	}
	char *text = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	if (!text)
		return tool_no_memory(tool);
	puts(text);
	free(text);
	return TOOL_DONE;
}

static int bench_print(struct tool *tool, const struct bench_machine *m, const struct bench_assistant *a)
{
	struct tool_table t;
	table_init(&t, "MEASURED|VALUE|WITH");
	table_cell(&t, "memory read");
	table_cell(&t, "%.1f GB/s", m->read_gb_per_second);
	table_cell(&t, "%u threads", m->threads);
	table_cell(&t, "multiply-adds");
	table_cell(&t, "%.1f G/s", m->giga_multiply_adds);
	table_cell(&t, "%u threads, f32, %s", m->threads, m->vectors);
	if (a) {
		table_cell(&t, "prefill");
		table_cell(&t, "%.1f tokens/s", a->prefill_per_second);
		table_cell(&t, "%.0f tokens, %s", a->prefill_tokens, tool->assistant ? tool->assistant : "default");
		table_cell(&t, "decode");
		table_cell(&t, "%.1f tokens/s", a->decode_per_second);
		table_cell(&t, "%.0f tokens", a->decode_tokens);
		table_cell(&t, "first token");
		table_cell(&t, "%.1f ms", a->first_token_ms);
		table_cell(&t, "the same prompt");
	}
	if (a && a->encode_ms > 0) {
		table_cell(&t, "picture encoded");
		table_cell(&t, "%.1f ms", a->encode_ms);
		table_cell(&t, "224 x 224, never seen before");
	}
	return table_print(&t);
}

static int bench_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	const struct bench_values *v = values;
	struct bench_machine machine;
	struct bench_assistant assistant;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	(void)items;
	bench_machine(&machine, bench_value(v->threads, cpus > 0 ? (unsigned)cpus : 1));
	if (!v->machine) {
		int r = bench_assistant(tool, &assistant, bench_value(v->runs, 5), bench_value(v->prompt, 64), bench_value(v->answer, 64));
		if (r)
			return r;
	}
	return tool->json ? bench_print_json(tool, &machine, v->machine ? NULL : &assistant)
			  : bench_print(tool, &machine, v->machine ? NULL : &assistant);
}

const struct tool_command command_bench = {
	.name = "bench",
	.arguments = "",
	.summary = "how fast this machine is, and an assistant on it",
	.details = "Measures how fast the memory is read and numbers are multiplied here, then asks the assistant (-A) several times\n"
		   "and takes the medians of the daemon's timings.",
	.options = bench_options,
	.values = sizeof(struct bench_values),
	.run = bench_run,
};

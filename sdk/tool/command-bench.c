/* command-bench.c - how fast this machine is, and a model or an assistant on it. */
#include "sdk/tool/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bench_values {
	const char *threads, *prefill, *decode, *context, *batch;
	struct tool_number runs;
	int machine;
	const char *encoder, *compute;
	struct tool_number side;
};

#define BENCH_NUMBERS(name, member, help) {0, name, TOOL_TEXT, offsetof(struct bench_values, member), 0, 0, "N[,N]...", help, NULL}

static const struct tool_option bench_options[] = {
	BENCH_NUMBERS("threads", threads, "threads that compute (else: 1 and all of the machine's)"),
	BENCH_NUMBERS("prefill", prefill, "tokens of the prompt (else: 32,128,512,2048)"),
	BENCH_NUMBERS("decode", decode, "tokens of the answer (else: 64)"),
	BENCH_NUMBERS("context", context, "tokens before the answer (else: 0,512,4096)"),
	BENCH_NUMBERS("batch", batch, "requests at once (else: 1,2,4,8)"),
	{0, "runs", TOOL_WHOLE, offsetof(struct bench_values, runs), 1, 64, "N", "of each measurement (else: 3)", NULL},
	{0, "encoder", TOOL_TEXT, offsetof(struct bench_values, encoder), 0, 0, "PLUGIN", "measure this encoder alone, on MODEL", NULL},
	{0, "compute", TOOL_TEXT, offsetof(struct bench_values, compute), 0, 0, "HOW", "its option compute: fast, bf16 or f32", NULL},
	{0, "side", TOOL_WHOLE, offsetof(struct bench_values, side), 1, 16384, "N", "pixels of its square picture's side (else: 336)", NULL},
	{0, "machine", TOOL_FLAG, offsetof(struct bench_values, machine), 0, 0, NULL, "measure the machine only", NULL},
	{0},
};

/* "1,2,8" to numbers from `min` to `max`. */
static int bench_read_list(struct tool *tool, struct bench_list *list, const char *text, const char *name, unsigned min, unsigned max)
{
	for (list->n = 0; list->n < BENCH_LIST; text++) {
		char *end;
		unsigned long n = strtoul(text, &end, 10);
		if (end == text || *text == '-' || *text == '+' || n < min || n > max)
			break;
		list->value[list->n++] = (unsigned)n;
		text = end;
		if (*text == '\0')
			return 0;
		if (*text != ',')
			break;
	}
	return tool_say(tool, TOOL_USAGE, "--%s takes up to %d numbers from %u to %u with commas between them.", name, BENCH_LIST, min, max);
}

static int bench_plan(struct tool *tool, const struct bench_values *v, struct bench_plan *plan)
{
	char threads[32];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	const struct {
		struct bench_list *list;
		const char *text, *usual, *name;
		unsigned min, max;
	} lists[] = {
		{&plan->threads, v->threads, threads, "threads", 1, 1024},
		{&plan->prefill, v->prefill, "32,128,512,2048", "prefill", 1, 1000000},
		{&plan->decode, v->decode, "64", "decode", 1, 1000000},
		{&plan->context, v->context, "0,512,4096", "context", 0, 1000000},
		{&plan->batch, v->batch, "1,2,4,8", "batch", 1, BENCH_BATCH},
	};
	snprintf(threads, sizeof threads, cpus > 1 ? "1,%ld" : "1", cpus);
	plan->encoder = v->encoder;
	plan->compute = v->compute;
	plan->side = v->side.set ? (unsigned)v->side.value : 0;
	plan->runs = v->runs.set ? (unsigned)v->runs.value : 3;
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		int r = bench_read_list(tool, lists[i].list, lists[i].text ? lists[i].text : lists[i].usual, lists[i].name, lists[i].min,
					lists[i].max);
		if (r)
			return r;
	}
	return 0;
}

static void bench_json_cells(cJSON *json, const char *name, const struct bench_cell *cells, size_t n, int decode)
{
	cJSON *list = cJSON_AddArrayToObject(json, name);
	for (size_t i = 0; i < n; i++) {
		cJSON *cell = cJSON_CreateObject();
		cJSON_AddItemToArray(list, cell);
		cJSON_AddNumberToObject(cell, "tokens", cells[i].tokens);
		if (decode)
			cJSON_AddNumberToObject(cell, "context", cells[i].context);
		cJSON_AddNumberToObject(cell, "threads", cells[i].threads);
		cJSON_AddNumberToObject(cell, "batch", cells[i].batch);
		if (cells[i].per_second > 0)
			cJSON_AddNumberToObject(cell, "tokens_per_second", cells[i].per_second);
		else
			cJSON_AddNullToObject(cell, "tokens_per_second");
	}
}

/* {"1": x, "2": y} */
static void bench_json_machines(cJSON *json, const char *name, const struct bench_report *r, size_t offset)
{
	cJSON *object = cJSON_AddObjectToObject(json, name);
	for (size_t i = 0; i < r->n_machines; i++) {
		char threads[16];
		double value;
		memcpy(&value, (const char *)&r->machines[i] + offset, sizeof value);
		snprintf(threads, sizeof threads, "%u", r->machines[i].threads);
		if (value > 0)
			cJSON_AddNumberToObject(object, threads, value);
	}
}

/* The most that this machine multiplies in any type of floats. */
static double bench_peak(const struct bench_machine *m)
{
	return m->giga_multiply_adds16 > m->giga_multiply_adds ? m->giga_multiply_adds16 : m->giga_multiply_adds;
}

static void bench_json_encodes(cJSON *json, const struct bench_report *r)
{
	cJSON *list = r->n_encodes ? cJSON_AddArrayToObject(json, "encode") : NULL;
	for (size_t i = 0; i < r->n_encodes; i++) {
		const struct bench_encode *e = &r->encodes[i];
		cJSON *one = cJSON_CreateObject();
		cJSON_AddItemToArray(list, one);
		cJSON_AddNumberToObject(one, "threads", e->threads);
		cJSON_AddNumberToObject(one, "rows", e->rows);
		cJSON_AddNumberToObject(one, "encode_ms", e->seconds * 1e3);
		cJSON_AddNumberToObject(one, "least_ms", e->least_seconds * 1e3);
		if (e->prepare_seconds > 0)
			cJSON_AddNumberToObject(one, "prepare_ms", e->prepare_seconds * 1e3);
		if (e->multiply_adds > 0) {
			cJSON_AddNumberToObject(one, "giga_flops", 2e-9 * e->multiply_adds / e->seconds);
			cJSON_AddNumberToObject(one, "fraction_of_peak", 1e-9 * e->multiply_adds / e->seconds / bench_peak(&r->machines[i]));
			cJSON_AddNumberToObject(one, "fraction_of_f32_peak",
						1e-9 * e->multiply_adds / e->seconds / r->machines[i].giga_multiply_adds);
		}
	}
}

static void bench_print_encodes(const struct bench_report *r)
{
	for (size_t i = 0; i < r->n_encodes; i++) {
		const struct bench_encode *e = &r->encodes[i];
		const struct bench_machine *m = &r->machines[i];
		printf("%u thread%s: a picture of %u rows encoded in %.1f ms (at least %.1f ms)", e->threads, e->threads == 1 ? "" : "s", e->rows,
		       e->seconds * 1e3, e->least_seconds * 1e3);
		if (e->prepare_seconds > 0)
			printf(", %.1f ms of it to prepare the picture", e->prepare_seconds * 1e3);
		if (e->multiply_adds > 0)
			printf(", %.1f GFLOPS: %.0f %% of the peak in f32", 2e-9 * e->multiply_adds / e->seconds,
			       1e-7 * e->multiply_adds / e->seconds / m->giga_multiply_adds);
		if (e->multiply_adds > 0 && m->giga_multiply_adds16 > 0)
			printf(", %.0f %% in BF16", 1e-7 * e->multiply_adds / e->seconds / m->giga_multiply_adds16);
		printf("\n");
	}
}

static int bench_print_json(struct tool *tool, const struct bench_report *r, const char *model)
{
	cJSON *json = cJSON_CreateObject();
	if (model)
		cJSON_AddStringToObject(json, "model", model);
	bench_json_cells(json, "prefill", r->prefill, r->n_prefill, 0);
	bench_json_cells(json, "decode", r->decode, r->n_decode, 1);
	bench_json_machines(json, "bandwidth_gb_per_second", r, offsetof(struct bench_machine, read_gb_per_second));
	bench_json_machines(json, "giga_multiply_adds_per_second", r, offsetof(struct bench_machine, giga_multiply_adds));
	bench_json_machines(json, "giga_multiply_adds_bf16_per_second", r, offsetof(struct bench_machine, giga_multiply_adds16));
	bench_json_machines(json, "giga_multiply_adds_8_bit_per_second", r, offsetof(struct bench_machine, giga_multiply_adds8));
	bench_json_encodes(json, r);
	cJSON_AddStringToObject(json, "vectors", r->machines[0].vectors);
	cJSON_AddNumberToObject(json, "memory_bytes", r->memory_bytes);
	cJSON_AddNumberToObject(json, "first_token_ms", r->first_token_ms);
	cJSON_AddNumberToObject(json, "encode_ms", r->encode_ms);
	char *text = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	if (!text)
		return tool_no_memory(tool);
	puts(text);
	free(text);
	return TOOL_DONE;
}

static void bench_print_cells(struct tool_table *t, const char *name, const struct bench_cell *cells, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		table_cell(t, "%s", name);
		table_cell(t, "%u", cells[i].threads);
		table_cell(t, "%u", cells[i].batch);
		table_cell(t, "%u", cells[i].context);
		table_cell(t, "%u", cells[i].tokens);
		if (cells[i].per_second > 0)
			table_cell(t, "%.1f", cells[i].per_second);
		else
			table_cell(t, "no room");
	}
}

static int bench_print(const struct bench_report *r)
{
	struct tool_table t;
	char bytes[32];
	for (size_t i = 0; i < r->n_machines; i++) {
		const struct bench_machine *m = &r->machines[i];
		printf("%u thread%s: memory read at %.1f GB/s; multiply-adds %.1f G/s in f32", m->threads, m->threads == 1 ? "" : "s",
		       m->read_gb_per_second, m->giga_multiply_adds);
		if (m->giga_multiply_adds16 > 0)
			printf(", %.1f G/s in BF16", m->giga_multiply_adds16);
		if (m->giga_multiply_adds8 > 0)
			printf(", %.1f G/s in 8 bits", m->giga_multiply_adds8);
		printf(" (%s)\n", m->vectors);
	}
	bench_print_encodes(r);
	if (!r->n_prefill && !r->n_decode)
		return TOOL_DONE;
	printf("assistant: %s in memory, first token of the first prompt after %.1f ms", tool_bytes(r->memory_bytes, bytes), r->first_token_ms);
	if (r->encode_ms > 0)
		printf(", a picture of 224 x 224 encoded in %.1f ms", r->encode_ms);
	printf("\n\n");
	table_init(&t, "MEASURED|THREADS|BATCH|CONTEXT|TOKENS|TOKENS/S");
	bench_print_cells(&t, "prefill", r->prefill, r->n_prefill);
	bench_print_cells(&t, "decode", r->decode, r->n_decode);
	return table_print(&t);
}

static int bench_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	const struct bench_values *v = values;
	struct bench_report report = {0};
	struct bench_plan plan = {.model = items->n ? items->list[0].text : NULL};
	int r = bench_plan(tool, v, &plan);
	if (r)
		return r;
	if (v->encoder && !plan.model)
		return tool_say(tool, TOOL_USAGE, "--encoder takes a MODEL, a folder or a file with the encoder's weights.");
	/* A running daemon has the threads that it has. */
	if (!plan.model && !v->threads && plan.threads.n > 1)
		plan.threads.value[0] = plan.threads.value[--plan.threads.n];
	for (; report.n_machines < plan.threads.n; report.n_machines++)
		bench_machine(&report.machines[report.n_machines], plan.threads.value[report.n_machines]);
	for (; v->encoder && !r && report.n_encodes < plan.threads.n; report.n_encodes++)
		r = bench_encode(tool, &plan, plan.threads.value[report.n_encodes], &report.encodes[report.n_encodes]);
	if (!v->machine && !v->encoder)
		r = bench_measure(tool, &plan, &report);
	if (!r)
		r = tool->json ? bench_print_json(tool, &report, plan.model) : bench_print(&report);
	bench_report_fini(&report);
	return r;
}

const struct tool_command command_bench = {
	.name = "bench",
	.arguments = "[MODEL]",
	.summary = "how fast this machine is, and a model or an assistant on it",
	.details = "Measures how fast memory is read and numbers are multiplied here, then prefill and decode, by the engine's own\n"
		   "times. With MODEL, a name or a path, in a daemon of its own with each number of threads; without, the assistant\n"
		   "(-A) of the running daemon. Medians. Several requests at once count together.\n\n"
		   "  percept bench SmolLM2-135M-Instruct.Q4_1.gguf --threads 1,2 --prefill 512 --decode 64 --context 0 --batch 1",
	.options = bench_options,
	.values = sizeof(struct bench_values),
	.max_words = 1,
	.run = bench_run,
};

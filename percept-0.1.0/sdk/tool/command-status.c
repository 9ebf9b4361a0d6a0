/* command-status.c - how the daemon and its assistants are. */
#include "sdk/tool/tool.h"

#include <stdio.h>
#include <stdlib.h>

static void status_print_daemon(const cJSON *status)
{
	char bytes[32];
	const cJSON *requests = cJSON_GetObjectItemCaseSensitive(status, "requests");
	const cJSON *cache = cJSON_GetObjectItemCaseSensitive(status, "cache");
	printf("perceptd %s, process %.0f, up %.0f s, %.0f connection%s, configuration %.0f\n", json_text(status, "version"),
	       json_number(status, "pid"), json_number(status, "uptime_s"), json_number(status, "connections"),
	       json_number(status, "connections") == 1 ? "" : "s", json_number(status, "generation"));
	printf("requests: %.0f done, %.0f failed, %.0f cancelled\n", json_number(requests, "done"), json_number(requests, "failed"),
	       json_number(requests, "cancelled"));
	printf("embedding cache: %.0f entries, %s, %.0f hits, %.0f misses\n\n", json_number(cache, "entries"),
	       tool_bytes(json_number(cache, "bytes"), bytes), json_number(cache, "hits"), json_number(cache, "misses"));
}

static int status_print_assistants(const cJSON *status)
{
	char bytes[32];
	const cJSON *a;
	struct tool_table t;
	table_init(&t, "ASSISTANT|STATE|PROCESS|MEMORY|RUNNING|QUEUED|MODALITIES");
	cJSON_ArrayForEach(a, cJSON_GetObjectItemCaseSensitive(status, "assistants")) {
		char *modalities = json_list(cJSON_GetObjectItemCaseSensitive(a, "modalities"));
		table_cell(&t, "%s", json_text(a, "name"));
		table_cell(&t, "%s", json_text(a, "state"));
		table_cell(&t, "%.0f", json_number(a, "pid"));
		table_cell(&t, "%s", tool_bytes(json_number(a, "memory_bytes"), bytes));
		table_cell(&t, "%.0f", json_number(a, "inflight"));
		table_cell(&t, "%.0f", json_number(a, "queued"));
		table_cell(&t, "%s", modalities ? modalities : "");
		free(modalities);
	}
	return table_print(&t);
}

static int status_print_stages(const cJSON *status)
{
	struct tool_table t;
	const cJSON *stage, *stages = cJSON_GetObjectItemCaseSensitive(status, "stages");
	if (cJSON_GetArraySize(stages) == 0)
		return TOOL_DONE;
	putchar('\n');
	table_init(&t, "STAGE|COUNT|SECONDS");
	cJSON_ArrayForEach(stage, stages) {
		table_cell(&t, "%s", stage->string);
		table_cell(&t, "%.0f", json_number(stage, "count"));
		table_cell(&t, "%.3f", json_number(stage, "seconds"));
	}
	return table_print(&t);
}

static int status_print(const cJSON *status)
{
	status_print_daemon(status);
	int r = status_print_assistants(status);
	return r ? r : status_print_stages(status);
}

static int status_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	cJSON *status = NULL;
	(void)values, (void)items;
	int r = tool_call(tool, "status", NULL, &status);
	if (r == 0 && !tool->json)
		r = status_print(status);
	cJSON_Delete(status);
	return r;
}

const struct tool_command command_status = {
	.name = "status", .arguments = "", .summary = "how the daemon and its assistants are", .run = status_run};

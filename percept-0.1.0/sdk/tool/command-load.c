/* command-load.c - has an assistant loaded. */
#include "sdk/tool/tool.h"

#include <stdio.h>

static int load_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	cJSON *result = NULL;
	(void)values;
	int r = tool_call_assistant(tool, "assistant.load", items->list[0].text, &result);
	if (r == 0 && !tool->json)
		printf("%s: %s\n", items->list[0].text, json_text(result, "state"));
	cJSON_Delete(result);
	return r;
}

const struct tool_command command_load = {
	.name = "load", .arguments = "ASSISTANT", .summary = "starts an assistant", .min_words = 1, .max_words = 1, .run = load_run};

/* command-unload.c - has an assistant unloaded. */
#include "sdk/tool/tool.h"

#include <stdio.h>

static int unload_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	cJSON *result = NULL;
	(void)values;
	int r = tool_call_assistant(tool, "assistant.unload", items->list[0].text, &result);
	if (r == 0 && !tool->json)
		printf("%s: %s\n", items->list[0].text, json_text(result, "state"));
	cJSON_Delete(result);
	return r;
}

const struct tool_command command_unload = {
	.name = "unload", .arguments = "ASSISTANT", .summary = "ends an assistant and frees its memory", .min_words = 1, .max_words = 1, .run = unload_run};

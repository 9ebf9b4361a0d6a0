/* command-assistants.c - which assistants there are, and what each is made of. */
#include "sdk/tool/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "image.encoder=clip image.connector=mlp", by malloc. */
static char *assistants_modules(const cJSON *modules)
{
	char *text = NULL;
	size_t size = 0;
	const cJSON *m;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	cJSON_ArrayForEach(m, modules)
		fprintf(out, "%s%s=%s", ftell(out) > 0 ? " " : "", json_text(m, "role"), json_text(m, "plugin"));
	return fclose(out) == 0 ? text : NULL;
}

static int assistants_print(const cJSON *list)
{
	struct tool_table t;
	const cJSON *a;
	table_init(&t, "ASSISTANT|STATE|CONTEXT|INPUTS|OUTPUTS|PARTS");
	cJSON_ArrayForEach(a, list) {
		char *inputs = json_list(cJSON_GetObjectItemCaseSensitive(a, "inputs"));
		char *outputs = json_list(cJSON_GetObjectItemCaseSensitive(a, "outputs"));
		char *modules = assistants_modules(cJSON_GetObjectItemCaseSensitive(a, "modules"));
		table_cell(&t, "%s", json_text(a, "name"));
		table_cell(&t, "%s", json_text(a, "state"));
		table_cell(&t, "%.0f", json_number(a, "context"));
		table_cell(&t, "%s", inputs ? inputs : "");
		table_cell(&t, "%s", outputs ? outputs : "");
		table_cell(&t, "%s", modules ? modules : "");
		free(inputs);
		free(outputs);
		free(modules);
	}
	return table_print(&t);
}

static int assistants_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	cJSON *list = NULL;
	(void)values, (void)items;
	int r = tool_call(tool, "assistant.list", NULL, &list);
	if (r == 0 && !tool->json)
		r = assistants_print(list);
	cJSON_Delete(list);
	return r;
}

const struct tool_command command_assistants = {
	.name = "assistants", .arguments = "", .summary = "which assistants there are", .run = assistants_run};

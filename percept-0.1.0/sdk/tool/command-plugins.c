/* command-plugins.c - which plugins were found, and those that were refused. */
#include "sdk/tool/tool.h"

static int plugins_print(const cJSON *list)
{
	struct tool_table t;
	const cJSON *p;
	table_init(&t, "PLUGIN|KIND|VERSION|ABI|LICENSE|STATE|PATH");
	cJSON_ArrayForEach(p, list) {
		table_cell(&t, "%s", json_text(p, "name"));
		table_cell(&t, "%s", json_text(p, "kind"));
		table_cell(&t, "%s", json_text(p, "version"));
		table_cell(&t, "%.0f", json_number(p, "abi"));
		table_cell(&t, "%s", json_text(p, "license"));
		table_cell(&t, "%s", json_text(p, "state"));
		table_cell(&t, "%s", json_text(p, "path"));
	}
	return table_print(&t);
}

static int plugins_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	cJSON *list = NULL;
	(void)values, (void)items;
	int r = tool_call(tool, "plugin.list", NULL, &list);
	if (r == 0 && !tool->json)
		r = plugins_print(list);
	cJSON_Delete(list);
	return r;
}

const struct tool_command command_plugins = {
	.name = "plugins", .arguments = "", .summary = "which plugins were found, and why some were refused", .run = plugins_run};

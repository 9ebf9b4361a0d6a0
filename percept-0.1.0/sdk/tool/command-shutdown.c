/* command-shutdown.c - has the daemon finish what it does, and end. */
#include "sdk/tool/tool.h"

#include <stdio.h>

static int shutdown_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	(void)values, (void)items;
	tool->no_start = 1; /* none is started to be ended */
	int r = tool_call(tool, "shutdown", NULL, NULL);
	if (r == 0 && !tool->json)
		puts("perceptd ends when what it does is done.");
	return r;
}

const struct tool_command command_shutdown = {
	.name = "shutdown", .arguments = "", .summary = "has the daemon finish what it does, and end", .run = shutdown_run};

/* command-reload.c - has the daemon read its configuration again. */
#include "sdk/tool/tool.h"

#include <stdio.h>

static int reload_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	(void)values, (void)items;
	int r = tool_call(tool, "config.reload", NULL, NULL);
	if (r == 0 && !tool->json)
		puts("The configuration was read again.");
	return r;
}

const struct tool_command command_reload = {
	.name = "reload",
	.arguments = "",
	.summary = "has the daemon read its configuration again",
	.details = "A file with mistakes changes nothing: the old configuration stays, and the mistake is shown.",
	.run = reload_run};

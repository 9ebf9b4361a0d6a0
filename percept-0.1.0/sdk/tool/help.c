/* help.c - what percept can do, on standard output. */
#include "sdk/tool/tool.h"

#include <stdio.h>
#include <string.h>

static void help_options(const struct tool_option *o)
{
	for (; o && o->name; o++) {
		char left[64];
		char letter[5] = "    ";
		if (o->letter && o->letter < TOOL_NO_LETTER)
			snprintf(letter, sizeof letter, "-%c, ", o->letter);
		snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->argument ? " " : "", o->argument ? o->argument : "");
		printf("  %-28s %s\n", left, o->help);
	}
}

void tool_help(const struct tool_command *const *commands)
{
	puts("percept - talks to perceptd, the multimodal assistant\n\n"
	     "usage: percept [OPTION]... COMMAND [ARGUMENT]...\n\ncommands:");
	for (; *commands; commands++)
		printf("  %-12s %s\n", (*commands)->name, (*commands)->summary);
	puts("\noptions of every command:");
	help_options(tool_options);
	puts("      --version                show the version\n\n"
	     "'percept COMMAND --help' tells more. A perceptd of your own is started when none answers.\n"
	     "exit status: 0 done, 1 failed, 2 usage, 3 no daemon, 130 interrupted");
}

void tool_help_command(const struct tool_command *c)
{
	printf("percept %s - %s\n\nusage: percept %s [OPTION]...%s%s\n", c->name, c->summary, c->name, *c->arguments ? " " : "",
	       c->arguments);
	if (c->details)
		printf("\n%s\n", c->details);
	if (c->options) {
		puts("\noptions:");
		help_options(c->options);
	}
	puts("\noptions of every command:");
	help_options(tool_options);
}

/* main.c - percept: a table of commands. */
#include "config.h"
#include "sdk/tool/tool.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct tool_command *const commands[] = {
	&command_ask, &command_chat, &command_embed, &command_look, &command_status, &command_assistants, &command_plugins,
	&command_assemblies, &command_load, &command_unload, &command_reload, &command_shutdown, &command_models, &command_bench, &command_check,
	NULL,
};

static const struct tool_command *command_named(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static size_t count_words(const struct tool_items *items)
{
	size_t words = 0;
	for (size_t i = 0; i < items->n; i++)
		words += items->list[i].letter == 0;
	return words;
}

static int run_parsed(struct tool *tool, void *values, const struct tool_items *items)
{
	const struct tool_command *c = tool->command;
	if (tool->help) {
		tool_help_command(c);
		return TOOL_DONE;
	}
	size_t words = count_words(items);
	if (words < c->min_words || words > c->max_words)
		return tool_say(tool, TOOL_USAGE, "It is called as: percept %s [OPTION]... %s ('percept %s --help' tells more).",
				c->name, c->arguments, c->name);
	return c->run(tool, values, items);
}

static int run_command(struct tool *tool, int argc, char **argv)
{
	const struct tool_command *c = tool->command;
	void *values = calloc(1, c->values ? c->values : 1);
	if (!values)
		return tool_no_memory(tool);
	struct tool_parse parse = {.tool = tool, .options = c->options, .values = values};
	int r = tool_parse(&parse, argc, argv);
	if (r == 0)
		r = run_parsed(tool, values, &parse.items);
	free(parse.items.list);
	free(values);
	return r;
}

/* Results that could not be written (a full disk) are no success. */
static int finish(const struct tool *tool, int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	return code ? code : tool_say(tool, TOOL_FAILED, "The output could not be written: make room for it, or send it elsewhere.");
}

int main(int argc, char **argv)
{
	struct tool tool = {0};
	struct tool_parse parse = {.tool = &tool, .values = &tool, .stop = 1};
	static const struct tool_option version[] = {
		{0, "version", TOOL_FLAG, offsetof(struct tool, version), 0, 0, NULL, "", NULL}, {0}};
	parse.options = version;
	setlocale(LC_CTYPE, "");
	int r = tool_parse(&parse, argc, argv);
	if (r)
		return r;
	if (tool.help) {
		tool_help(commands);
		return finish(&tool, TOOL_DONE);
	}
	if (tool.version) {
		puts(PACKAGE_STRING);
		return finish(&tool, TOOL_DONE);
	}
	if (parse.used >= argc)
		return tool_say(&tool, TOOL_USAGE, "Which command? 'percept --help' lists them.");
	tool.command = command_named(argv[parse.used]);
	if (!tool.command)
		return tool_say(&tool, TOOL_USAGE, "'%s' is no command. 'percept --help' lists them.", argv[parse.used]);
	return finish(&tool, run_command(&tool, argc - parse.used, argv + parse.used));
}

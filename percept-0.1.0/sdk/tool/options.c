/* options.c - one parser for every command's table of options. */
#include "sdk/tool/tool.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 64

const struct tool_option tool_options[] = {
	{'S', "socket", TOOL_TEXT, offsetof(struct tool, socket), 0, 0, "PATH", "the daemon's socket", NULL},
	{'A', "assistant", TOOL_TEXT, offsetof(struct tool, assistant), 0, 0, "NAME", "which assistant (else: default)", NULL},
	{0, "no-start", TOOL_FLAG, offsetof(struct tool, no_start), 0, 0, NULL, "start no daemon when none answers", NULL},
	{0, "json", TOOL_FLAG, offsetof(struct tool, json), 0, 0, NULL, "print the result as JSON", NULL},
	{'h', "help", TOOL_FLAG, offsetof(struct tool, help), 0, 0, NULL, "show this", NULL},
	{0},
};

/* The tables as getopt_long wants them; `row` and `base` by the value that it returns. */
struct option_set {
	char letters[2 * OPTIONS_MAX + 3];
	struct option longs[OPTIONS_MAX + 1];
	const struct tool_option *rows[OPTIONS_MAX];
	void *bases[OPTIONS_MAX];
	size_t n;
};

static void set_add(struct option_set *set, const struct tool_option *rows, void *base)
{
	char *end = set->letters + strlen(set->letters);
	for (; rows && rows->name && set->n < OPTIONS_MAX; rows++, set->n++) {
		int takes = rows->type != TOOL_FLAG;
		if (rows->letter && rows->letter < TOOL_NO_LETTER) {
			*end++ = (char)rows->letter;
			if (takes)
				*end++ = ':';
		}
		set->longs[set->n] = (struct option){rows->name, takes ? required_argument : no_argument, NULL, 256 + (int)set->n};
		set->rows[set->n] = rows;
		set->bases[set->n] = base;
	}
	*end = '\0';
}

static int set_find(const struct option_set *set, int c)
{
	if (c >= 256)
		return c - 256;
	for (size_t i = 0; i < set->n; i++)
		if (set->rows[i]->letter == c)
			return (int)i;
	return -1;
}

static int items_add(struct tool_items *items, int letter, const char *text)
{
	struct tool_item *grown = realloc(items->list, (items->n + 1) * sizeof *grown);
	if (!grown)
		return -ENOMEM;
	items->list = grown;
	items->list[items->n++] = (struct tool_item){letter, text};
	return 0;
}

static int option_number(const struct tool *tool, const struct tool_option *o, const char *text, struct tool_number *number)
{
	char *end;
	errno = 0;
	double value = strtod(text, &end);
	int whole = o->type == TOOL_WHOLE;
	if (end == text || *end || errno || !isfinite(value) || isspace((unsigned char)*text) || (whole && value != floor(value)) ||
	    value < o->min || value > o->max)
		return tool_say(tool, TOOL_USAGE, "--%s takes %s from %.15g to %.15g, not '%s'.", o->name,
				whole ? "an integer" : "a number", o->min, o->max, text);
	*number = (struct tool_number){1, value};
	return 0;
}

static int option_take(struct tool_parse *parse, const struct tool_option *o, void *base, const char *text)
{
	char *at = (char *)base + o->offset;
	switch (o->type) {
	case TOOL_FLAG:
		*(int *)at = 1;
		return 0;
	case TOOL_TEXT:
		*(const char **)at = text;
		return 0;
	case TOOL_ITEM:
		return items_add(&parse->items, o->letter, text) < 0 ? tool_no_memory(parse->tool) : 0;
	default:
		return option_number(parse->tool, o, text, (struct tool_number *)at);
	}
}

/* getopt's '?' and ':'. */
static int option_complain(const struct tool_parse *parse, int c, char **argv)
{
	const struct tool *tool = parse->tool;
	const char *word = argv[optind > 0 ? optind - 1 : 0];
	const char *command = tool->command ? tool->command->name : "";
	const char *space = *command ? " " : "";
	char letter[3] = {'-', (char)optopt, '\0'};
	const char *shown = optopt > 0 && optopt < 256 ? letter : word;
	const char *what = c == ':' ? "needs a value" : optopt >= 256 ? "takes no value" : "is no option, or stands for several";
	return tool_say(tool, TOOL_USAGE, "%s %s. 'percept%s%s --help' lists the options.", shown, what, space, command);
}

int tool_parse(struct tool_parse *parse, int argc, char **argv)
{
	struct option_set set = {.letters = {parse->stop ? '+' : '-', ':', '\0'}};
	set_add(&set, tool_options, parse->tool);
	set_add(&set, parse->options, parse->values);
	int c, r = 0;
	optind = 0;
	opterr = 0;
	while (r == 0 && (c = getopt_long(argc, argv, set.letters, set.longs, NULL)) != -1) {
		int i;
		if (c == 1)
			r = items_add(&parse->items, 0, optarg) < 0 ? tool_no_memory(parse->tool) : 0;
		else if (c == '?' || c == ':' || (i = set_find(&set, c)) < 0)
			r = option_complain(parse, c, argv);
		else
			r = option_take(parse, set.rows[i], set.bases[i], optarg);
	}
	parse->used = optind;
	for (int i = optind; r == 0 && !parse->stop && i < argc; i++)
		r = items_add(&parse->items, 0, argv[i]) < 0 ? tool_no_memory(parse->tool) : 0;
	return r;
}

int tool_set_params(struct tool *tool, const struct tool_option *o, const void *values, struct percept_input *input)
{
	int r = 0;
	for (; o && o->name && r == 0; o++) {
		const void *at = (const char *)values + o->offset;
		char text[32] = "";
		if (!o->param)
			continue;
		if (o->type == TOOL_FLAG && *(const int *)at)
			strcpy(text, "true");
		else if ((o->type == TOOL_WHOLE || o->type == TOOL_NUMBER) && ((const struct tool_number *)at)->set)
			snprintf(text, sizeof text, "%.17g", ((const struct tool_number *)at)->value);
		if (*text)
			r = percept_input_set(input, o->param, text, NULL);
	}
	return r < 0 ? tool_no_memory(tool) : 0;
}

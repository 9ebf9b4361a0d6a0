/* report.c - what went wrong, and what to do next. */
#include "sdk/tool/tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sdk/wire/frame.h"

/* What to do next, by the error's code. */
static const struct {
	int code;
	const char *advice;
} report_advice[] = {
	{WIRE_NO_METHOD, "The perceptd that answers is of another version: 'percept shutdown' ends it, the next command starts this one."},
	{WIRE_PARAMS, "'percept COMMAND --help' lists the options and their ranges."},
	{WIRE_INTERNAL, "perceptd's log says more; 'percept status' shows if it still works."},
	{WIRE_VERSION, "'percept shutdown' ends the other version's daemon, the next command starts this one."},
	{WIRE_UNAUTHORIZED, "Use a daemon of your own: name its socket with -S."},
	{WIRE_FORBIDDEN, "Only the user that runs perceptd, and root, may do this: become one of them."},
	{WIRE_OVERLOADED, "The daemon is busy: try again in a moment."},
	{WIRE_LIMIT, "Send less at a time, or raise the limit in perceptd.conf."},
	{WIRE_CONTEXT, "Send less text or fewer pictures, or give the assistant a larger context in perceptd.conf."},
	{WIRE_NOT_READY, "'percept status' shows what it does; 'percept load NAME' loads an assistant."},
	{WIRE_MEDIA, "Check the file: another program should be able to show it."},
	{WIRE_DEADLINE, "Give it more time with --deadline, or ask for less."},
	{WIRE_PLUGIN, "Try again; if it happens again, perceptd's log and 'percept plugins' tell which plugin it was."},
	{WIRE_NOT_FOUND, "'percept assistants' lists the assistants there are."},
	{WIRE_SHUTDOWN, "Run it again: a new daemon is started."},
	{WIRE_MODEL, "'percept models show NAME' examines the model's files."},
	{WIRE_BUSY, "Wait until the other request has ended."},
	{-ECONNRESET, "Run it again; if it happens again, perceptd's log says why."},
	{-EPROTO, "Name perceptd's socket with -S."},
};

int tool_say(const struct tool *tool, int code, const char *format, ...)
{
	va_list list;
	fflush(stdout);
	if (tool->command)
		fprintf(stderr, "percept %s: ", tool->command->name);
	else
		fputs("percept: ", stderr);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	return code;
}

int tool_no_memory(const struct tool *tool)
{
	return tool_say(tool, TOOL_FAILED, "Memory is out: close other programs and try again.");
}

int tool_fail(const struct tool *tool, struct percept_error *error)
{
	const char *advice = NULL;
	for (size_t i = 0; i < sizeof report_advice / sizeof *report_advice; i++)
		if (report_advice[i].code == error->code)
			advice = report_advice[i].advice;
	tool_say(tool, 0, "%s", error->text);
	if (advice)
		fprintf(stderr, "%s\n", advice);
	percept_error_clear(error);
	return TOOL_FAILED;
}

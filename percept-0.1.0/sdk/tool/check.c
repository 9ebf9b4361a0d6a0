/* check.c - percept check PLUGIN.so: each check in a process of its own, TAP out. */
#include "sdk/tool/check.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sdk/tool/tool.h"

enum { CHECK_SECONDS = 60 };

/* The checks, ended by a row without a name. */
static const struct check_row {
	const char *name;
	check_function *run;
} check_rows[] = {
	{ "exports percept_plugin alone", check_exports },
	{ "keeps no writable globals", check_globals },
	{ "is linked -z nodelete", check_nodelete },
	{ "describes itself", check_description },
	{ "has the operations of its kind", check_operations },
	{ "declares its options whole", check_options },
	{ "refuses a missing model with a sentence", check_missing_model },
	{ "refuses a damaged model with a sentence", check_damaged_model },
	{ "says its sizes and identity", check_info },
	{ "opens twice", check_double_open },
	{ "leaks nothing by open and close", check_open_leaks },
	{ "works, and gives the shapes it declares", check_work },
	{ "gives the same for the same", check_repeat },
	{ "refuses nonsense with a sentence", check_nonsense },
	{ "stops within 100 ms when cancelled", check_cancel },
	{ "leaks nothing by its work", check_work_leaks },
	{ NULL, NULL },
};

static void check_why(struct check *c, const char *format, va_list list)
{
	/* Through a copy: what is written may come from c->why itself. */
	char text[CHECK_WHY];

	vsnprintf(text, sizeof(text), format, list);
	memcpy(c->why, text, sizeof(c->why));
}

enum check_verdict check_no(struct check *c, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	check_why(c, format, list);
	va_end(list);
	return CHECK_NOT_OK;
}

enum check_verdict check_skip(struct check *c, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	check_why(c, format, list);
	va_end(list);
	return CHECK_SKIPPED;
}

/* What the child leaves for its parent, in memory that both see. */
struct check_report {
	int done;
	enum check_verdict verdict;
	char why[CHECK_WHY];
};

static void check_child(struct check *c, const struct check_row *row, struct check_report *report)
{
	alarm(CHECK_SECONDS);
	check_host_init(&c->host);
	report->verdict = row->run(c);
	memcpy(report->why, c->why, sizeof(report->why));
	report->done = 1;
	_exit(0);
}

/* Runs one row; why it is not ok goes to `report`. */
static void check_fork(struct check *c, const struct check_row *row, struct check_report *report)
{
	int status = 0;

	*report = (struct check_report){ .verdict = CHECK_NOT_OK };
	fflush(NULL);
	const pid_t pid = fork();

	if (!pid)
		check_child(c, row, report);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0)
		snprintf(report->why, sizeof(report->why), "No process could be started: %s.", strerror(errno));
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		snprintf(report->why, sizeof(report->why), "It did not come back within %d seconds.", CHECK_SECONDS);
	else if (WIFSIGNALED(status))
		snprintf(report->why, sizeof(report->why), "It crashed: %s.", strsignal(WTERMSIG(status)));
	else if (!report->done)
		snprintf(report->why, sizeof(report->why), "It ended the process with code %d.", WEXITSTATUS(status));
	if (!report->done || WIFSIGNALED(status))
		report->verdict = CHECK_NOT_OK;
}

/* TAP on standard output; the number of checks that are not ok, or -1. */
static int check_all(struct check *c)
{
	struct check_report *report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int n = 0, failed = 0;

	if (report == MAP_FAILED)
		return -1;
	for (const struct check_row *row = check_rows; row->name; row++) {
		check_fork(c, row, report);
		n++;
		failed += report->verdict == CHECK_NOT_OK;
		printf("%sok %d - %s", report->verdict == CHECK_NOT_OK ? "not " : "", n, row->name);
		if (report->verdict == CHECK_SKIPPED)
			printf(" # SKIP %s", report->why);
		printf("\n");
		if (report->verdict == CHECK_NOT_OK)
			printf("# %s\n", report->why);
	}
	printf("1..%d\n", n);
	munmap(report, sizeof(*report));
	return failed;
}

struct check_options {
	const char *model;
};

static int check_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	const struct check_options *given = values;
	char path[PATH_MAX], model[PATH_MAX];
	const char *plugin = NULL;
	const char **options = calloc(items->n + 1, sizeof(*options));
	size_t n = 0;
	int r = TOOL_USAGE;

	for (size_t i = 0; options && i < items->n; i++) {
		if (items->list[i].letter)
			options[n++] = items->list[i].text;
		else
			plugin = items->list[i].text;
	}
	if (!options) {
		r = tool_no_memory(tool);
	} else if (!plugin || !realpath(plugin, path)) {
		tool_say(tool, TOOL_FAILED, "%s: %s", plugin ? plugin : "PLUGIN.so", plugin ? strerror(errno) : "is missing");
	} else if (given->model && !realpath(given->model, model)) {
		tool_say(tool, TOOL_FAILED, "%s: %s", given->model, strerror(errno));
	} else {
		struct check c = { .path = path, .model = given->model ? model : NULL, .options = options };

		r = check_all(&c) ? TOOL_FAILED : TOOL_DONE;
	}
	free(options);
	return r;
}

static const struct tool_option check_table[] = {
	{ .letter = 'm', .name = "model", .type = TOOL_TEXT, .offset = offsetof(struct check_options, model), .argument = "PATH",
	  .help = "open it on this model: a directory or file" },
	{ .letter = 'o', .name = "option", .type = TOOL_ITEM, .argument = "NAME=VALUE", .help = "give it this option" },
	{ 0 },
};

const struct tool_command command_check = {
	.name = "check",
	.arguments = "PLUGIN.so",
	.summary = "examines whether a plugin keeps the contract",
	.details = "Loads the plugin under a host that watches it, each check in a process of its own, and prints TAP. What needs "
		   "an open instance is skipped if the plugin does not open without a model: name one with --model.",
	.options = check_table,
	.values = sizeof(struct check_options),
	.min_words = 1,
	.max_words = 1,
	.run = check_run,
};

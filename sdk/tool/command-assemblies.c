/* command-assemblies.c - which encoders, connectors and decoders fit together, and why others do not. */
#include "sdk/tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sdk/wire/place.h"

struct assemblies_options {
	int fits;
};

static const struct tool_option assemblies_options[] = {
	{'f', "fits", TOOL_FLAG, offsetof(struct assemblies_options, fits), 0, 0, NULL, "only what fits", NULL},
	{0},
};

/* In the child. Plugins say much while they are opened: nobody reads it here. */
static void assemblies_become(const char *program, const char *file, int to)
{
	char *const argv[] = {"percept-engine", "--sweep", "--config", (char *)file, NULL};
	setenv("PERCEPT_LOG", "error", 0);
	if (dup2(to, 1) == 1)
		execv(program, argv);
	_exit(127);
}

/* All that comes from `from`, by malloc, closed. NULL: memory is out. */
static char *assemblies_read(int from)
{
	char *text = NULL, part[4096];
	size_t size = 0;
	ssize_t n = 0;
	FILE *out = open_memstream(&text, &size);
	while (out && ((n = read(from, part, sizeof part)) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			fwrite(part, 1, (size_t)n, out);
	close(from);
	return out && fclose(out) == 0 ? text : NULL;
}

/* What the engine found, as JSON. 0 and *result, or an exit code after a sentence. */
static int assemblies_sweep(struct tool *tool, const char *file, cJSON **result)
{
	char program[PATH_MAX];
	int ends[2], status = 0;
	if (place_program("percept-engine", program))
		return tool_say(tool, TOOL_FAILED, "percept-engine is missing: it should be %s.", program);
	if (pipe(ends))
		return tool_say(tool, TOOL_FAILED, "percept-engine cannot be started: %s.", strerror(errno));
	pid_t pid = fork();
	if (pid == 0)
		assemblies_become(program, file, ends[1]);
	close(ends[1]);
	char *text = assemblies_read(ends[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*result = text ? cJSON_Parse(text) : NULL;
	free(text);
	/* It has said why. */
	if (pid < 0 || status || !*result)
		return *result ? TOOL_FAILED : tool_say(tool, TOOL_FAILED, "%s could not be tried.", file);
	return 0;
}

/* "clip (tiny-llava)" */
static void assemblies_cell(struct tool_table *t, const cJSON *parts, const cJSON *row, const char *which)
{
	const cJSON *part = cJSON_GetArrayItem(parts, (int)json_number(row, which));
	const char *model = json_text(part, "model"), *slash = strrchr(model, '/');
	table_cell(t, *model ? "%s (%s)" : "%s", json_text(part, "plugin"), slash ? slash + 1 : model);
}

static int assemblies_print_parts(const cJSON *parts)
{
	struct tool_table t;
	const cJSON *part;
	table_init(&t, "PART|PLUGIN|MODEL|OPENS|WHY NOT");
	cJSON_ArrayForEach(part, parts) {
		table_cell(&t, "%s", json_text(part, "role"));
		table_cell(&t, "%s", json_text(part, "plugin"));
		table_cell(&t, "%s", json_text(part, "model"));
		table_cell(&t, "%s", cJSON_IsTrue(cJSON_GetObjectItem(part, "opens")) ? "yes" : "no");
		table_cell(&t, "%s", json_text(part, "reason"));
	}
	return table_print(&t);
}

static int assemblies_print(const cJSON *result, int only)
{
	const cJSON *parts = cJSON_GetObjectItem(result, "parts"), *row;
	struct tool_table t;
	int r = only ? 0 : assemblies_print_parts(parts);
	if (r == 0 && !only)
		putchar('\n');
	table_init(&t, only ? "MEDIA|ENCODER|CONNECTOR|DECODER" : "MEDIA|ENCODER|CONNECTOR|DECODER|FITS|WHY NOT");
	cJSON_ArrayForEach(row, cJSON_GetObjectItem(result, "assemblies")) {
		int fits = cJSON_IsTrue(cJSON_GetObjectItem(row, "fits"));
		if (only && !fits)
			continue;
		table_cell(&t, "%s", json_text(row, "modality"));
		assemblies_cell(&t, parts, row, "encoder");
		assemblies_cell(&t, parts, row, "connector");
		assemblies_cell(&t, parts, row, "decoder");
		if (only)
			continue;
		table_cell(&t, "%s", fits ? "yes" : "no");
		table_cell(&t, "%s", json_text(row, "reason"));
	}
	return table_print(&t) || r;
}

static int assemblies_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	const struct assemblies_options *options = values;
	cJSON *result = NULL;
	int r = assemblies_sweep(tool, items->list[0].text, &result);
	if (r == 0 && tool->json) {
		char *text = cJSON_PrintUnformatted(result);
		r = text && puts(text) >= 0 ? 0 : tool_no_memory(tool);
		cJSON_free(text);
	} else if (r == 0) {
		r = assemblies_print(result, options->fits);
	}
	cJSON_Delete(result);
	return r;
}

const struct tool_command command_assemblies = {
	.name = "assemblies", .arguments = "FILE", .summary = "which encoders, connectors and decoders fit together",
	.details = "FILE is a configuration as perceptd reads it. Its assistants' parts, and every installed encoder, connector and\n"
		   "decoder with the models named there, are opened one by one, each in a process of its own; then every combination\n"
		   "is tried. No daemon is needed.",
	.options = assemblies_options, .values = sizeof(struct assemblies_options), .min_words = 1, .max_words = 1,
	.run = assemblies_run};

/* command-models.c - the models on this machine. */
#include "sdk/tool/models.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sdk/wire/place.h"

struct models_verb {
	const char *name;
	size_t words; /* after its own name */
	int (*run)(struct tool *tool, const char *argument);
};

/* "4.2 M" */
static const char *models_count(double n, char text[32])
{
	static const char *const units[] = {"", " K", " M", " G", " T"};
	size_t i = 0;
	for (; n >= 1000 && i + 1 < sizeof units / sizeof *units; i++)
		n /= 1000;
	snprintf(text, 32, i ? "%.1f%s" : "%.0f%s", n, units[i]);
	return text;
}

static void models_row(struct tool_table *t, const struct model *m)
{
	char types[64], count[32], bytes[32];
	model_types(m, types, sizeof types);
	table_cell(t, "%s", m->name);
	table_cell(t, "%s", m->family);
	table_cell(t, "%s", models_count((double)m->parameters, count));
	table_cell(t, "%s", types);
	table_cell(t, "%s", tool_bytes((double)m->bytes, bytes));
	table_cell(t, "%.0f", (double)m->context);
	table_cell(t, "%s", m->path);
}

static int models_is_model(const char *path)
{
	char file[PATH_MAX + 16];
	snprintf(file, sizeof file, "%s/config.json", path);
	return access(file, R_OK) == 0;
}

/* A model that is there but damaged is said so, and the list goes on. */
static void models_add(struct tool *tool, const char *path, struct tool_table *t, cJSON *list)
{
	struct model m;
	struct nn_error error = {0};
	if (!models_is_model(path))
		return;
	if (model_read(&m, path, &error) < 0)
		tool_say(tool, 0, "%s is left out: %s", path, error.text);
	else if (tool->json)
		cJSON_AddItemToArray(list, model_json(&m));
	else
		models_row(t, &m);
}

static void models_add_folder(struct tool *tool, const char *folder, struct tool_table *t, cJSON *list)
{
	struct dirent **entries;
	char path[PATH_MAX];
	int n = scandir(folder, &entries, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		int length = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && length > 0 && (size_t)length < sizeof path)
			models_add(tool, path, t, list);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

static int models_print_json(struct tool *tool, cJSON *json)
{
	char *text = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	if (!text)
		return tool_no_memory(tool);
	puts(text);
	free(text);
	return TOOL_DONE;
}

static int models_list(struct tool *tool, const char *argument)
{
	struct tool_table t;
	cJSON *list = cJSON_CreateArray();
	char *folders = place_model_path(NULL), *rest = folders, *folder;
	(void)argument;
	if (!folders || !list) {
		cJSON_Delete(list);
		free(folders);
		return tool_no_memory(tool);
	}
	table_init(&t, "MODEL|FAMILY|PARAMETERS|TYPES|SIZE|CONTEXT|FOLDER");
	while ((folder = strsep(&rest, ":")))
		models_add_folder(tool, folder, &t, list);
	free(folders);
	if (tool->json)
		return models_print_json(tool, list);
	cJSON_Delete(list);
	return table_print(&t);
}

static void models_print(const struct model *m)
{
	char types[64], count[32], bytes[32];
	model_types(m, types, sizeof types);
	printf("model         %s\n", m->name);
	printf("folder        %s\n", m->path);
	printf("family        %s (%s)\n", m->family, m->architecture);
	printf("parameters    %s in %zu tensors\n", models_count((double)m->parameters, count), m->tensors);
	printf("types         %s\n", types);
	printf("size          %s\n", tool_bytes((double)m->bytes, bytes));
	printf("context       %.0f tokens\n", (double)m->context);
	printf("template      %s\n", m->template ? "yes" : "none: it answers raw prompts only");
	printf("licence       %s\n", m->license);
	printf("memory        %s, of a full context\n", tool_bytes((double)(m->bytes + m->cache_bytes), bytes));
}

static int models_show(struct tool *tool, const char *name)
{
	struct model m;
	struct nn_error error = {0};
	char path[PATH_MAX];
	char *folders = place_model_path(NULL);
	if (!folders)
		return tool_no_memory(tool);
	int r = place_find(folders, name, path);
	if (r < 0 && strchr(name, '/') && access(name, F_OK) == 0)
		r = snprintf(path, sizeof path, "%s", name) < (int)sizeof path ? 0 : -ENAMETOOLONG;
	if (r < 0) {
		tool_say(tool, 0, "There is no model '%s' in %s.", name, folders);
		fputs("'percept models list' lists those there are; PERCEPT_MODELS names further folders.\n", stderr);
		free(folders);
		return TOOL_FAILED;
	}
	free(folders);
	if (model_read(&m, path, &error) < 0)
		return tool_say(tool, TOOL_FAILED, "%s Bring the model's files again, or choose another.", error.text);
	if (tool->json)
		return models_print_json(tool, model_json(&m));
	models_print(&m);
	return TOOL_DONE;
}

static const struct models_verb models_verbs[] = {
	{"list", 0, models_list},
	{"show", 1, models_show},
};

static int models_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	(void)values;
	for (size_t i = 0; i < sizeof models_verbs / sizeof *models_verbs; i++) {
		const struct models_verb *v = &models_verbs[i];
		if (strcmp(items->list[0].text, v->name) != 0)
			continue;
		if (items->n != 1 + v->words)
			break;
		return v->run(tool, v->words ? items->list[1].text : NULL);
	}
	return tool_say(tool, TOOL_USAGE, "It is called as: percept models list, or: percept models show MODEL.");
}

const struct tool_command command_models = {
	.name = "models",
	.arguments = "list | show MODEL",
	.summary = "the models on this machine",
	.details = "Looks in the folders of PERCEPT_MODELS, the user's own, and the installed ones. MODEL is a name or a folder.",
	.min_words = 1,
	.max_words = 2,
	.run = models_run,
};

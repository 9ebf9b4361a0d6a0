/* command-models.c - the models on this machine. */
#include "sdk/tool/models.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sdk/nn/gguf.h"
#include "sdk/wire/place.h"

enum { MODELS_WORDS = 2 /* behind a verb, at most */ };

struct models_verb {
	const char *name;
	size_t words; /* after its own name */
	int (*run)(struct tool *tool, const struct models_values *values, const char *const *words);
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
	if (nn_gguf_is_path(path))
		return 1;
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

static int models_list(struct tool *tool, const struct models_values *values, const char *const *words)
{
	struct tool_table t;
	cJSON *list = cJSON_CreateArray();
	char *folders = place_model_path(NULL), *rest = folders, *folder;
	if (!folders || !list) {
		cJSON_Delete(list);
		free(folders);
		return tool_no_memory(tool);
	}
	table_init(&t, "MODEL|FAMILY|PARAMETERS|TYPES|SIZE|CONTEXT|PATH");
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
	printf("path          %s\n", m->path);
	printf("family        %s%s%s%s\n", m->family, *m->architecture ? " (" : "", m->architecture, *m->architecture ? ")" : "");
	printf("parameters    %s in %zu tensors\n", models_count((double)m->parameters, count), m->tensors);
	printf("types         %s\n", types);
	printf("size          %s\n", tool_bytes((double)m->bytes, bytes));
	if (*m->pictures.projector) {
		printf("pictures      %s of %u layers, %u x %u pixels in patches of %u\n", m->pictures.tower, m->pictures.layers,
		       m->pictures.image_size, m->pictures.image_size, m->pictures.patch_size);
		printf("projector     %s, to %u values: goes with a language model of as many a token\n", m->pictures.projector,
		       m->pictures.values);
		printf("licence       %s\n", m->license);
		return;
	}
	printf("context       %.0f tokens\n", (double)m->context);
	printf("template      %s\n", m->template ? "yes" : "none: it answers raw prompts only");
	printf("licence       %s\n", m->license);
	printf("memory        %s, of a full context\n", tool_bytes((double)(m->bytes + m->cache_bytes), bytes));
}

int models_find(struct tool *tool, const char *name, char path[PATH_MAX])
{
	char *folders = place_model_path(NULL);
	if (!folders)
		return tool_no_memory(tool);
	int r = place_find(folders, name, path);
	if (r < 0 && strchr(name, '/') && access(name, F_OK) == 0)
		r = snprintf(path, PATH_MAX, "%s", name) < (int)PATH_MAX ? 0 : -ENAMETOOLONG;
	if (r < 0) {
		tool_say(tool, 0, "There is no model '%s' in %s.", name, folders);
		fputs("'percept models list' lists those there are; PERCEPT_MODELS names further folders.\n", stderr);
		free(folders);
		return TOOL_FAILED;
	}
	free(folders);
	return 0;
}

/* Every tensor: its name, its type and its shape. */
static int models_print_tensors(struct tool *tool, const char *path)
{
	struct nn_error error = {0};
	struct nn_checkpoint *checkpoint = nn_checkpoint_open(path, &error);
	struct tool_table t;
	if (!checkpoint)
		return tool_say(tool, TOOL_FAILED, "%s", error.text);
	table_init(&t, "TENSOR|TYPE|SHAPE|SIZE");
	for (size_t i = 0; i < nn_checkpoint_count(checkpoint); i++) {
		const struct nn_weight *w = nn_checkpoint_at(checkpoint, i);
		char shape[128] = "", bytes[32];
		size_t n = 0;
		for (uint32_t k = 0; k < w->rank && n < sizeof shape; k++)
			n += (size_t)snprintf(shape + n, sizeof shape - n, "%s%llu", k ? " x " : "", (unsigned long long)w->shape[k]);
		table_cell(&t, "%s", w->name);
		table_cell(&t, "%s", model_type_name(w));
		table_cell(&t, "%s", shape);
		table_cell(&t, "%s", tool_bytes((double)w->bytes, bytes));
	}
	nn_checkpoint_close(checkpoint);
	return table_print(&t);
}

static int models_show_one(struct tool *tool, const struct models_values *values, const char *path)
{
	struct model m;
	struct nn_error error = {0};
	if (model_read(&m, path, &error) < 0)
		return tool_say(tool, TOOL_FAILED, "%s Bring the model's files again, or choose another.", error.text);
	if (tool->json)
		return models_print_json(tool, model_json(&m));
	models_print(&m);
	return values->tensors ? models_print_tensors(tool, path) : TOOL_DONE;
}

/* A folder of GGUF files, as a pair of language model and picture tower: one after the other. */
static int models_show_files(struct tool *tool, const struct models_values *values, const char *folder)
{
	struct dirent **entries;
	const int n = scandir(folder, &entries, NULL, alphasort);
	int shown = 0, r = TOOL_DONE;
	for (int i = 0; i < n; i++) {
		char path[PATH_MAX];
		if (r == TOOL_DONE && nn_gguf_is_path(entries[i]->d_name) &&
		    snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name) < (int)sizeof path) {
			if (shown++ && !tool->json)
				putchar('\n');
			r = models_show_one(tool, values, path);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return shown ? r : models_show_one(tool, values, folder);
}

static int models_show(struct tool *tool, const struct models_values *values, const char *const *words)
{
	char path[PATH_MAX];
	if (models_find(tool, words[0], path) != 0)
		return TOOL_FAILED;
	return models_is_model(path) ? models_show_one(tool, values, path) : models_show_files(tool, values, path);
}

static const struct models_verb models_verbs[] = {
	{"list", 0, models_list},
	{"show", 1, models_show},
	{"verify", 1, models_verify},
	{"pull", 1, models_pull},
	{"remove", 1, models_remove},
	{"convert", 1, models_convert},
	{"quantize", 2, models_quantize},
};

static int models_run(struct tool *tool, const void *values, const struct tool_items *items)
{
	const char *words[MODELS_WORDS] = {NULL};
	for (size_t i = 1; i < items->n && i <= MODELS_WORDS; i++)
		words[i - 1] = items->list[i].text;
	for (size_t i = 0; i < sizeof models_verbs / sizeof *models_verbs; i++) {
		const struct models_verb *v = &models_verbs[i];
		if (strcmp(items->list[0].text, v->name) == 0 && items->n == 1 + v->words)
			return v->run(tool, values, words);
	}
	return tool_say(tool, TOOL_USAGE, "It is called as: percept models %s.", command_models.arguments);
}

static const struct tool_option models_options[] = {
	{'o', "output", TOOL_TEXT, offsetof(struct models_values, output), 0, 0, "FILE", "the file to write", NULL},
	{'t', "type", TOOL_TEXT, offsetof(struct models_values, type), 0, 0, "TYPE", "convert: f32, f16 or bf16; else the folder's own", NULL},
	{0, "mmproj", TOOL_FLAG, offsetof(struct models_values, mmproj), 0, 0, NULL, "convert: only what pictures go through", NULL},
	{'y', "yes", TOOL_FLAG, offsetof(struct models_values, yes), 0, 0, NULL, "remove without asking", NULL},
	{0, "tensors", TOOL_FLAG, offsetof(struct models_values, tensors), 0, 0, NULL, "show every tensor", NULL},
	{0, NULL, TOOL_FLAG, 0, 0, 0, NULL, NULL, NULL},
};

const struct tool_command command_models = {
	.name = "models",
	.arguments = "list | show MODEL | verify MODEL | pull NAME | remove MODEL | convert FOLDER | quantize MODEL TYPE",
	.summary = "the models on this machine",
	.details = "Looks in the folders of PERCEPT_MODELS, the user's own, and the installed ones. MODEL is a name or a path.\n"
		   "\n"
		   "  verify    reads all of a model: is it whole, and the one of the catalogue\n"
		   "  pull      brings a model of the catalogue; what was interrupted goes on where it stopped\n"
		   "  remove    deletes a model's files\n"
		   "  convert   a Hugging Face folder as a GGUF file; with pictures as two, of which one is mmproj-FILE\n"
		   "  quantize  a GGUF file with smaller weights: TYPE is Q8_0, Q6_K, Q4_K_M or Q4_0",
	.options = models_options,
	.values = sizeof(struct models_values),
	.min_words = 1,
	.max_words = 1 + MODELS_WORDS,
	.run = models_run,
};

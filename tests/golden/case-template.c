/* case-template.c - chat templates: each NAME.jinja of the folder renders the conversations of NAME.json to the letter. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/template.h"
#include "tests/golden/golden.h"

/* What the reference passes. */
static cJSON *template_variables(const cJSON *file, const cJSON *item)
{
	static const char *const of_file[] = { "bos_token", "eos_token" }, *const own[] = { "messages", "tools", "add_generation_prompt" };
	cJSON *variables = cJSON_CreateObject();
	const cJSON *extra;

	for (size_t i = 0; i < sizeof(of_file) / sizeof(of_file[0]); i++)
		cJSON_AddItemReferenceToObject(variables, of_file[i], cJSON_GetObjectItem(file, of_file[i]));
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (cJSON_GetObjectItem(item, own[i]))
			cJSON_AddItemReferenceToObject(variables, own[i], cJSON_GetObjectItem(item, own[i]));
	cJSON_ArrayForEach(extra, cJSON_GetObjectItem(item, "extra"))
		cJSON_AddItemReferenceToObject(variables, extra->string, (cJSON *)extra);
	return variables;
}

/* An expected text is met to the letter; an expected failure must come, with the template's own words if it has any. */
static int template_agrees(const struct nn_template *t, const cJSON *file, const cJSON *item)
{
	const char *expected = cJSON_GetStringValue(cJSON_GetObjectItem(item, "expected"));
	const char *wrong = cJSON_GetStringValue(cJSON_GetObjectItem(item, "error"));
	const char *own = wrong ? strstr(wrong, "TemplateError: ") : NULL;
	cJSON *variables = template_variables(file, item);
	struct nn_error error = { 0 };
	char *text = NULL;
	const int failed = nn_template_render(t, variables, NULL, &text, &error);
	int agrees;

	if (expected)
		agrees = !failed && !strcmp(text, expected);
	else
		agrees = wrong && failed && (!own || !strcmp(error.text, own + strlen("TemplateError: ")));
	cJSON_Delete(variables);
	free(text);
	return agrees;
}

static void template_run(struct golden *g, const char *name)
{
	char file[300], label[512];
	struct nn_error error = { 0 };
	unsigned i = 0;
	size_t n;
	const cJSON *item;

	snprintf(file, sizeof(file), "%s.jinja", name);
	char *source = golden_read(g->path, file, &n);

	snprintf(file, sizeof(file), "%s.json", name);
	cJSON *json = golden_json(g->path, file);
	struct nn_template *t = source ? nn_template_new(source, &error) : NULL;

	if (!t)
		golden_fail(g, "%s.jinja: %s", name, source ? error.text : "it cannot be read");
	const cJSON *cases = t ? cJSON_GetObjectItem(json, "cases") : NULL;

	cJSON_ArrayForEach(item, cases) {
		const char *what = cJSON_GetStringValue(cJSON_GetObjectItem(item, "name"));

		snprintf(label, sizeof(label), "%s %02u %s", name, i++, what ? what : "");
		golden_verdict(g, label, template_agrees(t, json, item));
	}
	nn_template_free(t);
	cJSON_Delete(json);
	free(source);
}

void case_template(struct golden *g)
{
	struct dirent **entries;
	const int n = scandir(g->path, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char *dot = strrchr(entries[i]->d_name, '.');

		if (dot && !strcmp(dot, ".jinja")) {
			*dot = '\0';
			template_run(g, entries[i]->d_name);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

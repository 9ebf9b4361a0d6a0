/* mmproj-file.c - what a model's small JSON files say, where the model is a picture tower's GGUF file. */
#include "sdk/nn/mmproj.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/text.h"

static cJSON *mmproj_json(const struct nn_gguf *g, const char *path, const char *name, struct nn_error *error)
{
	struct nn_mmproj m;
	cJSON *json;

	if (nn_mmproj_read(&m, g, path, error))
		return NULL;
	json = !strcmp(name, "config.json") ? nn_mmproj_config(&m) : nn_mmproj_processor(&m);
	if (!json)
		nn_fail(error, -ENOMEM, "%s: memory is out.", path);
	return json;
}

cJSON *nn_mmproj_json(const char *path, const char *name, struct nn_error *error)
{
	struct nn_gguf_file file;
	cJSON *json = NULL;

	if (!nn_gguf_is_path(path) || (strcmp(name, "config.json") && strcmp(name, "preprocessor_config.json")) ||
	    nn_gguf_open(&file, path, error))
		return NULL;
	if (nn_mmproj_is(&file.g))
		json = mmproj_json(&file.g, path, name, error);
	nn_gguf_close(&file);
	return json;
}

/* The model's own file where it lies beside: these files do not say all, as how many pixels a picture may have. */
static int mmproj_beside(struct text *out, const char *model, const char *name, size_t limit, struct nn_error *error)
{
	const char *slash = strrchr(model, '/');
	char *folder = slash ? strndup(model, (size_t)(slash - model) + 1) : strdup(".");
	const int failed = folder ? text_read(out, folder, name, limit, error) : -ENOMEM;

	free(folder);
	return failed;
}

int nn_model_text(struct text *out, const char *model, const char *name, size_t limit, struct nn_error *error)
{
	struct nn_error why = { 0 };
	int failed;

	if (!nn_gguf_is_path(model))
		return text_read(out, model, name, limit, error);
	failed = mmproj_beside(out, model, name, limit, error);
	if (failed != -ENOENT)
		return failed;
	cJSON *json = nn_mmproj_json(model, name, &why);
	char *text = cJSON_PrintUnformatted(json);

	*out = (struct text){ 0 };
	failed = why.code ? nn_fail(error, why.code, "%s", why.text) : json ? text ? text_puts(out, text) : -ENOMEM : -ENOENT;
	cJSON_free(text);
	cJSON_Delete(json);
	return failed;
}

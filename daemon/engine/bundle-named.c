/* bundle-named.c - bundles that were trained between a picture tower and a language model and hold neither: config.json says where they are. */
#include "daemon/engine/bundle-named.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define NAMED_OPTIONS 3
/* An option's value that is the bundle itself. */
#define NAMED_SELF "."

static const struct named {
	const char *model_type, *key, *role;
	struct {
		const char *name, *value;
	} options[NAMED_OPTIONS];
} named[] = {
	/* The words of the language model were trained on; the tower's last rows are read as they are. */
	{"openflamingo", "lang_encoder_path", "decoder", {{"words", NAMED_SELF}}},
	{"openflamingo", "clip_vision_encoder_path", "image.encoder", {{"layer", "-1"}, {"class_token", "no"}, {"norm", "no"}}},
};

static const char *named_text(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return text ? text : "";
}

static cJSON *named_part(cJSON *all, const char *role)
{
	cJSON *part;

	cJSON_ArrayForEach(part, all)
		if (strcmp(named_text(part, "role"), role) == 0)
			return part;
	return NULL;
}

/* What the part is told, where its configuration does not say it. */
static void named_tell(const struct named *n, const char *model, cJSON *part)
{
	cJSON *options = cJSON_GetObjectItemCaseSensitive(part, "options");

	if (!cJSON_IsObject(options)) {
		cJSON_DeleteItemFromObjectCaseSensitive(part, "options");
		options = cJSON_AddObjectToObject(part, "options");
	}
	for (size_t i = 0; i < NAMED_OPTIONS && n->options[i].name; i++) {
		const char *value = n->options[i].value;

		if (!cJSON_HasObjectItem(options, n->options[i].name))
			cJSON_AddStringToObject(options, n->options[i].name, strcmp(value, NAMED_SELF) == 0 ? model : value);
	}
}

/* The part in the folder that `name` is. 0 or *error. */
static int named_add(const struct named *n, const char *model, const char *name, cJSON *all, bundle_named_plugin *plugin,
		     struct wire_error *error)
{
	char folder[PATH_MAX];
	cJSON *part = named_part(all, n->role);
	const int fits = snprintf(folder, sizeof(folder), "%s%s%s", name[0] == '/' ? "" : model, name[0] == '/' ? "" : "/", name) <
			 (int)sizeof(folder);
	const char *found = fits && name[0] ? plugin(folder, n->role) : NULL;

	if (!found) {
		wire_error_set(error, WIRE_MODEL, "%s/config.json: \"%s\" is \"%.200s\", and there is no such folder with a model that is a %s; "
			       "name one there, or in the configuration with %s = PLUGIN model=FOLDER.", model, n->key, name, n->role, n->role);
		wire_error_string(error, "file", model);
		wire_error_string(error, "reason", n->key);
		return error->code;
	}
	if (!part) {
		part = cJSON_CreateObject();
		cJSON_AddStringToObject(part, "role", n->role);
		cJSON_AddStringToObject(part, "plugin", found);
		cJSON_AddItemToArray(all, part);
	}
	cJSON_DeleteItemFromObjectCaseSensitive(part, "model");
	cJSON_AddStringToObject(part, "model", folder);
	named_tell(n, model, part);
	return 0;
}

int bundle_named_add(const char *model, const cJSON *config, cJSON *all, bundle_named_plugin *plugin, struct wire_error *error)
{
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		if (strcmp(named[i].model_type, named_text(config, "model_type")) != 0 ||
		    named_text(named_part(all, named[i].role), "model")[0])
			continue;
		if (named_add(&named[i], model, named_text(config, named[i].key), all, plugin, error))
			return error->code;
	}
	return 0;
}

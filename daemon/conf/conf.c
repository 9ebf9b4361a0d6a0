/* conf.c - finding the configuration file, and what is done with a configuration. */
#include "config.h"
#include "daemon/conf/conf.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/file.h"
#include "daemon/conf/keys.h"
#include "sdk/wire/place.h"

#define CONF_MOST_BYTES (1 << 20)

void conf_free(struct conf *conf)
{
	if (conf == NULL)
		return;
	for (size_t i = 0; i < conf->n_assistants; i++) {
		struct conf_assistant *a = &conf->assistants[i];
		for (size_t k = 0; k < a->n_parts; k++)
			conf_part_fini(&a->parts[k]);
		free(a->parts);
		free(a->name);
		conf_keys_fini(CONF_ASSISTANT, a);
	}
	free(conf->assistants);
	conf_keys_fini(CONF_DAEMON, &conf->daemon);
	free(conf->model_path);
	free(conf->plugin_path);
	free(conf->file);
	free(conf);
}

static struct conf *conf_read(const char *file, struct conf_error *error)
{
	char *text;
	size_t n;
	int rc = file_read(file, CONF_MOST_BYTES, &text, &n);
	if (rc < 0) {
		snprintf(error->text, sizeof(error->text), "%.400s: it cannot be read: %s; expected a configuration file of at "
			 "most 1 MiB.", file, strerror(-rc));
		return NULL;
	}
	struct conf *conf = conf_parse(file, text, n, true, error);
	free(text);
	if (conf && (conf->file = strdup(file)) == NULL) {
		conf_free(conf);
		snprintf(error->text, sizeof(error->text), "%.400s: memory is out.", file);
		return NULL;
	}
	return conf;
}

/* The user's, or the system's, if it exists. */
static bool conf_find(char file[PATH_MAX])
{
	const char *home = getenv("XDG_CONFIG_HOME");
	static const char *const system[] = {PERCEPT_SYSCONFDIR "/percept/perceptd.conf", "/etc/percept/perceptd.conf"};
	int n = 0;
	if (home && *home == '/')
		n = snprintf(file, PATH_MAX, "%s/percept/perceptd.conf", home);
	else if (place_expand("~/.config/percept/perceptd.conf", file) < 0)
		return false;
	if (n < PATH_MAX && access(file, F_OK) == 0)
		return true;
	for (size_t i = 0; i < 2; i++) {
		snprintf(file, PATH_MAX, "%s", system[i]);
		if (access(file, F_OK) == 0)
			return true;
	}
	return false;
}

struct conf *conf_load(const char *path, struct conf_error *error)
{
	char file[PATH_MAX];
	const char *set = getenv("PERCEPT_CONFIG");
	if (path)
		return conf_read(path, error);
	if (set && *set)
		return conf_read(set, error);
	if (conf_find(file))
		return conf_read(file, error);
	return conf_parse("built-in", "", 0, true, error);
}

const struct conf_assistant *conf_assistant_named(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_assistants; i++)
		if (strcmp(conf->assistants[i].name, name) == 0)
			return &conf->assistants[i];
	return NULL;
}

/* ---- the resolved assistant ---- */

/* Adds `value`, taken over. False, and *object freed, when memory is out. */
static bool json_put(cJSON **object, const char *name, cJSON *value)
{
	if (*object && value && cJSON_AddItemToObject(*object, name, value))
		return true;
	cJSON_Delete(value);
	cJSON_Delete(*object);
	*object = NULL;
	return false;
}

static cJSON *json_text(const char *text)
{
	return text ? cJSON_CreateString(text) : cJSON_CreateNull();
}

/* A colon-separated list as an array. */
static cJSON *json_folders(const char *list)
{
	char folder[PATH_MAX];
	cJSON *array = cJSON_CreateArray();
	while (array && *list) {
		size_t n = strcspn(list, ":");
		snprintf(folder, sizeof(folder), "%.*s", (int)n, list);
		cJSON *element = cJSON_CreateString(folder);
		if (element == NULL || !cJSON_AddItemToArray(array, element)) {
			cJSON_Delete(element);
			cJSON_Delete(array);
			return NULL;
		}
		list += n + (list[n] == ':');
	}
	return array;
}

static cJSON *json_part(const struct conf_part *part)
{
	cJSON *object = cJSON_CreateObject(), *options = cJSON_CreateObject();
	for (size_t i = 0; i < part->n_options; i++)
		json_put(&options, part->options[i].name, cJSON_CreateString(part->options[i].value));
	json_put(&object, "role", cJSON_CreateString(part->role));
	json_put(&object, "plugin", cJSON_CreateString(part->plugin));
	json_put(&object, "model", json_text(part->model));
	json_put(&object, "options", options);
	return object;
}

static cJSON *json_parts(const struct conf_assistant *a)
{
	cJSON *array = cJSON_CreateArray();
	for (size_t i = 0; i < a->n_parts && array; i++) {
		cJSON *part = json_part(&a->parts[i]);
		if (part && cJSON_AddItemToArray(array, part))
			continue;
		cJSON_Delete(part);
		cJSON_Delete(array);
		array = NULL;
	}
	return array;
}

cJSON *conf_assistant_json(const struct conf *conf, const struct conf_assistant *a)
{
	const struct conf_daemon *d = &conf->daemon;
	cJSON *object = cJSON_CreateObject();
	json_put(&object, "name", cJSON_CreateString(a->name));
	json_put(&object, "model", json_text(a->model));
	json_put(&object, "mmproj", json_text(a->mmproj));
	json_put(&object, "instructions", json_text(a->instructions));
	json_put(&object, "context", cJSON_CreateNumber((double)a->context));
	json_put(&object, "plugin_path", json_folders(conf->plugin_path));
	json_put(&object, "model_path", json_folders(conf->model_path));
	json_put(&object, "threads", cJSON_CreateNumber((double)d->threads));
	json_put(&object, "encode_threads", cJSON_CreateNumber((double)d->encode_threads));
	json_put(&object, "cache_bytes", cJSON_CreateNumber((double)d->cache_bytes));
	json_put(&object, "features", json_text(d->features));
	json_put(&object, "features_bytes", cJSON_CreateNumber((double)d->features_bytes));
	json_put(&object, "stall_ms", cJSON_CreateNumber((double)d->stall_ms));
	json_put(&object, "max_running", cJSON_CreateNumber((double)d->max_running));
	json_put(&object, "parts", json_parts(a));
	return object;
}

bool conf_assistant_same(const struct conf *a, const struct conf_assistant *of_a, const struct conf *b,
			 const struct conf_assistant *of_b)
{
	cJSON *x = conf_assistant_json(a, of_a), *y = conf_assistant_json(b, of_b);
	bool same = x && y && cJSON_Compare(x, y, 1);
	cJSON_Delete(x);
	cJSON_Delete(y);
	return same;
}

/* options.c - a plugin's options: from configured text to typed values. */
#include "daemon/engine/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads text as one type into *value. 0 or -EINVAL. */
typedef int options_reader(const struct percept_option *option, const char *text, struct percept_value *value);

static int options_read_bool(const struct percept_option *option, const char *text, struct percept_value *value)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(text, words[i]) == 0) {
			value->integer = i & 1;
			value->real = i & 1;
			return 0;
		}
	return -EINVAL;
}

static int options_in_range(const struct percept_option *option, double x)
{
	return (option->min == 0 && option->max == 0) || (x >= option->min && x <= option->max);
}

static int options_read_int(const struct percept_option *option, const char *text, struct percept_value *value)
{
	char *end;

	errno = 0;
	long long x = strtoll(text, &end, 10);

	if (errno || end == text || *end || !options_in_range(option, (double)x))
		return -EINVAL;
	value->integer = x;
	value->real = (double)x;
	return 0;
}

static int options_read_float(const struct percept_option *option, const char *text, struct percept_value *value)
{
	char *end;
	double x = strtod(text, &end);

	if (end == text || *end || !isfinite(x) || !options_in_range(option, x))
		return -EINVAL;
	value->real = x;
	return 0;
}

static int options_read_string(const struct percept_option *option, const char *text, struct percept_value *value)
{
	return 0;
}

static int options_read_enum(const struct percept_option *option, const char *text, struct percept_value *value)
{
	size_t n = strlen(text);

	for (const char *at = option->choices; at && n; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		if (strncmp(at, text, n) == 0 && (at[n] == '|' || at[n] == 0))
			return 0;
	return -EINVAL;
}

static int options_read_path(const struct percept_option *option, const char *text, struct percept_value *value)
{
	return text[0] == '/' ? 0 : -EINVAL;
}

static const struct {
	options_reader *read;
	const char *expected;
} options_types[] = {
	[PERCEPT_OPTION_BOOL] = {options_read_bool, "yes or no"},
	[PERCEPT_OPTION_INT] = {options_read_int, "a whole number"},
	[PERCEPT_OPTION_FLOAT] = {options_read_float, "a number"},
	[PERCEPT_OPTION_STRING] = {options_read_string, "a text"},
	[PERCEPT_OPTION_ENUM] = {options_read_enum, "one of"},
	[PERCEPT_OPTION_PATH] = {options_read_path, "an absolute path"},
};

static int options_known_type(enum percept_option_type type)
{
	return type >= PERCEPT_OPTION_BOOL && type <= PERCEPT_OPTION_PATH;
}

static int options_at(const char *name, struct wire_error *error)
{
	wire_error_string(error, "path", name);
	wire_error_string(error, "reason", error->text);
	return error->code;
}

static int options_refuse(const char *plugin, const struct percept_option *option, const char *text, struct wire_error *error)
{
	char range[96] = "";
	int number = option->type == PERCEPT_OPTION_INT || option->type == PERCEPT_OPTION_FLOAT;

	if (number && (option->min != 0 || option->max != 0))
		snprintf(range, sizeof(range), " from %.15g to %.15g", option->min, option->max);
	wire_error_set(error, WIRE_PARAMS, "Option %s of plugin %s is \"%.100s\", but it must be %s%s%s%.200s.", option->name,
			plugin, text, options_types[option->type].expected, range,
			option->type == PERCEPT_OPTION_ENUM ? " " : "",
			option->type == PERCEPT_OPTION_ENUM && option->choices ? option->choices : "");
	return options_at(option->name, error);
}

/* The configured value as text; JSON numbers and booleans are as good. */
static const char *options_text(const cJSON *item, char *room, size_t bytes)
{
	if (cJSON_IsString(item))
		return item->valuestring;
	if (cJSON_IsBool(item))
		return cJSON_IsTrue(item) ? "yes" : "no";
	if (!cJSON_IsNumber(item))
		return NULL;
	snprintf(room, bytes, "%.17g", item->valuedouble);
	return room;
}

static const struct percept_option *options_find(const struct percept_option *table, uint32_t n, const char *name)
{
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

static int options_unknown(const char *plugin, const struct percept_option *table, uint32_t n, const char *name,
			   struct wire_error *error)
{
	char known[320] = "";

	for (uint32_t i = 0; i < n && strlen(known) + 66 < sizeof(known); i++)
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%.60s", i ? ", " : "", table[i].name);
	wire_error_set(error, WIRE_PARAMS, "Plugin %s has no option %.64s; it has %s.", plugin, name, n ? known : "none");
	return options_at(name, error);
}

static int options_one(const char *plugin, const struct percept_option *option, const cJSON *given, struct options *options,
		       struct wire_error *error)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(given, option->name);
	char room[32];
	const char *text = item ? options_text(item, room, sizeof(room)) : option->fallback;

	if (!options_known_type(option->type)) {
		wire_error_set(error, WIRE_PARAMS, "Option %s of plugin %s has a type that this host does not know.",
				option->name, plugin);
		return error->code;
	}
	if (item && !text)
		return options_refuse(plugin, option, "neither text nor number", error);
	if (!text)
		return 0;
	const cJSON *kept = cJSON_AddStringToObject(options->texts, option->name, text);

	if (!kept)
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	struct percept_value *value = &options->values[options->n];

	*value = (struct percept_value){.name = option->name, .type = option->type, .given = item != NULL, .string = kept->valuestring};
	if (options_types[option->type].read(option, kept->valuestring, value))
		return options_refuse(plugin, option, text, error);
	options->n++;
	return 0;
}

int options_parse(const char *plugin, const struct percept_option *table, uint32_t n, const cJSON *given,
		  struct options *options, struct wire_error *error)
{
	const cJSON *item;

	*options = (struct options){.values = calloc(n + 1, sizeof(*options->values)), .texts = cJSON_CreateObject()};
	if (!options->values || !options->texts) {
		options_fini(options);
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	}
	cJSON_ArrayForEach(item, given)
		if (!options_find(table, n, item->string)) {
			options_fini(options);
			return options_unknown(plugin, table, n, item->string, error);
		}
	for (uint32_t i = 0; i < n; i++) {
		int r = options_one(plugin, &table[i], given, options, error);

		if (r) {
			options_fini(options);
			return r;
		}
	}
	return 0;
}

void options_fini(struct options *options)
{
	free(options->values);
	cJSON_Delete(options->texts);
	*options = (struct options){0};
}

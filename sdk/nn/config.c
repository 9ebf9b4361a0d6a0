/* config.c - reading config.json: old and new key names, checked types and ranges. */
#include "sdk/nn/checkpoint.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "sdk/nn/text.h"

enum { CONFIG_FILE_MAX = 1 << 20 };

/* The first of the alternatives that is there and not null. */
static const cJSON *config_find(const cJSON *object, const char *names, const char **name, size_t *length)
{
	for (const char *at = names; object; at += *length + 1) {
		*name = at;
		*length = strcspn(at, "|");
		for (const cJSON *child = cJSON_IsObject(object) ? object->child : NULL; child; child = child->next)
			if (child->string && strlen(child->string) == *length &&
			    !memcmp(child->string, at, *length) && !cJSON_IsNull(child))
				return child;
		if (!at[*length])
			break;
	}
	return NULL;
}

int64_t nn_config_int(const cJSON *object, const char *names, int64_t fallback, int64_t min, int64_t max, struct nn_error *error)
{
	const char *name;
	size_t n;
	const cJSON *value = config_find(object, names, &name, &n);

	if (!value)
		return fallback;
	double d = cJSON_IsNumber(value) ? value->valuedouble : NAN;

	if (!(d >= -9007199254740992.0 && d <= 9007199254740992.0) || d != floor(d)) {
		nn_fail(error, -EINVAL, "config.json: \"%.*s\" must be a whole number.", (int)n, name);
		return fallback;
	}
	if ((int64_t)d < min || (int64_t)d > max) {
		nn_fail(error, -EINVAL, "config.json: \"%.*s\" is %lld; it must be between %lld and %lld.", (int)n, name,
			(long long)d, (long long)min, (long long)max);
		return fallback;
	}
	return (int64_t)d;
}

double nn_config_real(const cJSON *object, const char *names, double fallback, struct nn_error *error)
{
	const char *name;
	size_t n;
	const cJSON *value = config_find(object, names, &name, &n);

	if (!value)
		return fallback;
	if (cJSON_IsNumber(value) && isfinite(value->valuedouble))
		return value->valuedouble;
	nn_fail(error, -EINVAL, "config.json: \"%.*s\" must be a finite number.", (int)n, name);
	return fallback;
}

int nn_config_bool(const cJSON *object, const char *names, int fallback, struct nn_error *error)
{
	const char *name;
	size_t n;
	const cJSON *value = config_find(object, names, &name, &n);

	if (!value)
		return fallback;
	if (cJSON_IsBool(value))
		return cJSON_IsTrue(value) != 0;
	nn_fail(error, -EINVAL, "config.json: \"%.*s\" must be true or false.", (int)n, name);
	return fallback;
}

const char *nn_config_string(const cJSON *object, const char *names, const char *fallback)
{
	const char *name;
	size_t n;
	const cJSON *value = config_find(object, names, &name, &n);

	return cJSON_IsString(value) ? value->valuestring : fallback;
}

const cJSON *nn_config_object(const cJSON *object, const char *names)
{
	const char *name;
	size_t n;
	const cJSON *value = config_find(object, names, &name, &n);

	return cJSON_IsObject(value) ? value : NULL;
}

const char *nn_config_type(const cJSON *config)
{
	static const char *const classes[][2] = { { "CogVLMForCausalLM", "cogvlm" } }, *const others[][2] = { { "cogvlm2", "cogvlm" } };
	const cJSON *list = cJSON_IsObject(config) ? cJSON_GetObjectItemCaseSensitive(config, "architectures") : NULL;
	const char *class = cJSON_GetStringValue(cJSON_GetArrayItem(list, 0)), *type = nn_config_string(config, "model_type", "");

	for (size_t i = 0; class && !*type && i < sizeof(classes) / sizeof(classes[0]); i++)
		if (!strcmp(classes[i][0], class))
			return classes[i][1];
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!strcmp(others[i][0], type))
			return others[i][1];
	return type;
}

cJSON *nn_config_file(const char *directory, const char *name, struct nn_error *error)
{
	struct text text = { 0 };
	const int failed = text_read(&text, directory, name, CONFIG_FILE_MAX, error);
	cJSON *object = failed ? NULL : cJSON_ParseWithLength(text.data, text.n);

	text_free(&text);
	if (!failed && !cJSON_IsObject(object)) {
		nn_fail(error, -EINVAL, "%s/%s is not a JSON object.", directory, name);
		cJSON_Delete(object);
		object = NULL;
	}
	return object;
}

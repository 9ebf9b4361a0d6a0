/* describe.c - the table of methods as JSON Schema 2020-12. */
#include "sdk/wire/schema.h"

#include <stdio.h>
#include <string.h>

#define DESCRIBE_DIALECT "https://json-schema.org/draft/2020-12/schema"

/* `strict`: members that the table does not name are refused (params), not ignored (what the daemon sends). */
struct describe {
	int strict;
	int failed; /* memory was out somewhere; the whole is thrown away */
};

static cJSON *describe_field(struct describe *d, const struct wire_field *field);

/* Adds `value`, taken over. */
static void describe_put(struct describe *d, cJSON *object, const char *name, cJSON *value)
{
	if (object && value && cJSON_AddItemToObject(object, name, value))
		return;
	cJSON_Delete(value);
	d->failed = 1;
}

static void describe_push(struct describe *d, cJSON *array, cJSON *value)
{
	if (array && value && cJSON_AddItemToArray(array, value))
		return;
	cJSON_Delete(value);
	d->failed = 1;
}

static void describe_text(struct describe *d, cJSON *object, const char *name, const char *text)
{
	describe_put(d, object, name, cJSON_CreateString(text));
}

static void describe_limits(struct describe *d, cJSON *schema, const struct wire_field *field, const char *low,
			    const char *high)
{
	if (field->min == 0 && field->max == 0)
		return;
	if (field->min != 0 || field->type == WIRE_INT || field->type == WIRE_NUMBER)
		describe_put(d, schema, low, cJSON_CreateNumber(field->min));
	if (field->max < WIRE_MAX_INT || field->type == WIRE_INT)
		describe_put(d, schema, high, cJSON_CreateNumber(field->max));
}

static void describe_choices(struct describe *d, cJSON *schema, const char *choices)
{
	cJSON *list = cJSON_CreateArray();
	while (*choices) {
		char word[64];
		size_t n = strcspn(choices, "|");
		snprintf(word, sizeof(word), "%.*s", (int)n, choices);
		describe_push(d, list, cJSON_CreateString(word));
		choices += n + (choices[n] == '|');
	}
	describe_put(d, schema, "enum", list);
}

static void describe_string(struct describe *d, cJSON *schema, const struct wire_field *field)
{
	describe_limits(d, schema, field, "minLength", "maxLength");
	if (field->choices)
		describe_choices(d, schema, field->choices);
	if (field->format == WIRE_BASE64)
		describe_text(d, schema, "contentEncoding", "base64");
	if (field->format == WIRE_ABSOLUTE)
		describe_text(d, schema, "pattern", "^/");
}

static void describe_int(struct describe *d, cJSON *schema, const struct wire_field *field)
{
	struct wire_field all = {.type = WIRE_INT, .min = -WIRE_MAX_INT, .max = WIRE_MAX_INT};
	describe_limits(d, schema, field->min == 0 && field->max == 0 ? &all : field, "minimum", "maximum");
}

static void describe_number(struct describe *d, cJSON *schema, const struct wire_field *field)
{
	describe_limits(d, schema, field, "minimum", "maximum");
}

/* {"required":[name]} */
static cJSON *describe_required(struct describe *d, const char *name)
{
	cJSON *schema = cJSON_CreateObject(), *list = cJSON_CreateArray();
	describe_push(d, list, cJSON_CreateString(name));
	describe_put(d, schema, "required", list);
	return schema;
}

static void describe_members(struct describe *d, cJSON *schema, const struct wire_field *members)
{
	cJSON *properties = cJSON_CreateObject(), *required = NULL, *one_of = NULL;
	for (const struct wire_field *m = members; m->type != WIRE_END; m++) {
		describe_put(d, properties, m->name, describe_field(d, m));
		if (m->required) {
			required = required ? required : cJSON_CreateArray();
			describe_push(d, required, cJSON_CreateString(m->name));
		}
		if (m->group) {
			one_of = one_of ? one_of : cJSON_CreateArray();
			describe_push(d, one_of, describe_required(d, m->name));
		}
	}
	describe_put(d, schema, "properties", properties);
	if (required)
		describe_put(d, schema, "required", required);
	if (one_of)
		describe_put(d, schema, "oneOf", one_of);
	if (d->strict)
		describe_put(d, schema, "additionalProperties", cJSON_CreateFalse());
}

static void describe_object(struct describe *d, cJSON *schema, const struct wire_field *field)
{
	describe_members(d, schema, field->items);
}

static void describe_array(struct describe *d, cJSON *schema, const struct wire_field *field)
{
	describe_put(d, schema, "items", describe_field(d, field->items));
	describe_limits(d, schema, field, "minItems", "maxItems");
}

static void describe_map(struct describe *d, cJSON *schema, const struct wire_field *field)
{
	cJSON *names = cJSON_CreateObject();
	describe_text(d, names, "pattern", "^(0|[1-9][0-9]{0,9})$");
	describe_put(d, schema, "propertyNames", names);
	describe_put(d, schema, "additionalProperties", describe_field(d, field->items));
	describe_limits(d, schema, field, "minProperties", "maxProperties");
}

static void describe_one_of(struct describe *d, cJSON *schema, const struct wire_field *field)
{
	cJSON *list = cJSON_CreateArray();
	for (const struct wire_field *kind = field->items; kind->type != WIRE_END; kind++)
		describe_push(d, list, describe_field(d, kind));
	describe_put(d, schema, "oneOf", list);
}

static const struct {
	const char *type; /* NULL: not one */
	void (*fill)(struct describe *d, cJSON *schema, const struct wire_field *field);
} describe_types[] = {
	[WIRE_BOOL] = {"boolean", NULL},         [WIRE_INT] = {"integer", describe_int},
	[WIRE_NUMBER] = {"number", describe_number}, [WIRE_STRING] = {"string", describe_string},
	[WIRE_OBJECT] = {"object", describe_object}, [WIRE_ARRAY] = {"array", describe_array},
	[WIRE_MAP] = {"object", describe_map},   [WIRE_ONE_OF] = {NULL, describe_one_of},
	[WIRE_ANY] = {NULL, NULL},
};

static cJSON *describe_field(struct describe *d, const struct wire_field *field)
{
	cJSON *schema = cJSON_CreateObject();
	if (field->later) {
		describe_put(d, schema, "not", cJSON_CreateObject());
		describe_text(d, schema, "description", "reserved for a later version");
		return schema;
	}
	if (describe_types[field->type].type)
		describe_text(d, schema, "type", describe_types[field->type].type);
	if (describe_types[field->type].fill)
		describe_types[field->type].fill(d, schema, field);
	if (field->fallback)
		describe_put(d, schema, "default", cJSON_Parse(field->fallback));
	if (field->help)
		describe_text(d, schema, "description", field->help);
	return schema;
}

/* A schema that stands alone. */
static cJSON *describe_whole(struct describe *d, const struct wire_field *field, int strict)
{
	d->strict = strict;
	cJSON *schema = cJSON_CreateObject(), *rest = describe_field(d, field);
	describe_text(d, schema, "$schema", DESCRIBE_DIALECT);
	while (schema && rest && rest->child) {
		cJSON *member = cJSON_DetachItemViaPointer(rest, rest->child);
		describe_put(d, schema, member->string, member);
	}
	cJSON_Delete(rest);
	return schema;
}

static cJSON *describe_notifications(struct describe *d, const struct wire_notification_schema *list)
{
	cJSON *object = cJSON_CreateObject();
	for (; list && list->name; list++) {
		struct wire_field params = {.type = WIRE_OBJECT, .items = list->params};
		describe_put(d, object, list->name, describe_whole(d, &params, 0));
	}
	return object;
}

/* Errors that every method may give. */
static const int describe_common[] = {WIRE_PARSE, WIRE_INVALID, WIRE_PARAMS, WIRE_INTERNAL, WIRE_UNAUTHORIZED, 0};

static void describe_errors(struct describe *d, cJSON *array, const int *codes)
{
	for (; codes && *codes; codes++) {
		cJSON *error = cJSON_CreateObject();
		describe_put(d, error, "code", cJSON_CreateNumber(*codes));
		describe_text(d, error, "message", wire_error_name(*codes));
		describe_push(d, array, error);
	}
}

static cJSON *describe_method(struct describe *d, const struct wire_method *method)
{
	struct wire_field params = {.type = WIRE_OBJECT, .items = method->params};
	cJSON *object = cJSON_CreateObject(), *errors = cJSON_CreateArray();
	describe_text(d, object, "description", method->help);
	describe_text(d, object, "role", method->role == WIRE_ADMIN ? "admin" : "user");
	describe_put(d, object, "params", describe_whole(d, &params, 1));
	describe_put(d, object, "result", describe_whole(d, method->result, 0));
	describe_put(d, object, "notifications", describe_notifications(d, method->notifications));
	describe_errors(d, errors, describe_common);
	describe_errors(d, errors, method->errors);
	describe_put(d, object, "errors", errors);
	return object;
}

cJSON *wire_describe(const struct wire_method *method)
{
	struct describe d = {0};
	cJSON *all = cJSON_CreateObject(), *methods = cJSON_CreateObject();
	for (size_t i = 0; wire_methods[i]; i++)
		if (wire_methods[i]->stage == 1 && (method == NULL || method == wire_methods[i]))
			describe_put(&d, methods, wire_methods[i]->name, describe_method(&d, wire_methods[i]));
	describe_put(&d, all, "protocol", cJSON_CreateNumber(1));
	describe_put(&d, all, "methods", methods);
	if (!d.failed)
		return all;
	cJSON_Delete(all);
	return NULL;
}

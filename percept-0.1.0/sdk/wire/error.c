/* error.c - errors on their way to a peer, and the JSON-RPC objects that carry answers. */
#include "sdk/wire/frame.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int code;
	const char *name;
} error_names[] = {
	{WIRE_PARSE, "parse error"},
	{WIRE_INVALID, "invalid request"},
	{WIRE_NO_METHOD, "no such method"},
	{WIRE_PARAMS, "bad params"},
	{WIRE_INTERNAL, "internal error"},
	{WIRE_VERSION, "no common protocol version"},
	{WIRE_UNAUTHORIZED, "unauthorized"},
	{WIRE_FORBIDDEN, "forbidden"},
	{WIRE_OVERLOADED, "overloaded"},
	{WIRE_LIMIT, "limit exceeded"},
	{WIRE_CONTEXT, "context too long"},
	{WIRE_NOT_READY, "assistant not ready"},
	{WIRE_MEDIA, "unsupported or damaged media"},
	{WIRE_DEADLINE, "deadline exceeded"},
	{WIRE_PLUGIN, "plugin failed"},
	{WIRE_NOT_FOUND, "not found"},
	{WIRE_SHUTDOWN, "shutting down"},
	{WIRE_STORAGE, "storage failed"},
	{WIRE_DENIED, "tool denied"},
	{WIRE_MODEL, "bad model file"},
	{WIRE_TEMPLATE, "template limit"},
	{WIRE_BUSY, "session busy"},
};

const char *wire_error_name(int code)
{
	for (size_t i = 0; i < sizeof(error_names) / sizeof(error_names[0]); i++)
		if (error_names[i].code == code)
			return error_names[i].name;
	return NULL;
}

/* Cuts what vsnprintf may have cut within a character, and replaces bytes that are not UTF-8. */
static void error_clean(char *text)
{
	unsigned char *at = (unsigned char *)text, *end = at + strlen(text);
	while (at < end) {
		size_t n = wire_utf8_length(at, end);
		if (n == 0 && end - at < 4 && *at >= 0xc0) {
			*at = '\0';
			return;
		}
		if (n == 0)
			*at = '?';
		at += n ? n : 1;
	}
}

int wire_error_set(struct wire_error *e, int code, const char *format, ...)
{
	va_list args;
	wire_error_fini(e);
	e->code = code;
	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	error_clean(e->text);
	return code;
}

int wire_error_path(struct wire_error *e, const char *path, const char *format, ...)
{
	char reason[400], where[200];
	va_list args;
	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	error_clean(reason);
	snprintf(where, sizeof(where), "%s", path);
	error_clean(where);
	wire_error_set(e, WIRE_PARAMS, "%s %s", where, reason);
	wire_error_string(e, "path", where);
	wire_error_string(e, "reason", reason);
	return WIRE_PARAMS;
}

static cJSON *error_data(struct wire_error *e)
{
	if (e->data == NULL)
		e->data = cJSON_CreateObject();
	return e->data;
}

void wire_error_number(struct wire_error *e, const char *name, double value)
{
	if (error_data(e))
		cJSON_AddNumberToObject(e->data, name, value);
}

void wire_error_string(struct wire_error *e, const char *name, const char *value)
{
	if (error_data(e))
		cJSON_AddStringToObject(e->data, name, value);
}

void wire_error_fini(struct wire_error *e)
{
	cJSON_Delete(e->data);
	e->data = NULL;
	e->code = 0;
	e->text[0] = '\0';
}

cJSON *wire_member(const cJSON *object, const char *name)
{
	return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

int wire_is_int(const cJSON *number)
{
	if (!cJSON_IsNumber(number))
		return 0;
	double v = number->valuedouble;
	return v >= -WIRE_MAX_INT && v <= WIRE_MAX_INT && v == floor(v);
}

int wire_same_id(const cJSON *a, const cJSON *b)
{
	if (cJSON_IsString(a) && cJSON_IsString(b))
		return strcmp(a->valuestring, b->valuestring) == 0;
	return cJSON_IsNumber(a) && cJSON_IsNumber(b) && a->valuedouble == b->valuedouble;
}

/* A new message with what every message has; NULL when memory is out. */
static cJSON *message_new(void)
{
	cJSON *message = cJSON_CreateObject();
	if (message && cJSON_AddStringToObject(message, "jsonrpc", "2.0"))
		return message;
	cJSON_Delete(message);
	return NULL;
}

/* Adds `value`, taken over. 0, or -1 with both freed. */
static int message_add(cJSON **message, const char *name, cJSON *value)
{
	if (*message && value && cJSON_AddItemToObject(*message, name, value))
		return 0;
	cJSON_Delete(value);
	cJSON_Delete(*message);
	*message = NULL;
	return -1;
}

static cJSON *message_answer(const cJSON *id)
{
	cJSON *message = message_new();
	message_add(&message, "id", id ? cJSON_Duplicate(id, 1) : cJSON_CreateNull());
	return message;
}

cJSON *wire_result(const cJSON *id, cJSON *result)
{
	cJSON *message = message_answer(id);
	message_add(&message, "result", result);
	return message;
}

cJSON *wire_error_answer(const cJSON *id, const struct wire_error *error)
{
	cJSON *message = message_answer(id), *object = cJSON_CreateObject();
	if (object == NULL || !cJSON_AddNumberToObject(object, "code", error->code) ||
	    !cJSON_AddStringToObject(object, "message", error->text)) {
		cJSON_Delete(object);
		object = NULL;
	}
	if (object && error->data)
		message_add(&object, "data", cJSON_Duplicate(error->data, 1));
	message_add(&message, "error", object);
	return message;
}

cJSON *wire_notification(const char *method, cJSON *params)
{
	cJSON *message = message_new();
	if (message_add(&message, "method", cJSON_CreateString(method)) == 0 && params == NULL)
		return message;
	message_add(&message, "params", params);
	return message;
}

cJSON *wire_request(double id, const char *method, cJSON *params)
{
	cJSON *message = message_new();
	message_add(&message, "id", cJSON_CreateNumber(id));
	message_add(&message, "method", cJSON_CreateString(method));
	if (params)
		message_add(&message, "params", params);
	return message;
}

/* schema.h - the table of methods: it validates params and describes itself as JSON Schema 2020-12. */
#ifndef WIRE_SCHEMA_H
#define WIRE_SCHEMA_H

#include <stdint.h>
#include <cjson/cJSON.h>

#include "sdk/wire/frame.h"

enum wire_type {
	WIRE_BOOL, WIRE_INT, WIRE_NUMBER, WIRE_STRING, WIRE_OBJECT, WIRE_ARRAY, WIRE_MAP /* string keys, values of `items` */,
	WIRE_ONE_OF /* `items` is a WIRE_END-terminated list of alternatives */, WIRE_ANY, WIRE_END,
};

/* A value, or a member of an object: `name` is NULL for array items and alternatives. */
struct wire_field {
	const char *name;
	enum wire_type type;
	unsigned required : 1;
	double min, max;               /* of numbers; of bytes of strings; of elements of arrays and maps; both 0: no limit */
	const char *choices;           /* "a|b|c": strings only */
	const struct wire_field *items; /* members (OBJECT), the element (ARRAY, MAP), alternatives (ONE_OF) */
	const char *help;
};

enum wire_role { WIRE_USER, WIRE_ADMIN };

struct wire_method {
	const char *name;
	enum wire_role role;
	unsigned stage;                      /* 2: reserved, answered with -32601 */
	const struct wire_field *params;     /* members, WIRE_END-terminated */
	const struct wire_field *result;
	const struct wire_notification_schema *notifications; /* NULL-name-terminated; may be NULL */
	const int *errors;                   /* 0-terminated */
	const char *help;
};
struct wire_notification_schema {
	const char *name;
	const struct wire_field *params;
};

extern const struct wire_method wire_methods[]; /* NULL-name-terminated */
const struct wire_method *wire_method_named(const char *name);
/* 0, or -32602 in *error with data.path ("input[0].content[1].fd"). An absent params is an empty object. */
int wire_method_check(const struct wire_method *method, const cJSON *params, struct wire_error *error);
/* The JSON Schema of one method, or of all (NULL): the result of `describe`. */
cJSON *wire_describe(const struct wire_method *method);

#endif

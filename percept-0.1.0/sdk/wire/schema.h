/* schema.h - the table of methods: it validates params and describes itself as JSON Schema 2020-12. */
#ifndef WIRE_SCHEMA_H
#define WIRE_SCHEMA_H

#include <stdint.h>
#include <cjson/cJSON.h>

#include "sdk/wire/frame.h"

enum wire_type {
	WIRE_END, /* closes a list of fields */
	WIRE_BOOL,
	WIRE_INT,
	WIRE_NUMBER,
	WIRE_STRING,
	WIRE_OBJECT,
	WIRE_ARRAY,
	WIRE_MAP,    /* an object whose keys are decimal ids and whose values are `items` */
	WIRE_ONE_OF, /* `items` are the alternatives: they differ in JSON type, or are objects whose first member has other choices */
	WIRE_ANY,
};

enum wire_format { WIRE_PLAIN, WIRE_BASE64, WIRE_ABSOLUTE };

/* A value, or a member of an object: `name` is NULL for array items and alternatives. */
struct wire_field {
	const char *name;
	enum wire_type type;
	unsigned required : 1;
	unsigned later : 1;            /* reserved: refused until a later version */
	unsigned group;                /* of the members with one number (not 0) exactly one must be there */
	enum wire_format format;       /* strings */
	double min, max;               /* of numbers; of bytes of strings; of elements of arrays and maps; both 0: no limit */
	const char *choices;           /* "a|b|c": strings only */
	const struct wire_field *items; /* members (OBJECT), the element (ARRAY, MAP), alternatives (ONE_OF); WIRE_END-terminated
					 * but for the element */
	const char *fallback;          /* what absence means, as JSON; NULL: nothing */
	const char *help;
};

enum wire_role { WIRE_USER, WIRE_ADMIN };

struct wire_notification_schema {
	const char *name;
	const struct wire_field *params;
};

struct wire_method {
	const char *name;
	enum wire_role role;
	unsigned stage;                      /* 2: reserved, answered with -32601 */
	const struct wire_field *params;     /* members, WIRE_END-terminated */
	const struct wire_field *result;     /* one field */
	const struct wire_notification_schema *notifications; /* NULL-name-terminated; may be NULL */
	const int *errors;                   /* 0-terminated; besides those that every method may give */
	const char *help;
};

extern const struct wire_method *const wire_methods[]; /* NULL-terminated */
/* Reserved methods included; NULL if there is none. [any] */
const struct wire_method *wire_method_named(const char *name);
/* A method that is served: 0, or -32601 in *error, which tells a reserved name from an unknown one. [any] */
int wire_method_find(const char *name, const struct wire_method **method, struct wire_error *error);
/* 0, or -32602 in *error with data.path ("input[0].content[1].fd"). An absent params is an empty object. [any] */
int wire_method_check(const struct wire_method *method, const cJSON *params, struct wire_error *error);
/* The same for any object by a list of members. [any] */
int wire_members_check(const struct wire_field *members, const cJSON *object, struct wire_error *error);
/* The JSON Schema of one method, or of all (NULL): the result of `describe`. NULL when memory is out. [any] */
cJSON *wire_describe(const struct wire_method *method);

/* ---- reading params that were checked ---- */

/* The member's value, or `fallback` if it is absent. [any] */
double wire_param_number(const cJSON *params, const char *name, double fallback);
int64_t wire_param_int(const cJSON *params, const char *name, int64_t fallback);
int wire_param_bool(const cJSON *params, const char *name, int fallback);
const char *wire_param_string(const cJSON *params, const char *name, const char *fallback);

/* ---- media references (PROTOCOL 1 and 6) ---- */

enum wire_reference { WIRE_REF_NONE, WIRE_REF_BIN, WIRE_REF_FD, WIRE_REF_PATH, WIRE_REF_DATA };

/* One media part of checked params. All borrowed. */
struct wire_media {
	cJSON *part;
	const char *kind; /* "image", "audio", "video" */
	unsigned index;   /* among the request's media parts */
	const char *path; /* of the part: "input[0].content[1]" */
	enum wire_reference reference;
	size_t offset, length; /* BIN */
	unsigned fd;           /* FD */
	const char *text;      /* PATH, DATA */
};
/* Calls visit for each media part of params.input, in order, until it returns non-zero, which is returned. [any] */
int wire_media_each(const cJSON *params, int (*visit)(void *arg, const struct wire_media *media), void *arg);
/* Each part that refers to bytes or descriptors must find them in `frame`. 0, or -32602 in *error. [any] */
int wire_media_check(const cJSON *params, const struct wire_frame *frame, struct wire_error *error);
/* Makes the part's reference {"fd":fd}. 0 or -ENOMEM. [any] */
int wire_media_set_fd(cJSON *part, unsigned fd);
/* Decodes into `out` (3 bytes for every 4 of text; NULL only checks). Bytes, or -EINVAL. [any] */
long wire_base64_decode(const char *text, uint8_t *out);

#endif

/* check.c - values against the table of methods, with the path of what is wrong. */
#include "config.h"
#include "sdk/wire/schema.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Where a value is. One buffer for the whole walk: what is appended is cut off again. */
struct check {
	char path[160];
	size_t n;
	struct wire_error *error;
};

static int check_value(struct check *c, const struct wire_field *field, const cJSON *value);

static size_t check_enter(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static size_t check_enter(struct check *c, const char *format, ...)
{
	size_t before = c->n;
	va_list args;
	va_start(args, format);
	int n = vsnprintf(c->path + c->n, sizeof(c->path) - c->n, format, args);
	va_end(args);
	c->n = n < 0 || (size_t)n >= sizeof(c->path) - c->n ? sizeof(c->path) - 1 : c->n + (size_t)n;
	return before;
}

static size_t check_enter_member(struct check *c, const char *name)
{
	return check_enter(c, "%s%.64s", c->n ? "." : "", name);
}

static void check_leave(struct check *c, size_t before)
{
	c->n = before;
	c->path[before] = '\0';
}

static int check_fail(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int check_fail(struct check *c, const char *format, ...)
{
	char reason[320];
	va_list args;
	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	return wire_error_path(c->error, c->n ? c->path : "params", "%s", reason);
}

static int check_limited(const struct wire_field *field)
{
	return field->min != 0 || field->max != 0;
}

/* The words of "a|b|c" as "a, b, c". */
static const char *check_choices(const char *choices, char text[200])
{
	size_t n = 0;
	for (; *choices && n < 197; choices++) {
		text[n++] = *choices == '|' ? ',' : *choices;
		if (*choices == '|')
			text[n++] = ' ';
	}
	text[n] = '\0';
	return text;
}

static int check_is_choice(const char *choices, const char *text)
{
	size_t n = strlen(text);
	while (*choices) {
		size_t k = strcspn(choices, "|");
		if (k == n && memcmp(choices, text, n) == 0)
			return 1;
		choices += k + (choices[k] == '|');
	}
	return 0;
}

static int check_bool(struct check *c, const struct wire_field *field, const cJSON *value)
{
	return cJSON_IsBool(value) ? 0 : check_fail(c, "must be true or false.");
}

static int check_number(struct check *c, const struct wire_field *field, const cJSON *value)
{
	const char *noun = field->type == WIRE_INT ? "an integer" : "a number";
	double v = value->valuedouble;
	int fits = cJSON_IsNumber(value) && isfinite(v) && (fabs(v) <= WIRE_MAX_INT || v != floor(v)) &&
		   (field->type != WIRE_INT || v == floor(v));
	if (fits && (!check_limited(field) || (v >= field->min && v <= field->max)))
		return 0;
	if (check_limited(field))
		return check_fail(c, "must be %s from %.16g to %.16g.", noun, field->min, field->max);
	return check_fail(c, "must be %s.", noun);
}

static int check_string(struct check *c, const struct wire_field *field, const cJSON *value)
{
	char text[200];
	if (!cJSON_IsString(value))
		return check_fail(c, "must be a string.");
	if (field->choices && !check_is_choice(field->choices, value->valuestring))
		return check_fail(c, "must be one of: %s.", check_choices(field->choices, text));
	double n = (double)strlen(value->valuestring);
	if (check_limited(field) && n < field->min && n == 0)
		return check_fail(c, "must not be empty.");
	if (check_limited(field) && (n < field->min || n > field->max))
		return check_fail(c, "must be a string of %.16g to %.16g bytes.", field->min, field->max);
	if (field->format == WIRE_ABSOLUTE && value->valuestring[0] != '/')
		return check_fail(c, "must be an absolute path.");
	if (field->format == WIRE_BASE64 && wire_base64_decode(value->valuestring, NULL) < 0)
		return check_fail(c, "must be base64 with its padding, and no white space in it.");
	return 0;
}

static const struct wire_field *check_find(const struct wire_field *members, const char *name)
{
	for (; members->type != WIRE_END; members++)
		if (strcmp(members->name, name) == 0)
			return members;
	return NULL;
}

/* The names of a group as "a, b, c". */
static const char *check_group_names(const struct wire_field *members, unsigned group, char text[200])
{
	size_t n = 0;
	text[0] = '\0';
	for (; members->type != WIRE_END; members++)
		if (members->group == group && n < 150)
			n += (size_t)snprintf(text + n, 200 - n, "%s%.40s", n ? ", " : "", members->name);
	return text;
}

/* Members that must be there: required ones, and one of each group. */
static int check_present(struct check *c, const struct wire_field *members, const cJSON *object)
{
	char names[200];
	for (const struct wire_field *m = members; m->type != WIRE_END; m++) {
		if (m->required && !wire_member(object, m->name)) {
			check_enter_member(c, m->name);
			return check_fail(c, "is missing.");
		}
		if (m->group == 0)
			continue;
		unsigned n = 0;
		for (const struct wire_field *k = members; k->type != WIRE_END; k++)
			n += k->group == m->group && wire_member(object, k->name);
		if (n != 1)
			return check_fail(c, "must have exactly one of: %s.", check_group_names(members, m->group, names));
	}
	return 0;
}

static int check_object(struct check *c, const struct wire_field *field, const cJSON *value)
{
	if (!cJSON_IsObject(value))
		return check_fail(c, "must be an object.");
	for (const cJSON *m = value->child; m; m = m->next) {
		size_t before = check_enter_member(c, m->string);
		const struct wire_field *known = check_find(field->items, m->string);
		if (known == NULL)
			return check_fail(c, "is unknown here.");
		if (known->later)
			return check_fail(c, "comes with a later version of Percept.");
		int rc = check_value(c, known, m);
		if (rc)
			return rc;
		check_leave(c, before);
	}
	return check_present(c, field->items, value);
}

/* The number of elements of an array or a map. */
static int check_count(struct check *c, const struct wire_field *field, const cJSON *value, const char *noun)
{
	double n = 0;
	for (const cJSON *e = value->child; e; e = e->next)
		n++;
	if (!check_limited(field) || (n >= field->min && n <= field->max))
		return 0;
	if (n == 0)
		return check_fail(c, "must not be empty.");
	return check_fail(c, "must have %.16g to %.16g %s.", field->min, field->max, noun);
}

static int check_array(struct check *c, const struct wire_field *field, const cJSON *value)
{
	size_t i = 0;
	if (!cJSON_IsArray(value))
		return check_fail(c, "must be an array.");
	int rc = check_count(c, field, value, "elements");
	for (const cJSON *e = value->child; e && rc == 0; e = e->next, i++) {
		size_t before = check_enter(c, "[%zu]", i);
		rc = check_value(c, field->items, e);
		if (rc == 0)
			check_leave(c, before);
	}
	return rc;
}

/* "0" or a decimal number without leading zeroes, below 2^31. */
static int check_is_id(const char *text)
{
	size_t n = strspn(text, "0123456789");
	if (n == 0 || text[n] || (text[0] == '0' && n > 1))
		return 0;
	return n < 10 || (n == 10 && strcmp(text, "2147483647") <= 0);
}

static int check_map(struct check *c, const struct wire_field *field, const cJSON *value)
{
	if (!cJSON_IsObject(value))
		return check_fail(c, "must be an object.");
	int rc = check_count(c, field, value, "members");
	for (const cJSON *e = value->child; e && rc == 0; e = e->next) {
		size_t before = check_enter_member(c, e->string);
		rc = check_is_id(e->string) ? check_value(c, field->items, e) : check_fail(c, "must be named by a token id.");
		if (rc == 0)
			check_leave(c, before);
	}
	return rc;
}

static int check_any(struct check *c, const struct wire_field *field, const cJSON *value)
{
	return 0;
}

static const struct {
	const char *noun;
	int json; /* cJSON's types that may be it */
	int (*check)(struct check *c, const struct wire_field *field, const cJSON *value);
} check_types[] = {
	[WIRE_BOOL] = {"true or false", cJSON_True | cJSON_False, check_bool},
	[WIRE_INT] = {"an integer", cJSON_Number, check_number},
	[WIRE_NUMBER] = {"a number", cJSON_Number, check_number},
	[WIRE_STRING] = {"a string", cJSON_String, check_string},
	[WIRE_OBJECT] = {"an object", cJSON_Object, check_object},
	[WIRE_ARRAY] = {"an array", cJSON_Array, check_array},
	[WIRE_MAP] = {"an object", cJSON_Object, check_map},
	[WIRE_ANY] = {"anything", 0xff, check_any},
};

/* Alternatives that are objects: the first member's choices decide. */
static int check_tagged(struct check *c, const struct wire_field *kinds, const cJSON *value)
{
	char all[200] = "", text[200];
	size_t n = 0;
	const char *name = kinds->items->name;
	const cJSON *tag = wire_member(value, name);
	for (; kinds->type != WIRE_END; kinds++) {
		if (cJSON_IsString(tag) && check_is_choice(kinds->items->choices, tag->valuestring))
			return check_object(c, kinds, value);
		if (n < 100)
			n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%.90s", n ? ", " : "",
					      check_choices(kinds->items->choices, text));
	}
	check_enter_member(c, name);
	return tag ? check_fail(c, "must be one of: %s.", all) : check_fail(c, "is missing.");
}

static int check_one_of(struct check *c, const struct wire_field *field, const cJSON *value)
{
	char nouns[100] = "";
	size_t n = 0;
	for (const struct wire_field *kind = field->items; kind->type != WIRE_END; kind++) {
		int fits = check_types[kind->type].json & value->type & 0xff;
		if (fits && kind->type == WIRE_OBJECT && kind->items->choices)
			return check_tagged(c, kind, value);
		if (fits)
			return check_types[kind->type].check(c, kind, value);
		const char *noun = check_types[kind->type].noun;
		if (n < 60 && strstr(nouns, noun) == NULL)
			n += (size_t)snprintf(nouns + n, sizeof(nouns) - n, "%s%s", n ? " or " : "", noun);
	}
	return check_fail(c, "must be %s.", nouns);
}

static int check_value(struct check *c, const struct wire_field *field, const cJSON *value)
{
	if (field->type == WIRE_ONE_OF)
		return check_one_of(c, field, value);
	return check_types[field->type].check(c, field, value);
}

int wire_members_check(const struct wire_field *members, const cJSON *object, struct wire_error *error)
{
	struct check c = {.error = error};
	struct wire_field field = {.type = WIRE_OBJECT, .items = members};
	return object ? check_object(&c, &field, object) : check_present(&c, members, NULL);
}

int wire_method_check(const struct wire_method *method, const cJSON *params, struct wire_error *error)
{
	return wire_members_check(method->params, params, error);
}

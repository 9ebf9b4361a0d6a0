/* template-value.c - values of a running template: making, comparing, and looking into them. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct value value_none(void)
{
	return (struct value){.kind = VALUE_NONE};
}

struct value value_bool(int b)
{
	return (struct value){.kind = VALUE_BOOL, .i = b != 0};
}

struct value value_int(int64_t i)
{
	return (struct value){.kind = VALUE_INT, .i = i};
}

struct value value_float(double d)
{
	return (struct value){.kind = VALUE_FLOAT, .d = d};
}

struct value value_str(struct str s)
{
	return (struct value){.kind = VALUE_STRING, .s = s};
}

struct value value_undefined(struct str what)
{
	return (struct value){.kind = VALUE_UNDEFINED, .s = what};
}

struct value value_list(struct list *list)
{
	return (struct value){.kind = VALUE_LIST, .list = list};
}

int value_true(struct value v)
{
	switch (v.kind) {
	case VALUE_UNDEFINED:
	case VALUE_NONE:
		return 0;
	case VALUE_BOOL:
	case VALUE_INT:
		return v.i != 0;
	case VALUE_FLOAT:
		return v.d != 0;
	case VALUE_STRING:
		return v.s.n != 0;
	case VALUE_LIST:
		return v.list->n != 0;
	case VALUE_DICT:
		return v.dict->n != 0;
	default:
		return 1;
	}
}

const char *value_type(struct value v)
{
	static const char *const names[] = {
		[VALUE_UNDEFINED] = "Undefined", [VALUE_NONE] = "NoneType", [VALUE_BOOL] = "bool", [VALUE_INT] = "int",
		[VALUE_FLOAT] = "float",         [VALUE_STRING] = "str",    [VALUE_LIST] = "list", [VALUE_DICT] = "dict",
		[VALUE_NAMESPACE] = "namespace", [VALUE_LOOP] = "loop",     [VALUE_CALLABLE] = "function",
	};

	return v.kind == VALUE_LIST && v.list->tuple ? "tuple" : names[v.kind];
}

int value_number(struct value v, double *d)
{
	if (v.kind == VALUE_FLOAT)
		*d = v.d;
	else if (v.kind == VALUE_INT || v.kind == VALUE_BOOL)
		*d = (double)v.i;
	else
		return 0;
	return 1;
}

struct list *list_new(struct run *r, size_t room)
{
	struct list *list = heap_alloc(&r->heap, sizeof(*list));

	if (list && room && heap_reserve(&r->heap, &list->items, &list->room, room, sizeof(*list->items)))
		return NULL;
	return list;
}

int list_put(struct run *r, struct list *list, struct value v)
{
	if (heap_reserve(&r->heap, &list->items, &list->room, list->n + 1, sizeof(*list->items)))
		return run_memory(r);
	list->items[list->n++] = v;
	return 0;
}

struct dict *dict_new(struct run *r)
{
	return heap_alloc(&r->heap, sizeof(struct dict));
}

struct value *dict_find(const struct dict *dict, struct str key)
{
	for (size_t i = 0; i < dict->n; i++)
		if (dict->entries[i].key.kind == VALUE_STRING && str_same(dict->entries[i].key.s, key))
			return &dict->entries[i].value;
	return NULL;
}

int dict_put(struct run *r, struct dict *dict, struct value key, struct value v)
{
	int same = 0, failed = run_charge(r, 1 + dict->n / 8);

	for (size_t i = 0; i < dict->n && !failed; i++) {
		failed = value_same(r, dict->entries[i].key, key, &same);
		if (!failed && same) {
			dict->entries[i].value = v;
			return 0;
		}
	}
	if (failed)
		return failed;
	if (heap_reserve(&r->heap, &dict->entries, &dict->room, dict->n + 1, sizeof(*dict->entries)))
		return run_memory(r);
	dict->entries[dict->n++] = (struct entry){key, v};
	return 0;
}

static int value_same_lists(struct run *r, const struct list *a, const struct list *b, int *same)
{
	int failed = 0;

	*same = a->n == b->n && a->tuple == b->tuple;
	for (size_t i = 0; *same && i < a->n && !failed; i++)
		failed = value_same(r, a->items[i], b->items[i], same);
	return failed;
}

static int value_same_dicts(struct run *r, const struct dict *a, const struct dict *b, int *same)
{
	int failed = 0;

	*same = a->n == b->n;
	for (size_t i = 0; *same && i < a->n && !failed; i++) {
		*same = 0;
		for (size_t k = 0; k < b->n && !*same && !failed; k++) {
			failed = value_same(r, a->entries[i].key, b->entries[k].key, same);
			if (!failed && *same) {
				failed = value_same(r, a->entries[i].value, b->entries[k].value, same);
				break;
			}
		}
	}
	return failed;
}

int value_same(struct run *r, struct value a, struct value b, int *same)
{
	double x, y;
	int failed = run_charge(r, 1 + (a.kind == VALUE_STRING ? a.s.n / 256 : 0));

	*same = 0;
	if (failed || (failed = run_enter(r)))
		return failed;
	if (a.kind <= VALUE_INT && b.kind <= VALUE_INT && a.kind >= VALUE_BOOL && b.kind >= VALUE_BOOL)
		*same = a.i == b.i;
	else if (value_number(a, &x) && value_number(b, &y))
		*same = x == y;
	else if (a.kind != b.kind)
		*same = 0;
	else if (a.kind == VALUE_UNDEFINED || a.kind == VALUE_NONE)
		*same = 1;
	else if (a.kind == VALUE_STRING)
		*same = str_same(a.s, b.s);
	else if (a.kind == VALUE_LIST)
		failed = value_same_lists(r, a.list, b.list, same);
	else if (a.kind == VALUE_DICT)
		failed = value_same_dicts(r, a.dict, b.dict, same);
	else
		*same = a.dict == b.dict; /* the pointers of the remaining kinds share their place */
	run_leave(r);
	return failed;
}

int value_length(struct run *r, struct value v, size_t *n)
{
	switch (v.kind) {
	case VALUE_UNDEFINED:
		*n = 0;
		return 0;
	case VALUE_STRING:
		*n = str_chars(v.s);
		return run_charge(r, 1 + v.s.n / 256);
	case VALUE_LIST:
		*n = v.list->n;
		return 0;
	case VALUE_DICT:
		*n = v.dict->n;
		return 0;
	case VALUE_LOOP:
		*n = v.loop->items->n;
		return 0;
	default:
		return run_fail(r, "an object of type %s has no length", value_type(v));
	}
}

/* A text's characters, each a text. */
static int value_characters(struct run *r, struct str s, struct list *list)
{
	int failed = run_charge(r, s.n);

	for (size_t i = 0; i < s.n && !failed;) {
		uint32_t c;
		size_t n = utf8_get(s.s + i, s.n - i, &c, NULL);

		failed = list_put(r, list, value_str((struct str){s.s + i, n}));
		i += n;
	}
	return failed;
}

int value_items(struct run *r, struct value v, const struct list **items)
{
	struct list *list;
	int failed = 0;

	if (v.kind == VALUE_LIST) {
		*items = v.list;
		return 0;
	}
	if (v.kind != VALUE_UNDEFINED && v.kind != VALUE_STRING && v.kind != VALUE_DICT)
		return run_fail(r, "an object of type %s cannot be iterated over", value_type(v));
	list = list_new(r, 0);
	if (!list)
		return run_memory(r);
	if (v.kind == VALUE_STRING)
		failed = value_characters(r, v.s, list);
	for (size_t i = 0; v.kind == VALUE_DICT && i < v.dict->n && !failed; i++)
		failed = list_put(r, list, v.dict->entries[i].key);
	*items = list;
	return failed;
}

int value_keep(struct run *r, struct text *text, struct value *v)
{
	struct str kept, s = {text->data, text->n};
	int failed = run_charge(r, 1 + s.n / 256);

	if (!failed && str_keep(&r->heap, s, &kept))
		failed = run_memory(r);
	if (!failed)
		*v = value_str(kept);
	text_free(text);
	return failed;
}

static int value_from_children(struct run *r, const cJSON *json, struct value *v)
{
	const cJSON *child;
	struct value item;
	int failed = 0;

	cJSON_ArrayForEach(child, json)
	{
		failed = value_from_json(r, child, &item);
		if (!failed && v->kind == VALUE_LIST) {
			failed = list_put(r, v->list, item);
		} else if (!failed) {
			/* Later members of one name lose, as in the lookup of any of them. */
			if (heap_reserve(&r->heap, &v->dict->entries, &v->dict->room, v->dict->n + 1,
					 sizeof(*v->dict->entries)))
				failed = run_memory(r);
			else
				v->dict->entries[v->dict->n++] = (struct entry){value_str(str_of(child->string)), item};
		}
		if (failed)
			break;
	}
	return failed;
}

int value_from_json(struct run *r, const cJSON *json, struct value *v)
{
	int failed = run_enter(r);

	if (failed)
		return failed;
	if (cJSON_IsBool(json)) {
		*v = value_bool(cJSON_IsTrue(json));
	} else if (cJSON_IsNumber(json)) {
		int whole = json->valuedouble == floor(json->valuedouble) && fabs(json->valuedouble) < 9e15;

		*v = whole ? value_int((int64_t)json->valuedouble) : value_float(json->valuedouble);
	} else if (cJSON_IsString(json)) {
		*v = value_str(str_of(json->valuestring));
	} else if (cJSON_IsArray(json)) {
		*v = value_list(list_new(r, 0));
		failed = v->list ? value_from_children(r, json, v) : run_memory(r);
	} else if (cJSON_IsObject(json)) {
		*v = (struct value){.kind = VALUE_DICT, .dict = dict_new(r)};
		failed = v->dict ? value_from_children(r, json, v) : run_memory(r);
	} else {
		*v = value_none();
	}
	run_leave(r);
	return failed;
}

const struct value *args_get(const struct args *args, size_t place, const char *name)
{
	if (place < args->n)
		return &args->positional[place];
	for (size_t i = 0; i < args->n_named; i++)
		if (str_is(args->named[i].name, name))
			return &args->named[i].value;
	return NULL;
}

struct value args_first(const struct args *args)
{
	return args->n ? args->positional[0] : args->n_named ? args->named[0].value : value_undefined((struct str){"argument", 8});
}

int args_int(struct run *r, const struct args *args, size_t place, const char *name, int64_t fallback, int64_t *i)
{
	const struct value *v = args_get(args, place, name);

	*i = fallback;
	if (!v || v->kind == VALUE_NONE)
		return 0;
	if (v->kind != VALUE_INT && v->kind != VALUE_BOOL)
		return run_fail(r, "the argument %s must be a whole number, not %s", name, value_type(*v));
	*i = v->i;
	return 0;
}

int args_str(struct run *r, const struct args *args, size_t place, const char *name, struct str fallback, struct str *s)
{
	const struct value *v = args_get(args, place, name);

	*s = fallback;
	if (!v)
		return 0;
	if (v->kind != VALUE_STRING)
		return run_fail(r, "the argument %s must be a text, not %s", name, value_type(*v));
	*s = v->s;
	return 0;
}

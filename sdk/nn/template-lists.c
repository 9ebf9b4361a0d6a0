/* template-lists.c - filters on lists and dicts. */
#include "sdk/nn/template-filters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILTER(name) int filter_##name(struct run *r, struct value self, const struct args *args, struct value *out)

FILTER(list)
{
	const struct list *items;
	struct list *list = list_new(r, 0);
	int failed = list ? value_items(r, self, &items) : run_memory(r);

	for (size_t i = 0; !failed && i < items->n; i++)
		failed = list_put(r, list, items->items[i]);
	*out = value_list(list);
	return failed ? failed : run_charge(r, 1 + items->n / 8);
}

static int list_end(struct run *r, struct value self, int last, struct value *out)
{
	const struct list *items;
	int failed = value_items(r, self, &items);

	if (failed)
		return failed;
	*out = items->n ? items->items[last ? items->n - 1 : 0] : value_undefined(str_of("an item of an empty list"));
	return 0;
}

FILTER(first)
{
	return list_end(r, self, 0, out);
}

FILTER(last)
{
	return list_end(r, self, 1, out);
}

FILTER(reverse)
{
	static const struct value back[3] = {{.kind = VALUE_NONE}, {.kind = VALUE_NONE}, {.kind = VALUE_INT, .i = -1}};
	const struct list *items;
	int failed = 0;

	if (self.kind == VALUE_STRING)
		return eval_slice(r, self, back, out);
	failed = value_items(r, self, &items);
	return failed ? failed : eval_slice(r, value_list((struct list *)items), back, out);
}

static int list_pair(struct run *r, struct value a, struct value b, struct value *pair)
{
	struct list *list = list_new(r, 2);
	int failed = list ? list_put(r, list, a) : run_memory(r);

	if (!failed)
		failed = list_put(r, list, b);
	if (failed)
		return failed;
	list->tuple = 1;
	*pair = value_list(list);
	return 0;
}

FILTER(items)
{
	struct list *list = list_new(r, 0);
	int failed = list ? 0 : run_memory(r);

	if (self.kind != VALUE_DICT && self.kind != VALUE_UNDEFINED)
		return run_fail(r, "items needs a mapping, not %s", value_type(self));
	for (size_t i = 0; self.kind == VALUE_DICT && i < self.dict->n && !failed; i++) {
		struct value pair;

		failed = run_charge(r, 1);
		if (!failed)
			failed = list_pair(r, self.dict->entries[i].key, self.dict->entries[i].value, &pair);
		if (!failed)
			failed = list_put(r, list, pair);
	}
	*out = value_list(list);
	return failed;
}

/* The member named by `path` ("a.b", or a number), of each item. */
static int list_member(struct run *r, struct value v, struct value path, struct value *out)
{
	struct str rest = path.kind == VALUE_STRING ? path.s : (struct str){0};
	int failed = 0;

	if (path.kind != VALUE_STRING)
		return eval_item(r, v, path, out);
	*out = v;
	while (rest.n && !failed) {
		const char *dot = memchr(rest.s, '.', rest.n);
		struct str part = {rest.s, dot ? (size_t)(dot - rest.s) : rest.n};
		int digits = part.n > 0 && part.n < 10;

		for (size_t i = 0; i < part.n; i++)
			digits &= part.s[i] >= '0' && part.s[i] <= '9';
		failed = eval_item(r, *out, digits ? value_int(atoi(part.s)) : value_str(part), out);
		rest.s += part.n + (dot != NULL);
		rest.n -= part.n + (dot != NULL);
	}
	return failed;
}

FILTER(join)
{
	const struct value *by = args_get(args, 1, "attribute");
	const struct list *items;
	struct text text = {0};
	struct str between, s;
	int failed = args_str(r, args, 0, "d", (struct str){"", 0}, &between);

	if (!failed)
		failed = value_items(r, self, &items);
	for (size_t i = 0; !failed && i < items->n; i++) {
		struct value v = items->items[i];

		if (by)
			failed = list_member(r, v, *by, &v);
		if (!failed)
			failed = value_string(r, v, &s);
		if (!failed)
			failed = run_charge(r, 1 + (s.n + between.n) / 64);
		if (!failed && i)
			failed = text_put(&text, between.s, between.n);
		if (!failed)
			failed = text_put(&text, s.s, s.n);
		if (!failed && text.n > r->limits.output)
			failed = run_fail(r, "it makes more than %zu bytes of text", r->limits.output);
	}
	if (!failed)
		return value_keep(r, &text, out);
	text_free(&text);
	return failed;
}

/* The arguments without the first n, as a filter or test that was named by them takes them. */
static struct args args_behind(const struct args *args, size_t n)
{
	size_t left = args->n > n ? args->n - n : 0;

	return (struct args){left ? args->positional + n : NULL, left, args->named, args->n_named};
}

/* map('filter', ...) or map(attribute='name', default=...). */
FILTER(map)
{
	const struct value *by = args_get(args, SIZE_MAX, "attribute"), *fallback = args_get(args, SIZE_MAX, "default");
	struct args rest = args_behind(args, 1);
	const struct builtin *filter = NULL;
	const struct list *items;
	struct list *list = list_new(r, 0);
	int failed = list ? value_items(r, self, &items) : run_memory(r);

	if (!failed && !by && (!args->n || args->positional[0].kind != VALUE_STRING ||
			       !(filter = builtin_find(filter_table, args->positional[0].s))))
		return run_fail(r, "map needs the name of a filter, or an attribute");
	for (size_t i = 0; !failed && i < items->n; i++) {
		struct value v;

		failed = run_charge(r, 1);
		if (!failed)
			failed = by ? list_member(r, items->items[i], *by, &v)
				    : eval_builtin(r, filter, items->items[i], &rest, &v);
		if (!failed && by && fallback && v.kind == VALUE_UNDEFINED)
			v = *fallback;
		if (!failed)
			failed = list_put(r, list, v);
	}
	*out = value_list(list);
	return failed;
}

/* Items, or their attribute, that pass a test, or those that do not. */
static int list_choose(struct run *r, struct value self, const struct args *args, int by_attribute, int wanted,
		       struct value *out)
{
	size_t skip = by_attribute ? 1 : 0, used = skip + (args->n > skip);
	struct args rest = args_behind(args, used);
	const struct builtin *test = NULL;
	const struct list *items;
	struct list *list = list_new(r, 0);
	int failed = list ? value_items(r, self, &items) : run_memory(r);

	if (!failed && args->n < skip)
		return run_fail(r, "the name of an attribute is missing");
	if (!failed && args->n > skip &&
	    (args->positional[skip].kind != VALUE_STRING || !(test = builtin_find(test_table, args->positional[skip].s))))
		return run_fail(r, "the name of a test is wrong");
	for (size_t i = 0; !failed && i < items->n; i++) {
		struct value v = items->items[i], pass;

		failed = run_charge(r, 1);
		if (!failed && by_attribute)
			failed = list_member(r, v, args->positional[0], &v);
		pass = v;
		if (!failed && test)
			failed = eval_builtin(r, test, v, &rest, &pass);
		if (!failed && value_true(pass) == wanted)
			failed = list_put(r, list, items->items[i]);
	}
	*out = value_list(list);
	return failed;
}

FILTER(select)
{
	return list_choose(r, self, args, 0, 1, out);
}

FILTER(reject)
{
	return list_choose(r, self, args, 0, 0, out);
}

FILTER(selectattr)
{
	return list_choose(r, self, args, 1, 1, out);
}

FILTER(rejectattr)
{
	return list_choose(r, self, args, 1, 0, out);
}

/* What an item is sorted by: itself or a member; texts without regard to case unless asked. */
static int list_key(struct run *r, struct value v, const struct value *by, int cased, struct value *key)
{
	int failed = 0;

	*key = v;
	if (by && by->kind != VALUE_NONE)
		failed = list_member(r, v, *by, key);
	if (!failed && !cased && key->kind == VALUE_STRING)
		failed = str_case(r, key->s, 'l', key);
	return failed;
}

/* Merges the sorted halves of [from, to); keys and items go together. */
static int list_merge(struct run *r, struct list *keys, struct list *items, size_t from, size_t to, enum operator op)
{
	size_t middle = from + (to - from) / 2, a = from, b = middle, n = 0;
	struct entry *merged;
	size_t room = 0;
	int failed = 0;

	if (to - from < 2)
		return 0;
	if ((failed = list_merge(r, keys, items, from, middle, op)) || (failed = list_merge(r, keys, items, middle, to, op)))
		return failed;
	merged = NULL;
	if (heap_reserve(&r->heap, &merged, &room, to - from, sizeof(*merged)))
		return run_memory(r);
	while ((a < middle || b < to) && !failed) {
		int right = a == middle;

		if (a < middle && b < to)
			failed = eval_compare(r, op, keys->items[b], keys->items[a], &right);
		if (!failed)
			failed = run_charge(r, 1);
		size_t take = right ? b++ : a++;

		merged[n++] = (struct entry){keys->items[take], items->items[take]};
	}
	for (size_t i = 0; i < n && !failed; i++) {
		keys->items[from + i] = merged[i].key;
		items->items[from + i] = merged[i].value;
	}
	return failed;
}

static int list_sort(struct run *r, const struct list *items, const struct value *by, int cased, int reverse,
		     struct value *out)
{
	struct list *keys = list_new(r, 0), *sorted = list_new(r, 0);
	int failed = keys && sorted ? 0 : run_memory(r);

	for (size_t i = 0; i < items->n && !failed; i++) {
		struct value key;

		failed = list_key(r, items->items[i], by, cased, &key);
		if (!failed)
			failed = list_put(r, keys, key);
		if (!failed)
			failed = list_put(r, sorted, items->items[i]);
	}
	if (!failed)
		failed = list_merge(r, keys, sorted, 0, sorted->n, reverse ? OP_GT : OP_LT);
	*out = value_list(sorted);
	return failed;
}

static int list_flag(const struct args *args, size_t place, const char *name)
{
	const struct value *v = args_get(args, place, name);

	return v && value_true(*v);
}

/* sort(reverse=False, case_sensitive=False, attribute=None). */
FILTER(sort)
{
	const struct list *items;
	int failed = value_items(r, self, &items);

	return failed ? failed : list_sort(r, items, args_get(args, 2, "attribute"), list_flag(args, 1, "case_sensitive"),
					   list_flag(args, 0, "reverse"), out);
}

/* dictsort(case_sensitive=False, by='key', reverse=False). */
FILTER(dictsort)
{
	struct value pairs, side;
	struct str by;
	int failed = args_str(r, args, 1, "by", str_of("key"), &by);

	if (!failed)
		failed = filter_items(r, self, args, &pairs);
	side = value_int(str_is(by, "value"));
	return failed ? failed : list_sort(r, pairs.list, &side, list_flag(args, 0, "case_sensitive"),
					   list_flag(args, 2, "reverse"), out);
}

static int list_extreme(struct run *r, struct value self, const struct args *args, enum operator op, struct value *out)
{
	const struct value *by = args_get(args, 1, "attribute");
	const struct list *items;
	struct value best, key;
	int failed = value_items(r, self, &items), better = 1;

	*out = value_undefined(str_of("an item of an empty list"));
	for (size_t i = 0; !failed && i < items->n; i++) {
		failed = list_key(r, items->items[i], by, list_flag(args, 0, "case_sensitive"), &key);
		if (!failed && i)
			failed = eval_compare(r, op, key, best, &better);
		if (!failed && better) {
			best = key;
			*out = items->items[i];
		}
	}
	return failed ? failed : run_charge(r, 1 + items->n);
}

FILTER(min)
{
	return list_extreme(r, self, args, OP_LT, out);
}

FILTER(max)
{
	return list_extreme(r, self, args, OP_GT, out);
}

/* sum(attribute=None, start=0). */
FILTER(sum)
{
	const struct value *by = args_get(args, 0, "attribute"), *start = args_get(args, 1, "start");
	const struct list *items;
	int failed = value_items(r, self, &items);

	*out = start ? *start : value_int(0);
	for (size_t i = 0; !failed && i < items->n; i++) {
		struct value v = items->items[i];

		failed = run_charge(r, 1);
		if (!failed && by && by->kind != VALUE_NONE)
			failed = list_member(r, v, *by, &v);
		if (!failed)
			failed = eval_binary(r, OP_ADD, *out, v, out);
	}
	return failed;
}

/* unique(case_sensitive=False, attribute=None): the first of each. */
FILTER(unique)
{
	const struct list *items;
	struct list *seen = list_new(r, 0), *list = list_new(r, 0);
	int failed = seen && list ? value_items(r, self, &items) : run_memory(r);

	for (size_t i = 0; !failed && i < items->n; i++) {
		struct value key;
		int found = 0;

		failed = list_key(r, items->items[i], args_get(args, 1, "attribute"), list_flag(args, 0, "case_sensitive"),
				  &key);
		if (!failed)
			failed = eval_compare(r, OP_IN, key, value_list(seen), &found);
		if (!failed && !found)
			failed = list_put(r, seen, key);
		if (!failed && !found)
			failed = list_put(r, list, items->items[i]);
	}
	*out = value_list(list);
	return failed;
}

/* groupby(attribute): a list of (key, items), by key. */
FILTER(groupby)
{
	const struct value *by = args_get(args, 0, "attribute");
	const struct list *items;
	struct list *groups = list_new(r, 0), *group = NULL;
	struct value sorted, last = value_none();
	int failed = groups ? value_items(r, self, &items) : run_memory(r);

	if (!failed)
		failed = list_sort(r, items, by, 0, 0, &sorted);
	for (size_t i = 0; !failed && i < sorted.list->n; i++) {
		struct value key, pair;
		int same = 0;

		failed = list_key(r, sorted.list->items[i], by, 1, &key);
		if (!failed && group)
			failed = value_same(r, key, last, &same);
		if (!failed && !same) {
			group = list_new(r, 0);
			failed = group ? list_pair(r, key, value_list(group), &pair) : run_memory(r);
			if (!failed)
				failed = list_put(r, groups, pair);
		}
		last = key;
		if (!failed)
			failed = list_put(r, group, sorted.list->items[i]);
	}
	*out = value_list(groups);
	return failed;
}

/* batch(n, fill_with=None): lists of n items. */
FILTER(batch)
{
	const struct value *fill = args_get(args, 1, "fill_with");
	const struct list *items;
	struct list *rows = list_new(r, 0), *row = NULL;
	int64_t n;
	int failed = rows ? args_int(r, args, 0, "linecount", 1, &n) : run_memory(r);

	if (!failed && (n < 1 || n > 4096))
		return run_fail(r, "batch needs a number from 1 to 4096");
	if (!failed)
		failed = value_items(r, self, &items);
	for (size_t i = 0; !failed && i < items->n; i++) {
		if (i % (size_t)n == 0) {
			row = list_new(r, 0);
			failed = row ? list_put(r, rows, value_list(row)) : run_memory(r);
		}
		if (!failed)
			failed = list_put(r, row, items->items[i]);
	}
	while (!failed && row && fill && fill->kind != VALUE_NONE && row->n < (size_t)n)
		failed = list_put(r, row, *fill);
	*out = value_list(rows);
	return failed;
}

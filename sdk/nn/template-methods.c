/* template-methods.c - methods of texts, dicts and lists, as Python has them. A method is one row of its type's table. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <string.h>
#include <utf8proc.h>

#include "sdk/nn/template-filters.h"

#define METHOD(name) static int method_##name(struct run *r, struct value self, const struct args *args, struct value *out)
#define METHOD_CASE(name, how)                        \
	METHOD(name)                                  \
	{                                             \
		return str_case(r, self.s, how, out); \
	}
#define METHOD_STRIP(name, left, right)                        \
	METHOD(name)                                           \
	{                                                      \
		return method_trim(r, self, args, left, right, out); \
	}

METHOD_CASE(upper, 'u')
METHOD_CASE(lower, 'l')
METHOD_CASE(capitalize, 'c')
METHOD_CASE(title, 't')
METHOD_CASE(swapcase, 's')

static int method_trim(struct run *r, struct value self, const struct args *args, int left, int right, struct value *out)
{
	const struct value *set = args_get(args, 0, "chars");

	if (set && set->kind != VALUE_STRING && set->kind != VALUE_NONE)
		return run_fail(r, "strip takes a text, not %s", value_type(*set));
	*out = value_str(str_strip(self.s, set && set->kind == VALUE_STRING ? &set->s : NULL, left, right));
	return run_charge(r, 1 + self.s.n / 64);
}

METHOD_STRIP(strip, 1, 1)
METHOD_STRIP(lstrip, 1, 0)
METHOD_STRIP(rstrip, 0, 1)

static int method_put(struct run *r, struct list *list, const char *s, size_t n)
{
	int failed = run_charge(r, 1 + n / 256);

	return failed ? failed : list_put(r, list, value_str((struct str){s, n}));
}

/* Words between white space; what follows the `most`th cut stays whole. */
static int method_split_space(struct run *r, struct str s, int64_t most, struct list *list)
{
	int failed = 0;

	for (s = str_strip(s, NULL, 1, 0); s.n && !failed; s = str_strip(s, NULL, 1, 0)) {
		size_t end = 0;

		while (end < s.n) {
			uint32_t c;
			size_t n = utf8_get(s.s + end, s.n - end, &c, NULL);

			if (char_is_space(c) && most)
				break;
			end += n;
		}
		failed = method_put(r, list, s.s, most ? end : str_strip(s, NULL, 0, 1).n);
		most -= most > 0;
		s.s += end;
		s.n -= end;
	}
	return failed;
}

static int method_split_by(struct run *r, struct str s, struct str by, int64_t most, struct list *list)
{
	int failed = 0;

	for (const char *at; most && !failed && (at = str_find(s, by)); most -= most > 0) {
		failed = method_put(r, list, s.s, (size_t)(at - s.s));
		s.n -= (size_t)(at - s.s) + by.n;
		s.s = at + by.n;
	}
	return failed ? failed : method_put(r, list, s.s, s.n);
}

/* The last `what` in s, or NULL. */
static const char *method_find_last(struct str s, struct str what)
{
	if (what.n > s.n)
		return NULL;
	for (const char *at = s.s + (s.n - what.n);; at--) {
		if (!what.n || !memcmp(at, what.s, what.n))
			return at;
		if (at == s.s)
			return NULL;
	}
}

static int method_rsplit_by(struct run *r, struct str s, struct str by, int64_t most, struct list *list)
{
	struct list *back = list_new(r, 0);
	int failed = back ? 0 : run_memory(r);

	for (const char *at; most && !failed && (at = method_find_last(s, by)); most -= most > 0) {
		failed = method_put(r, back, at + by.n, (size_t)(s.s + s.n - at) - by.n);
		s.n = (size_t)(at - s.s);
	}
	if (!failed)
		failed = method_put(r, back, s.s, s.n);
	for (size_t i = back ? back->n : 0; i-- && !failed;)
		failed = list_put(r, list, back->items[i]);
	return failed;
}

static int method_cut(struct run *r, struct value self, const struct args *args, int from_right, struct value *out)
{
	const struct value *by = args_get(args, 0, "sep");
	struct list *list = list_new(r, 0);
	int64_t most;
	int failed = list ? args_int(r, args, 1, "maxsplit", -1, &most) : run_memory(r);

	if (failed)
		return failed;
	if (by && by->kind != VALUE_NONE && (by->kind != VALUE_STRING || !by->s.n))
		return run_fail(r, "split needs a text that is not empty");
	if (!by || by->kind == VALUE_NONE) {
		if (from_right && most >= 0)
			return run_fail(r, "rsplit with a limit needs a text to split at");
		failed = method_split_space(r, self.s, most, list);
	} else {
		failed = (from_right ? method_rsplit_by : method_split_by)(r, self.s, by->s, most, list);
	}
	*out = value_list(list);
	return failed;
}

METHOD(split)
{
	return method_cut(r, self, args, 0, out);
}

METHOD(rsplit)
{
	return method_cut(r, self, args, 1, out);
}

METHOD(splitlines)
{
	const struct value *keep = args_get(args, 0, "keepends");
	struct list *list = list_new(r, 0);
	struct str s = self.s;
	int failed = list ? 0 : run_memory(r);

	while (s.n && !failed) {
		size_t n = 0, end;

		while (n < s.n && s.s[n] != '\n' && s.s[n] != '\r')
			n++;
		end = n + (n < s.n) + (n + 1 < s.n && s.s[n] == '\r' && s.s[n + 1] == '\n');
		failed = method_put(r, list, s.s, keep && value_true(*keep) ? end : n);
		s.s += end;
		s.n -= end;
	}
	*out = value_list(list);
	return failed;
}

static int method_has_end(struct str s, struct value end, int at_start)
{
	return end.kind == VALUE_STRING && end.s.n <= s.n &&
	       (!end.s.n || !memcmp(at_start ? s.s : s.s + (s.n - end.s.n), end.s.s, end.s.n));
}

/* The argument is a text or a tuple of texts. */
static int method_with(struct run *r, struct value self, const struct args *args, int at_start, struct value *out)
{
	struct value what = args_first(args);
	int found = method_has_end(self.s, what, at_start);

	if (what.kind != VALUE_STRING && !(what.kind == VALUE_LIST && what.list->tuple))
		return run_fail(r, "a text or a tuple of texts is needed, not %s", value_type(what));
	for (size_t i = 0; what.kind == VALUE_LIST && i < what.list->n; i++)
		found |= method_has_end(self.s, what.list->items[i], at_start);
	*out = value_bool(found);
	return 0;
}

METHOD(startswith)
{
	return method_with(r, self, args, 1, out);
}

METHOD(endswith)
{
	return method_with(r, self, args, 0, out);
}

METHOD(replace)
{
	struct str from, to;
	int64_t most;
	int failed = args_str(r, args, 0, "old", (struct str){"", 0}, &from);

	if (!failed)
		failed = args_str(r, args, 1, "new", (struct str){"", 0}, &to);
	if (!failed)
		failed = args_int(r, args, 2, "count", -1, &most);
	return failed ? failed : str_replace(r, self.s, from, to, most, out);
}

/* In characters; -1: not there. */
static int method_place(struct run *r, struct value self, const struct args *args, int last, struct value *out)
{
	struct str what;
	const char *at;
	int failed = args_str(r, args, 0, "sub", (struct str){"", 0}, &what);

	if (failed)
		return failed;
	at = last ? method_find_last(self.s, what) : str_find(self.s, what);
	*out = value_int(at ? (int64_t)str_chars((struct str){self.s.s, (size_t)(at - self.s.s)}) : -1);
	return run_charge(r, 1 + self.s.n / 64);
}

METHOD(find)
{
	return method_place(r, self, args, 0, out);
}

METHOD(rfind)
{
	return method_place(r, self, args, 1, out);
}

METHOD(index)
{
	int failed = method_place(r, self, args, 0, out);

	return !failed && out->i < 0 ? run_fail(r, "the text to find is not there") : failed;
}

METHOD(count)
{
	struct str what, s = self.s;
	int64_t n = 0;
	int failed = args_str(r, args, 0, "sub", (struct str){"", 0}, &what);

	if (failed)
		return failed;
	if (!what.n)
		n = (int64_t)str_chars(s) + 1;
	for (const char *at; what.n && (at = str_find(s, what)); n++) {
		s.n -= (size_t)(at - s.s) + what.n;
		s.s = at + what.n;
	}
	*out = value_int(n);
	return run_charge(r, 1 + self.s.n / 64);
}

METHOD(join)
{
	struct args between = {.positional = &self, .n = 1};

	return filter_join(r, args_first(args), &between, out);
}

METHOD(removeprefix)
{
	*out = self;
	if (method_has_end(self.s, args_first(args), 1))
		*out = value_str((struct str){self.s.s + args_first(args).s.n, self.s.n - args_first(args).s.n});
	return 0;
}

METHOD(removesuffix)
{
	*out = self;
	if (method_has_end(self.s, args_first(args), 0))
		*out = value_str((struct str){self.s.s, self.s.n - args_first(args).s.n});
	return 0;
}

METHOD(partition)
{
	struct list *list = list_new(r, 3);
	struct str by, s = self.s;
	int failed = list ? args_str(r, args, 0, "sep", (struct str){"", 0}, &by) : run_memory(r);

	if (failed)
		return failed;
	if (!by.n)
		return run_fail(r, "partition needs a text that is not empty");
	const char *at = str_find(s, by);
	size_t n = at ? (size_t)(at - s.s) : s.n, used = at ? by.n : 0;

	list->tuple = 1;
	*out = value_list(list);
	if ((failed = method_put(r, list, s.s, n)) || (failed = method_put(r, list, s.s + n, used)))
		return failed;
	return method_put(r, list, s.s + n + used, s.n - n - used);
}

/* True if there is a character and all of them pass. */
static int method_all(struct str s, int (*pass)(uint32_t c), struct value *out)
{
	int all = s.n > 0;

	for (size_t i = 0; i < s.n && all;) {
		uint32_t c;

		i += utf8_get(s.s + i, s.n - i, &c, NULL);
		all = pass(c);
	}
	*out = value_bool(all);
	return 0;
}

static int method_is_digit(uint32_t c)
{
	return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

static int method_is_letter(uint32_t c)
{
	utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

	return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static int method_is_letter_or_digit(uint32_t c)
{
	return method_is_letter(c) || method_is_digit(c);
}

METHOD(isdigit)
{
	return method_all(self.s, method_is_digit, out);
}

METHOD(isalpha)
{
	return method_all(self.s, method_is_letter, out);
}

METHOD(isalnum)
{
	return method_all(self.s, method_is_letter_or_digit, out);
}

METHOD(isspace)
{
	return method_all(self.s, char_is_space, out);
}

METHOD(isupper)
{
	return eval_builtin(r, builtin_find(test_table, str_of("upper")), self, args, out);
}

METHOD(islower)
{
	return eval_builtin(r, builtin_find(test_table, str_of("lower")), self, args, out);
}

const struct builtin string_methods[] = {
	{"capitalize", method_capitalize, 0, 0}, {"count", method_count, 1, 1},       {"endswith", method_endswith, 1, 1},
	{"find", method_find, 1, 1},             {"index", method_index, 1, 1},       {"isalnum", method_isalnum, 0, 0},
	{"isalpha", method_isalpha, 0, 0},       {"isdigit", method_isdigit, 0, 0},   {"islower", method_islower, 0, 0},
	{"isspace", method_isspace, 0, 0},       {"isupper", method_isupper, 0, 0},   {"join", method_join, 1, 1},
	{"lower", method_lower, 0, 0},           {"lstrip", method_lstrip, 0, 1},     {"partition", method_partition, 1, 1},
	{"removeprefix", method_removeprefix, 1, 1}, {"removesuffix", method_removesuffix, 1, 1},
	{"replace", method_replace, 2, 3},       {"rfind", method_rfind, 1, 1},       {"rsplit", method_rsplit, 0, 2},
	{"rstrip", method_rstrip, 0, 1},         {"split", method_split, 0, 2},       {"splitlines", method_splitlines, 0, 1},
	{"startswith", method_startswith, 1, 1}, {"strip", method_strip, 0, 1},       {"swapcase", method_swapcase, 0, 0},
	{"title", method_title, 0, 0},           {"upper", method_upper, 0, 0},       {0},
};

static int method_side(struct run *r, const struct dict *dict, int keys, struct value *out)
{
	struct list *list = list_new(r, 0);
	int failed = list ? run_charge(r, 1 + dict->n) : run_memory(r);

	for (size_t i = 0; i < dict->n && !failed; i++)
		failed = list_put(r, list, keys ? dict->entries[i].key : dict->entries[i].value);
	*out = value_list(list);
	return failed;
}

METHOD(keys)
{
	return method_side(r, self.dict, 1, out);
}

METHOD(values)
{
	return method_side(r, self.dict, 0, out);
}

METHOD(get)
{
	const struct value *fallback = args_get(args, 1, "default");
	int same = 0, failed = 0;

	*out = fallback ? *fallback : value_none();
	for (size_t i = 0; i < self.dict->n && !failed; i++) {
		failed = value_same(r, self.dict->entries[i].key, args_first(args), &same);
		if (!failed && same) {
			*out = self.dict->entries[i].value;
			break;
		}
	}
	return failed;
}

METHOD(copy)
{
	*out = self;
	return 0;
}

const struct builtin dict_methods[] = {
	{"copy", method_copy, 0, 0}, {"get", method_get, 1, 2},       {"items", filter_items, 0, 0},
	{"keys", method_keys, 0, 0}, {"values", method_values, 0, 0}, {0},
};

METHOD(list_index)
{
	int same = 0, failed = 0;

	for (size_t i = 0; i < self.list->n && !failed; i++) {
		failed = value_same(r, self.list->items[i], args_first(args), &same);
		if (!failed && same) {
			*out = value_int((int64_t)i);
			return 0;
		}
	}
	return failed ? failed : run_fail(r, "the item to find is not in the list");
}

METHOD(list_count)
{
	int64_t n = 0;
	int same = 0, failed = 0;

	for (size_t i = 0; i < self.list->n && !failed; i++) {
		failed = value_same(r, self.list->items[i], args_first(args), &same);
		n += same;
	}
	*out = value_int(n);
	return failed;
}

METHOD(refuse)
{
	return run_fail(r, "a template may not change a list");
}

const struct builtin list_methods[] = {
	{"append", method_refuse, 0, 9}, {"copy", method_copy, 0, 0},        {"count", method_list_count, 1, 1},
	{"extend", method_refuse, 0, 9}, {"index", method_list_index, 1, 1}, {"insert", method_refuse, 0, 9},
	{"pop", method_refuse, 0, 9},    {0},
};

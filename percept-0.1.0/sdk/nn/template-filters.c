/* template-filters.c - filters on texts and single values. A filter is one row of filter_table. */
#include "sdk/nn/template-filters.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILTER(name) static int filter_##name(struct run *r, struct value self, const struct args *args, struct value *out)

const struct builtin *builtin_find(const struct builtin *table, struct str name)
{
	for (; table->name; table++)
		if (str_is(name, table->name))
			return table;
	return NULL;
}

static int filter_case(struct run *r, struct value self, int how, struct value *out)
{
	struct str s;
	int failed = value_string(r, self, &s);

	return failed ? failed : str_case(r, s, how, out);
}

FILTER(upper)
{
	return filter_case(r, self, 'u', out);
}

FILTER(lower)
{
	return filter_case(r, self, 'l', out);
}

FILTER(capitalize)
{
	return filter_case(r, self, 'c', out);
}

FILTER(title)
{
	return filter_case(r, self, 't', out);
}

FILTER(trim)
{
	const struct value *set = args_get(args, 0, "chars");
	struct str s;
	int failed = value_string(r, self, &s);

	if (failed)
		return failed;
	if (set && set->kind != VALUE_STRING && set->kind != VALUE_NONE)
		return run_fail(r, "trim takes a text, not %s", value_type(*set));
	*out = value_str(str_strip(s, set && set->kind == VALUE_STRING ? &set->s : NULL, 1, 1));
	return run_charge(r, 1 + s.n / 64);
}

FILTER(string)
{
	struct str s;
	int failed = value_string(r, self, &s);

	if (!failed)
		*out = value_str(s);
	return failed;
}

FILTER(replace)
{
	struct str s, from, to;
	int64_t most;
	int failed = value_string(r, self, &s);

	if (!failed)
		failed = args_str(r, args, 0, "old", (struct str){"", 0}, &from);
	if (!failed)
		failed = args_str(r, args, 1, "new", (struct str){"", 0}, &to);
	if (!failed)
		failed = args_int(r, args, 2, "count", -1, &most);
	return failed ? failed : str_replace(r, s, from, to, most, out);
}

FILTER(escape)
{
	static const char *const names[] = {"&", "&amp;", "<", "&lt;", ">", "&gt;", "\"", "&#34;", "'", "&#39;"};
	struct text text = {0};
	struct str s;
	int failed = value_string(r, self, &s);

	if (!failed)
		failed = run_charge(r, 1 + s.n / 64);
	for (size_t i = 0; i < s.n && !failed; i++) {
		size_t k = 0;

		while (k < 10 && s.s[i] != *names[k])
			k += 2;
		failed = k < 10 ? text_puts(&text, names[k + 1]) : text_put(&text, s.s + i, 1);
	}
	if (!failed)
		return value_keep(r, &text, out);
	text_free(&text);
	return failed;
}

/* indent(width=4, first=False, blank=False): lines but the first get spaces in front. */
FILTER(indent)
{
	const struct value *width = args_get(args, 0, "width"), *first = args_get(args, 1, "first");
	const struct value *blank = args_get(args, 2, "blank");
	int64_t spaces = !width ? 4 : width->kind == VALUE_INT && width->i >= 0 && width->i <= 256 ? width->i : -1;
	int whole = first && value_true(*first), empty = blank && value_true(*blank), failed;
	struct text text = {0};
	struct str s;

	if (spaces < 0 && width->kind != VALUE_STRING)
		return run_fail(r, "indent takes a text or a number from 0 to 256");
	failed = value_string(r, self, &s);
	if (!failed)
		failed = run_charge(r, 1 + s.n / 16);
	for (size_t i = 0, line = 0; i < s.n && !failed; line++) {
		const char *newline = memchr(s.s + i, '\n', s.n - i);
		size_t end = newline ? (size_t)(newline - s.s) : s.n;

		if ((line || whole) && (empty || end > i)) {
			for (int64_t k = 0; k < spaces && !failed; k++)
				failed = text_put(&text, " ", 1);
			if (spaces < 0 && !failed)
				failed = text_put(&text, width->s.s, width->s.n);
		}
		if (!failed)
			failed = text_put(&text, s.s + i, end - i + (newline != NULL));
		if (!failed && text.n > r->limits.output)
			failed = run_fail(r, "it makes more than %zu bytes of text", r->limits.output);
		i = end + 1;
	}
	if (!failed)
		return value_keep(r, &text, out);
	text_free(&text);
	return failed;
}

FILTER(format)
{
	struct list values = {.items = args->positional, .n = args->n, .tuple = 1};
	struct str s;
	int failed = value_string(r, self, &s);

	return failed ? failed : eval_format(r, s, value_list(&values), out);
}

FILTER(default)
{
	const struct value *fallback = args_get(args, 0, "default_value"), *boolean = args_get(args, 1, "boolean");
	int missing = self.kind == VALUE_UNDEFINED || (boolean && value_true(*boolean) && !value_true(self));

	*out = !missing ? self : fallback ? *fallback : value_str(str_of(""));
	return 0;
}

FILTER(tojson)
{
	struct args moved = *args;
	struct value four[4] = {value_bool(0), value_none(), value_none(), value_bool(0)};

	/* Hugging Face's order is (ensure_ascii, indent, separators, sort_keys). */
	for (size_t i = 0; i < args->n && i < 4; i++)
		four[i] = args->positional[i];
	moved.positional = four;
	return value_json(r, self, &moved, out);
}

FILTER(abs)
{
	if (self.kind == VALUE_FLOAT)
		*out = value_float(fabs(self.d));
	else if ((self.kind == VALUE_INT || self.kind == VALUE_BOOL) && self.i != INT64_MIN)
		*out = value_int(self.i < 0 ? -self.i : self.i);
	else
		return run_fail(r, "abs needs a number, not %s", value_type(self));
	return 0;
}

/* A number read from a text: 0 unless all of it is one. */
static int filter_read(struct str s, double *d)
{
	char line[64], *end;

	s = str_strip(s, NULL, 1, 1);
	if (!s.n || s.n >= sizeof(line) || memchr(s.s, 'x', s.n) || memchr(s.s, 'X', s.n))
		return 0;
	memcpy(line, s.s, s.n);
	line[s.n] = '\0';
	*d = strtod(line, &end);
	return *end == '\0';
}

FILTER(int)
{
	const struct value *fallback = args_get(args, 0, "default");
	double d = NAN;

	*out = fallback ? *fallback : value_int(0);
	if (self.kind == VALUE_INT || self.kind == VALUE_BOOL) {
		*out = value_int(self.i);
		return 0;
	}
	if (self.kind == VALUE_FLOAT)
		d = self.d;
	else if (self.kind == VALUE_STRING && !filter_read(self.s, &d))
		return 0;
	if (d > -9.2e18 && d < 9.2e18)
		*out = value_int((int64_t)d);
	return 0;
}

FILTER(float)
{
	const struct value *fallback = args_get(args, 0, "default");
	double d;

	if (value_number(self, &d) || (self.kind == VALUE_STRING && filter_read(self.s, &d)))
		*out = value_float(d);
	else
		*out = fallback ? *fallback : value_float(0);
	return 0;
}

/* round(precision=0, method='common'): to the even digit when half way, as Python does. */
FILTER(round)
{
	int64_t precision;
	struct str method;
	double d, scale;
	int failed = args_int(r, args, 0, "precision", 0, &precision);

	if (!failed)
		failed = args_str(r, args, 1, "method", str_of("common"), &method);
	if (failed)
		return failed;
	if (!value_number(self, &d) || precision < -15 || precision > 15)
		return run_fail(r, "round needs a number, and at most 15 digits");
	scale = pow(10, (double)precision);
	if (str_is(method, "ceil"))
		*out = value_float(ceil(d * scale) / scale);
	else if (str_is(method, "floor"))
		*out = value_float(floor(d * scale) / scale);
	else if (self.kind != VALUE_FLOAT)
		*out = value_int(precision >= 0 ? self.i : (int64_t)(nearbyint(d * scale) / scale));
	else
		*out = value_float(nearbyint(d * scale) / scale);
	return 0;
}

FILTER(length)
{
	size_t n;
	int failed = value_length(r, self, &n);

	if (!failed)
		*out = value_int((int64_t)n);
	return failed;
}

FILTER(wordcount)
{
	struct str s;
	int64_t words = 0;
	int failed = value_string(r, self, &s), inside = 0;

	for (size_t i = 0; !failed && i < s.n;) {
		uint32_t c;

		i += utf8_get(s.s + i, s.n - i, &c, NULL);
		words += !inside && !char_is_space(c);
		inside = !char_is_space(c);
	}
	*out = value_int(words);
	return failed ? failed : run_charge(r, 1 + s.n / 64);
}

FILTER(attr)
{
	struct str name;
	int failed = args_str(r, args, 0, "name", (struct str){"", 0}, &name);

	return failed ? failed : eval_attribute(r, self, name, out);
}

FILTER(safe)
{
	*out = self;
	return 0;
}

const struct builtin filter_table[] = {
	{"abs", filter_abs, 0, 0},
	{"attr", filter_attr, 1, 1},
	{"batch", filter_batch, 1, 2},
	{"capitalize", filter_capitalize, 0, 0},
	{"count", filter_length, 0, 0},
	{"d", filter_default, 0, 2},
	{"default", filter_default, 0, 2},
	{"dictsort", filter_dictsort, 0, 3},
	{"e", filter_escape, 0, 0},
	{"escape", filter_escape, 0, 0},
	{"first", filter_first, 0, 0},
	{"float", filter_float, 0, 1},
	{"forceescape", filter_escape, 0, 0},
	{"format", filter_format, 0, 64},
	{"groupby", filter_groupby, 1, 2},
	{"indent", filter_indent, 0, 3},
	{"int", filter_int, 0, 2},
	{"items", filter_items, 0, 0},
	{"join", filter_join, 0, 2},
	{"last", filter_last, 0, 0},
	{"length", filter_length, 0, 0},
	{"list", filter_list, 0, 0},
	{"lower", filter_lower, 0, 0},
	{"map", filter_map, 0, 64},
	{"max", filter_max, 0, 2},
	{"min", filter_min, 0, 2},
	{"reject", filter_reject, 0, 64},
	{"rejectattr", filter_rejectattr, 1, 64},
	{"replace", filter_replace, 2, 3},
	{"reverse", filter_reverse, 0, 0},
	{"round", filter_round, 0, 2},
	{"safe", filter_safe, 0, 0},
	{"select", filter_select, 0, 64},
	{"selectattr", filter_selectattr, 1, 64},
	{"sort", filter_sort, 0, 3},
	{"string", filter_string, 0, 0},
	{"sum", filter_sum, 0, 2},
	{"title", filter_title, 0, 0},
	{"tojson", filter_tojson, 0, 4},
	{"trim", filter_trim, 0, 1},
	{"unique", filter_unique, 0, 2},
	{"upper", filter_upper, 0, 0},
	{"wordcount", filter_wordcount, 0, 0},
	{0},
};

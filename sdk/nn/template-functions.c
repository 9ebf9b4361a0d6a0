/* template-functions.c - functions that every template has. A function is one row of global_functions. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <time.h>

#define FUNCTION(name) static int function_##name(struct run *r, struct value self, const struct args *args, struct value *out)

enum { RANGE_MOST = 100000 };

FUNCTION(raise_exception)
{
	struct str s;
	int failed = value_string(r, args_first(args), &s);

	if (!failed && (!s.n || !s.s[0]))
		s = (struct str){"raise_exception was called", 26};
	return failed ? failed : nn_fail(r->error, -EINVAL, "%.*s", (int)(s.n > 500 ? 500 : s.n), s.s);
}

FUNCTION(range)
{
	int64_t bounds[3] = {0, 0, 1};
	struct list *list = list_new(r, 0);
	int failed = list ? 0 : run_memory(r);

	for (size_t i = 0; i < args->n && !failed; i++)
		failed = args_int(r, args, i, "range", 0, &bounds[i]);
	if (failed)
		return failed;
	if (args->n_named || !bounds[2])
		return run_fail(r, "range needs 1 to 3 numbers, the third not 0");
	int64_t at = args->n > 1 ? bounds[0] : 0, end = args->n > 1 ? bounds[1] : bounds[0];

	while (!failed && (bounds[2] > 0 ? at < end : at > end)) {
		if (list->n >= RANGE_MOST)
			return run_fail(r, "range has more than %d numbers", RANGE_MOST);
		failed = run_charge(r, 1);
		if (!failed)
			failed = list_put(r, list, value_int(at));
		if (__builtin_add_overflow(at, bounds[2], &at))
			break;
	}
	*out = value_list(list);
	return failed;
}

/* Members given by name, or by one dict. */
static int function_members(struct run *r, const struct args *args, enum value_kind kind, struct value *out)
{
	struct dict *dict = dict_new(r);
	int failed = dict ? 0 : run_memory(r);

	if (args->n > 1 || (args->n && args->positional[0].kind != VALUE_DICT))
		return run_fail(r, "members must have names");
	for (size_t i = 0; args->n && i < args->positional[0].dict->n && !failed; i++)
		failed = dict_put(r, dict, args->positional[0].dict->entries[i].key,
				  args->positional[0].dict->entries[i].value);
	for (size_t i = 0; i < args->n_named && !failed; i++)
		failed = dict_put(r, dict, value_str(args->named[i].name), args->named[i].value);
	*out = (struct value){.kind = kind, .dict = dict};
	return failed;
}

FUNCTION(namespace)
{
	return function_members(r, args, VALUE_NAMESPACE, out);
}

FUNCTION(dict)
{
	return function_members(r, args, VALUE_DICT, out);
}

FUNCTION(strftime_now)
{
	char format[128], line[512];
	struct str s;
	struct tm now;
	time_t seconds = time(NULL);
	size_t n;
	int failed = args_str(r, args, 0, "format", (struct str){"", 0}, &s);

	if (failed)
		return failed;
	if (s.n >= sizeof(format) || !localtime_r(&seconds, &now))
		return run_fail(r, "strftime_now needs a format of at most %zu bytes", sizeof(format) - 1);
	for (n = 0; n < s.n; n++)
		format[n] = s.s[n];
	format[n] = '\0';
	n = strftime(line, sizeof(line), format, &now);
	if (str_keep(&r->heap, (struct str){line, n}, &s))
		return run_memory(r);
	*out = value_str(s);
	return 0;
}

const struct builtin global_functions[] = {
	{"dict", function_dict, 0, 64},
	{"namespace", function_namespace, 0, 64},
	{"raise_exception", function_raise_exception, 1, 1},
	{"range", function_range, 1, 3},
	{"strftime_now", function_strftime_now, 1, 1},
	{0},
};

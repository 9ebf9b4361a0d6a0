/* template-operator.c - Python's operators: arithmetic, comparison, membership, slices, "%" on texts. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int operator_refuse(struct run *r, const char *sign, struct value a, struct value b)
{
	if (a.kind == VALUE_UNDEFINED || b.kind == VALUE_UNDEFINED) {
		struct str what = a.kind == VALUE_UNDEFINED ? a.s : b.s;

		return run_fail(r, "'%.*s' is undefined, so it cannot be a side of %s", (int)what.n, what.s, sign);
	}
	return run_fail(r, "%s cannot join objects of type %s and %s", sign, value_type(a), value_type(b));
}

static int operator_join(struct run *r, struct str a, struct str b, struct value *out)
{
	struct text text = {0};

	if (a.n + b.n > r->limits.output)
		return run_fail(r, "it makes more than %zu bytes of text", r->limits.output);
	if (text_put(&text, a.s, a.n) || text_put(&text, b.s, b.n)) {
		text_free(&text);
		return -ENOMEM;
	}
	return value_keep(r, &text, out);
}

static int operator_repeat(struct run *r, struct value v, int64_t times, struct value *out)
{
	size_t n = v.kind == VALUE_STRING ? v.s.n : v.list->n, total = 0;
	uint64_t count = times > 0 ? (uint64_t)times : 0;
	struct text text = {0};
	struct list *list = list_new(r, 0);
	int failed = list ? 0 : run_memory(r);

	if (__builtin_mul_overflow(n, count, &total) || total > r->limits.output)
		return run_fail(r, "it makes more than %zu bytes of text", r->limits.output);
	if (!failed)
		failed = run_charge(r, 1 + total / 16);
	for (uint64_t i = 0; i < (n ? count : 0) && !failed; i++) {
		if (v.kind == VALUE_STRING)
			failed = text_put(&text, v.s.s, n);
		for (size_t k = 0; v.kind == VALUE_LIST && k < n && !failed; k++)
			failed = list_put(r, list, v.list->items[k]);
	}
	if (v.kind == VALUE_STRING && !failed)
		return value_keep(r, &text, out);
	text_free(&text);
	*out = value_list(list);
	return failed;
}

static int operator_add_lists(struct run *r, const struct list *a, const struct list *b, struct value *out)
{
	struct list *list = list_new(r, a->n + b->n);
	int failed = list ? run_charge(r, 1 + (a->n + b->n) / 8) : run_memory(r);

	for (size_t i = 0; i < a->n && !failed; i++)
		failed = list_put(r, list, a->items[i]);
	for (size_t i = 0; i < b->n && !failed; i++)
		failed = list_put(r, list, b->items[i]);
	if (list)
		list->tuple = a->tuple;
	*out = value_list(list);
	return failed;
}

/* Rounds down, as Python's // and % do; b is not 0 and a / b fits. */
static int64_t operator_floor(int64_t a, int64_t b)
{
	return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int operator_power(int64_t base, int64_t exponent, int64_t *out)
{
	int64_t result = 1;

	for (; exponent; exponent >>= 1) {
		if (exponent & 1 && __builtin_mul_overflow(result, base, &result))
			return 1;
		if (exponent > 1 && __builtin_mul_overflow(base, base, &base))
			return 1;
	}
	*out = result;
	return 0;
}

static int operator_whole(struct run *r, enum operator op, int64_t a, int64_t b, struct value *out)
{
	int64_t result = 0;
	int overflow = 0;

	if ((op == OP_FLOOR || op == OP_MOD || op == OP_DIV) && !b)
		return run_fail(r, "it divides by zero");
	if (op == OP_DIV || (op == OP_POW && b < 0)) {
		*out = value_float(op == OP_DIV ? (double)a / (double)b : pow((double)a, (double)b));
		return 0;
	}
	if (op == OP_ADD)
		overflow = __builtin_add_overflow(a, b, &result);
	else if (op == OP_SUB)
		overflow = __builtin_sub_overflow(a, b, &result);
	else if (op == OP_MUL)
		overflow = __builtin_mul_overflow(a, b, &result);
	else if (op == OP_POW)
		overflow = operator_power(a, b, &result);
	else if (a == INT64_MIN && b == -1)
		overflow = op == OP_FLOOR;
	else
		result = op == OP_FLOOR ? operator_floor(a, b) : a - operator_floor(a, b) * b;
	if (overflow)
		return run_fail(r, "a number becomes too large");
	*out = value_int(result);
	return 0;
}

static int operator_real(struct run *r, enum operator op, double a, double b, struct value *out)
{
	if ((op == OP_DIV || op == OP_FLOOR || op == OP_MOD) && b == 0)
		return run_fail(r, "it divides by zero");
	switch (op) {
	case OP_ADD:
		*out = value_float(a + b);
		break;
	case OP_SUB:
		*out = value_float(a - b);
		break;
	case OP_MUL:
		*out = value_float(a * b);
		break;
	case OP_DIV:
		*out = value_float(a / b);
		break;
	case OP_FLOOR:
		*out = value_float(floor(a / b));
		break;
	case OP_MOD:
		*out = value_float(a - floor(a / b) * b);
		break;
	default:
		*out = value_float(pow(a, b));
	}
	return 0;
}

int eval_binary(struct run *r, enum operator op, struct value a, struct value b, struct value *out)
{
	static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**", "~"};
	int whole_a = a.kind == VALUE_INT || a.kind == VALUE_BOOL, whole_b = b.kind == VALUE_INT || b.kind == VALUE_BOOL;
	struct str x, y;
	double c, d;
	int failed;

	if (op == OP_CONCAT) {
		failed = value_string(r, a, &x);
		if (!failed)
			failed = value_string(r, b, &y);
		return failed ? failed : operator_join(r, x, y, out);
	}
	if (whole_a && whole_b)
		return operator_whole(r, op, a.i, b.i, out);
	if (value_number(a, &c) && value_number(b, &d))
		return operator_real(r, op, c, d, out);
	if (op == OP_ADD && a.kind == VALUE_STRING && b.kind == VALUE_STRING)
		return operator_join(r, a.s, b.s, out);
	if (op == OP_ADD && a.kind == VALUE_LIST && b.kind == VALUE_LIST && a.list->tuple == b.list->tuple)
		return operator_add_lists(r, a.list, b.list, out);
	if (op == OP_MUL && (a.kind == VALUE_STRING || a.kind == VALUE_LIST) && whole_b)
		return operator_repeat(r, a, b.i, out);
	if (op == OP_MUL && (b.kind == VALUE_STRING || b.kind == VALUE_LIST) && whole_a)
		return operator_repeat(r, b, a.i, out);
	if (op == OP_MOD && a.kind == VALUE_STRING)
		return eval_format(r, a.s, b, out);
	return operator_refuse(r, signs[op], a, b);
}

static int operator_in(struct run *r, struct value what, struct value in, int *result)
{
	const struct list *items;
	int failed;

	*result = 0;
	if (in.kind == VALUE_STRING) {
		if (what.kind != VALUE_STRING)
			return operator_refuse(r, "in", what, in);
		*result = str_find(in.s, what.s) != NULL;
		return run_charge(r, 1 + in.s.n / 256);
	}
	failed = value_items(r, in, &items);
	for (size_t i = 0; !failed && i < items->n && !*result; i++)
		failed = value_same(r, items->items[i], what, result);
	return failed;
}

/* Below 0, 0, above 0. */
static int operator_order(struct run *r, struct value a, struct value b, int *order)
{
	double x, y;
	int failed = 0, same = 1;

	*order = 0;
	if (value_number(a, &x) && value_number(b, &y)) {
		*order = a.kind != VALUE_FLOAT && b.kind != VALUE_FLOAT ? (a.i > b.i) - (a.i < b.i) : (x > y) - (x < y);
		return 0;
	}
	if (a.kind == VALUE_STRING && b.kind == VALUE_STRING) {
		size_t n = a.s.n < b.s.n ? a.s.n : b.s.n;

		*order = n ? memcmp(a.s.s, b.s.s, n) : 0;
		if (!*order)
			*order = (a.s.n > b.s.n) - (a.s.n < b.s.n);
		return 0;
	}
	if (a.kind != VALUE_LIST || b.kind != VALUE_LIST)
		return operator_refuse(r, "an order", a, b);
	if ((failed = run_enter(r)))
		return failed;
	for (size_t i = 0; i < a.list->n && i < b.list->n && same && !failed; i++) {
		failed = value_same(r, a.list->items[i], b.list->items[i], &same);
		if (!failed && !same)
			failed = operator_order(r, a.list->items[i], b.list->items[i], order);
	}
	run_leave(r);
	if (same)
		*order = (a.list->n > b.list->n) - (a.list->n < b.list->n);
	return failed;
}

int eval_compare(struct run *r, enum operator op, struct value a, struct value b, int *result)
{
	int failed, order;

	if (op == OP_IN || op == OP_NOT_IN) {
		failed = operator_in(r, a, b, result);
		*result = op == OP_IN ? *result : !*result;
		return failed;
	}
	if (op == OP_EQ || op == OP_NE) {
		failed = value_same(r, a, b, result);
		*result = op == OP_EQ ? *result : !*result;
		return failed;
	}
	failed = operator_order(r, a, b, &order);
	*result = op == OP_LT ? order < 0 : op == OP_LE ? order <= 0 : op == OP_GT ? order > 0 : order >= 0;
	return failed;
}

/* A bound of a slice that goes `step` through n items, held within them. */
static int64_t operator_bound(int64_t at, int64_t n, int64_t step)
{
	int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;

	if (at < 0)
		at = at < -n ? -1 : at + n;
	return at < low ? low : at > high ? high : at;
}

int eval_slice(struct run *r, struct value of, const struct value bounds[3], struct value *out)
{
	struct value characters = of;
	const struct list *items;
	struct list *list = list_new(r, 0);
	struct text text = {0};
	int failed = list ? 0 : run_memory(r);

	for (int i = 0; i < 3; i++)
		if (bounds[i].kind != VALUE_NONE && bounds[i].kind != VALUE_INT && bounds[i].kind != VALUE_BOOL)
			return run_fail(r, "the bounds of a slice must be whole numbers");
	if (of.kind != VALUE_LIST && of.kind != VALUE_STRING) {
		if (of.kind == VALUE_UNDEFINED)
			return run_fail(r, "'%.*s' is undefined, so it has no members", (int)of.s.n, of.s.s);
		*out = value_undefined(str_of("that slice"));
		return 0;
	}
	int64_t step = bounds[2].kind == VALUE_NONE ? 1 : bounds[2].i;

	if (!step)
		return run_fail(r, "the step of a slice is 0");
	if (!failed)
		failed = value_items(r, characters, &items);
	if (failed)
		return failed;
	int64_t n = (int64_t)items->n;
	int64_t from = bounds[0].kind == VALUE_NONE ? (step < 0 ? n - 1 : 0) : operator_bound(bounds[0].i, n, step);
	int64_t to = bounds[1].kind == VALUE_NONE ? (step < 0 ? -1 : n) : operator_bound(bounds[1].i, n, step);

	if (step > n + 1)
		step = n + 1;
	if (step < -n - 1)
		step = -n - 1;
	for (int64_t i = from; (step > 0 ? i < to : i > to) && !failed; i += step) {
		struct value v = items->items[i];

		failed = of.kind == VALUE_LIST ? list_put(r, list, v) : text_put(&text, v.s.s, v.s.n);
	}
	if (of.kind == VALUE_STRING && !failed)
		return value_keep(r, &text, out);
	text_free(&text);
	list->tuple = of.kind == VALUE_LIST && of.list->tuple;
	*out = value_list(list);
	return failed;
}

/* One directive of a format, such as %05.2f, with its value. */
static int format_put(struct run *r, struct text *out, const char *directive, char kind, struct value v)
{
	char line[512];
	struct text repr = {0};
	struct str s = {0};
	double d = 0;
	int failed = 0;

	if (kind == 's') {
		failed = value_string(r, v, &s);
		return failed ? failed : text_put(out, s.s, s.n);
	}
	if (kind == 'r') {
		failed = value_repr(r, v, &repr);
		if (!failed)
			failed = text_put(out, repr.data, repr.n);
		text_free(&repr);
		return failed;
	}
	if (!value_number(v, &d))
		return run_fail(r, "%%%c needs a number, not %s", kind, value_type(v));
	if (strchr("fFeEgG", kind))
		snprintf(line, sizeof(line), directive, d);
	else
		snprintf(line, sizeof(line), directive, v.kind == VALUE_FLOAT ? (long long)d : (long long)v.i);
	return text_puts(out, line);
}

/* The directive at *s (behind the "%") as one of printf's, or 0. */
static char format_directive(const char **s, const char *end, char directive[32])
{
	const char *at = *s;
	size_t n = 0;
	int digits = 0;

	directive[n++] = '%';
	for (; at < end && strchr("-+ 0#.123456789", *at) && n < 8; at++) {
		digits = *at >= '0' && *at <= '9' ? digits + 1 : 0;
		if (digits > 2) /* a width of 100 and more is no chat template's */
			return 0;
		directive[n++] = *at;
	}
	if (at >= end || !*at || !strchr("srdiufFeEgGxX", *at))
		return 0;
	*s = at + 1;
	if (strchr("diuxX", *at)) {
		directive[n++] = 'l';
		directive[n++] = 'l';
	}
	directive[n++] = *at == 'u' ? 'd' : *at;
	directive[n] = '\0';
	return *at;
}

int eval_format(struct run *r, struct str format, struct value with, struct value *out)
{
	struct list one = {.items = &with, .n = 1};
	const struct list *values = with.kind == VALUE_LIST && with.list->tuple ? with.list : &one;
	const char *s = format.s, *end = s + format.n;
	struct text text = {0};
	size_t used = 0;
	int failed = run_charge(r, 1 + format.n / 16);

	while (s < end && !failed) {
		char directive[32], kind;

		if (*s != '%' || (s + 1 < end && s[1] == '%')) {
			failed = text_put(&text, s, 1);
			s += *s == '%' ? 2 : 1;
			continue;
		}
		s++;
		kind = format_directive(&s, end, directive);
		if (!kind)
			failed = run_fail(r, "a format has a directive that is not supported");
		else if (used >= values->n)
			failed = run_fail(r, "a format has more directives than values");
		else
			failed = format_put(r, &text, directive, kind, values->items[used++]);
	}
	if (!failed && used < values->n && !(values == &one && with.kind == VALUE_DICT))
		failed = run_fail(r, "a format has fewer directives than values");
	if (failed) {
		text_free(&text);
		return failed;
	}
	return value_keep(r, &text, out);
}

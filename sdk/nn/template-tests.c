/* template-tests.c - what stands behind "is". A test is one row of test_table. */
#include "sdk/nn/template-parts.h"

#include <utf8proc.h>

#define TEST(name) static int test_##name(struct run *r, struct value self, const struct args *args, struct value *out)
#define TEST_IF(name, condition)                                                                                  \
	static int test_##name(struct run *r, struct value self, const struct args *args, struct value *out)      \
	{                                                                                                         \
		*out = value_bool(condition);                                                                     \
		return 0;                                                                                         \
	}

TEST_IF(defined, self.kind != VALUE_UNDEFINED)
TEST_IF(undefined, self.kind == VALUE_UNDEFINED)
TEST_IF(none, self.kind == VALUE_NONE)
TEST_IF(boolean, self.kind == VALUE_BOOL)
TEST_IF(true, self.kind == VALUE_BOOL && self.i)
TEST_IF(false, self.kind == VALUE_BOOL && !self.i)
TEST_IF(integer, self.kind == VALUE_INT)
TEST_IF(float, self.kind == VALUE_FLOAT)
TEST_IF(number, self.kind == VALUE_INT || self.kind == VALUE_FLOAT || self.kind == VALUE_BOOL)
TEST_IF(string, self.kind == VALUE_STRING)
TEST_IF(mapping, self.kind == VALUE_DICT)
TEST_IF(sequence, self.kind == VALUE_STRING || self.kind == VALUE_LIST || self.kind == VALUE_DICT)
TEST_IF(iterable, self.kind == VALUE_STRING || self.kind == VALUE_LIST || self.kind == VALUE_DICT ||
			  self.kind == VALUE_UNDEFINED)
TEST_IF(callable, self.kind == VALUE_CALLABLE)
TEST_IF(escaped, 0)

TEST(odd)
{
	if (self.kind != VALUE_INT && self.kind != VALUE_BOOL)
		return run_fail(r, "only a whole number is odd or even, not %s", value_type(self));
	*out = value_bool(self.i % 2 != 0);
	return 0;
}

TEST(even)
{
	int failed = test_odd(r, self, args, out);

	if (!failed)
		*out = value_bool(!out->i);
	return failed;
}

TEST(divisibleby)
{
	struct value rest;
	int failed = eval_binary(r, OP_MOD, self, args_first(args), &rest);

	if (!failed)
		*out = value_bool(!value_true(rest));
	return failed;
}

/* Letters, of which all have the case. */
static int test_case(struct run *r, struct value self, int upper, struct value *out)
{
	struct str s;
	int failed = value_string(r, self, &s), letters = 0, others = 0;

	for (size_t i = 0; !failed && i < s.n;) {
		uint32_t c;

		i += utf8_get(s.s + i, s.n - i, &c, NULL);
		int is_upper = utf8proc_isupper((utf8proc_int32_t)c), is_lower = utf8proc_islower((utf8proc_int32_t)c);

		letters |= upper ? is_upper : is_lower;
		others |= upper ? is_lower : is_upper;
	}
	*out = value_bool(letters && !others);
	return failed ? failed : run_charge(r, 1 + s.n / 64);
}

TEST(upper)
{
	return test_case(r, self, 1, out);
}

TEST(lower)
{
	return test_case(r, self, 0, out);
}

static int test_compare(struct run *r, enum operator op, struct value self, const struct args *args, struct value *out)
{
	int result, failed = eval_compare(r, op, self, args_first(args), &result);

	if (!failed)
		*out = value_bool(result);
	return failed;
}

#define TEST_COMPARE(name, op)                                \
	TEST(name)                                            \
	{                                                     \
		return test_compare(r, op, self, args, out);  \
	}

TEST_COMPARE(eq, OP_EQ)
TEST_COMPARE(ne, OP_NE)
TEST_COMPARE(lt, OP_LT)
TEST_COMPARE(le, OP_LE)
TEST_COMPARE(gt, OP_GT)
TEST_COMPARE(ge, OP_GE)
TEST_COMPARE(in, OP_IN)

/* Python's "is": the same object; here the same kind and value. */
TEST(sameas)
{
	int same = 0, failed = value_same(r, self, args_first(args), &same);

	*out = value_bool(same && self.kind == args_first(args).kind);
	return failed;
}

TEST(filter)
{
	*out = value_bool(self.kind == VALUE_STRING && builtin_find(filter_table, self.s));
	return 0;
}

TEST(test)
{
	*out = value_bool(self.kind == VALUE_STRING && builtin_find(test_table, self.s));
	return 0;
}

const struct builtin test_table[] = {
	{"boolean", test_boolean, 0, 0},   {"callable", test_callable, 0, 0}, {"defined", test_defined, 0, 0},
	{"divisibleby", test_divisibleby, 1, 1}, {"eq", test_eq, 1, 1},       {"equalto", test_eq, 1, 1},
	{"escaped", test_escaped, 0, 0},   {"even", test_even, 0, 0},         {"false", test_false, 0, 0},
	{"filter", test_filter, 0, 0},     {"float", test_float, 0, 0},       {"ge", test_ge, 1, 1},
	{"greaterthan", test_gt, 1, 1},    {"gt", test_gt, 1, 1},             {"in", test_in, 1, 1},
	{"integer", test_integer, 0, 0},   {"iterable", test_iterable, 0, 0}, {"le", test_le, 1, 1},
	{"lessthan", test_lt, 1, 1},       {"lower", test_lower, 0, 0},       {"lt", test_lt, 1, 1},
	{"mapping", test_mapping, 0, 0},   {"ne", test_ne, 1, 1},             {"none", test_none, 0, 0},
	{"number", test_number, 0, 0},     {"odd", test_odd, 0, 0},           {"sameas", test_sameas, 1, 1},
	{"sequence", test_sequence, 0, 0}, {"string", test_string, 0, 0},     {"test", test_test, 0, 0},
	{"true", test_true, 0, 0},         {"undefined", test_undefined, 0, 0}, {"upper", test_upper, 0, 0},
	{"==", test_eq, 1, 1},             {"!=", test_ne, 1, 1},             {"<", test_lt, 1, 1},
	{"<=", test_le, 1, 1},             {">", test_gt, 1, 1},              {">=", test_ge, 1, 1},
	{0},
};

/* template-expression.c - tokens of expressions to nodes, by recursive descent in Jinja's order of binding. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct node *parse_unary(struct parser *p, int with_filters);

/* Python's escapes: what the backslash at *s stands for; *s goes behind it. */
static int parse_escape(struct text *out, const char **s, const char *end)
{
	static const char plain[] = "n\nt\tr\r\\\\''\"\"a\ab\bf\fv\v";
	const char *at = *s + 1;
	size_t digits = *at == 'x' ? 2 : *at == 'u' ? 4 : *at == 'U' ? 8 : 0;
	uint32_t c = 0;

	for (size_t i = 0; plain[i]; i += 2) {
		if (*at == plain[i]) {
			*s = at + 1;
			return text_put(out, &plain[i + 1], 1);
		}
	}
	if (*at == '\n') {
		*s = at + 1;
		return 0;
	}
	if (*at >= '0' && *at <= '7') {
		for (digits = 0; digits < 3 && at < end && *at >= '0' && *at <= '7'; digits++)
			c = c * 8 + (uint32_t)(*at++ - '0');
		*s = at;
		return text_put_char(out, c);
	}
	if (digits && (size_t)(end - at - 1) >= digits) {
		char hex[9] = {0}, *stop;

		memcpy(hex, at + 1, digits);
		c = (uint32_t)strtoul(hex, &stop, 16);
		if (*stop == '\0' && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff)) {
			*s = at + 1 + digits;
			return text_put_char(out, c);
		}
	}
	*s = at;
	return text_put(out, "\\", 1);
}

/* Adjacent strings are one. */
static struct node *parse_string(struct parser *p)
{
	struct node *node = parser_node(p, NODE_CONST);
	struct text text = {0};
	struct str kept;
	int failed = 0;

	for (; node && p->at->kind == TOKEN_STRING && !failed; p->at++) {
		const char *s = p->at->text.s, *end = s + p->at->text.n;

		while (s < end && !failed) {
			const char *slash = memchr(s, '\\', (size_t)(end - s));

			failed = text_put(&text, s, (size_t)((slash ? slash : end) - s));
			s = slash ? slash : end;
			if (slash && !failed)
				failed = parse_escape(&text, &s, end);
		}
	}
	if (node && !failed)
		failed = str_keep(p->heap, (struct str){text.data, text.n}, &kept);
	text_free(&text);
	if (!node || failed)
		return parser_fail(p, "there is not enough memory");
	node->value = value_str(kept);
	return node;
}

static struct node *parse_number(struct parser *p)
{
	struct node *node = parser_node(p, NODE_CONST);
	char digits[64], *end;
	size_t n = 0;

	for (size_t i = 0; i < p->at->text.n; i++) {
		if (n + 1 >= sizeof(digits))
			return parser_fail(p, "a number has too many digits");
		if (p->at->text.s[i] != '_')
			digits[n++] = p->at->text.s[i];
	}
	digits[n] = '\0';
	errno = 0;
	if (node && p->at->kind == TOKEN_FLOAT)
		node->value = value_float(strtod(digits, &end));
	else if (node)
		node->value = value_int(strtoll(digits, &end, 10));
	if (node && p->at->kind == TOKEN_INT && errno)
		return parser_fail(p, "a number is too large");
	p->at++;
	return node;
}

static struct node *parse_name(struct parser *p)
{
	static const struct {
		const char *name;
		struct value value;
	} constants[] = {
		{"true", {.kind = VALUE_BOOL, .i = 1}},  {"True", {.kind = VALUE_BOOL, .i = 1}},
		{"false", {.kind = VALUE_BOOL, .i = 0}}, {"False", {.kind = VALUE_BOOL, .i = 0}},
		{"none", {.kind = VALUE_NONE}},          {"None", {.kind = VALUE_NONE}},
	};
	struct node *node = parser_node(p, NODE_NAME);

	if (!node)
		return NULL;
	node->name = p->at->text;
	for (size_t i = 0; i < sizeof(constants) / sizeof(*constants); i++) {
		if (str_is(node->name, constants[i].name)) {
			node->kind = NODE_CONST;
			node->value = constants[i].value;
		}
	}
	p->at++;
	return node;
}

/* Expressions up to `close`, as the list `a` of a node. */
static struct node *parse_list(struct parser *p, enum node_kind kind, const char *close)
{
	struct node *node = parser_node(p, kind), **last = node ? &node->a : NULL;

	while (!p->failed && !parser_is(p, close)) {
		*last = parse_expression(p);
		if (p->failed)
			return NULL;
		last = &(*last)->next;
		if (!parser_take(p, ","))
			break;
	}
	parser_expect(p, close);
	return p->failed ? NULL : node;
}

/* Keys and values by turns in the list `a`. */
static struct node *parse_dict(struct parser *p)
{
	struct node *node = parser_node(p, NODE_DICT), **last = node ? &node->a : NULL;

	while (!p->failed && !parser_is(p, "}")) {
		struct node *key = parse_expression(p);

		parser_expect(p, ":");
		struct node *value = parse_expression(p);

		if (p->failed)
			return NULL;
		*last = key;
		key->next = value;
		last = &value->next;
		if (!parser_take(p, ","))
			break;
	}
	parser_expect(p, "}");
	return p->failed ? NULL : node;
}

static struct node *parse_brackets(struct parser *p)
{
	struct node *node;

	if (parser_take(p, "(")) {
		node = parse_tuple(p, 1);
		parser_expect(p, ")");
	} else if (parser_take(p, "[")) {
		node = parse_list(p, NODE_LIST, "]");
	} else if (parser_take(p, "{")) {
		node = parse_dict(p);
	} else {
		return parser_fail(p, "an expression is missing or begins wrongly");
	}
	return p->failed ? NULL : node;
}

static struct node *parse_primary(struct parser *p)
{
	struct node *node = NULL;

	if (p->failed || !parser_enter(p))
		return NULL;
	if (p->at->kind == TOKEN_NAME)
		node = parse_name(p);
	else if (p->at->kind == TOKEN_STRING)
		node = parse_string(p);
	else if (p->at->kind == TOKEN_INT || p->at->kind == TOKEN_FLOAT)
		node = parse_number(p);
	else
		node = parse_brackets(p);
	parser_leave(p);
	return node;
}

/* The tuple of expressions with commas; one without a comma is itself. */
struct node *parse_tuple(struct parser *p, int conditional)
{
	struct node *tuple = parser_node(p, NODE_TUPLE), **last = tuple ? &tuple->a : NULL;
	int comma = 0;

	while (!p->failed && !parser_is(p, ")") && p->at->kind != TOKEN_BLOCK_END && p->at->kind != TOKEN_PRINT_END) {
		*last = conditional ? parse_expression(p) : parse_expression_plain(p);
		if (p->failed)
			return NULL;
		last = &(*last)->next;
		if (!parser_take(p, ","))
			break;
		comma = 1;
	}
	if (p->failed)
		return NULL;
	if (!tuple->a && !parser_is(p, ")"))
		return parser_fail(p, "an expression is missing");
	return tuple->a && !comma ? tuple->a : tuple;
}

/* call: arguments in `b`, the named ones with a name. */
struct node *parse_call_arguments(struct parser *p, struct node *call)
{
	struct node **last = call ? &call->b : NULL;
	int named = 0;

	parser_expect(p, "(");
	while (!p->failed && !parser_is(p, ")")) {
		struct str name = {0};

		if (p->at->kind == TOKEN_NAME && p->at[1].kind == TOKEN_OP && str_is(p->at[1].text, "=")) {
			name = p->at->text;
			p->at += 2;
			named = 1;
		} else if (named) {
			return parser_fail(p, "an argument without a name follows one with a name");
		}
		*last = parse_expression(p);
		if (p->failed)
			return NULL;
		struct node *argument = parser_node(p, NODE_TUPLE); /* carries the name; the expression may be shared */

		if (!argument)
			return NULL;
		argument->a = *last;
		argument->name = name;
		*last = argument;
		last = &argument->next;
		if (!parser_take(p, ","))
			break;
	}
	parser_expect(p, ")");
	return p->failed ? NULL : call;
}

/* item: a[b]; slice: a[b:c:d]. */
static struct node *parse_subscript(struct parser *p, struct node *of)
{
	struct node *node = parser_node(p, NODE_ITEM), **bound = node ? &node->b : NULL;

	if (!node)
		return NULL;
	node->a = of;
	if (!parser_is(p, ":"))
		node->b = parse_expression(p);
	for (int i = 0; !p->failed && i < 2 && parser_take(p, ":"); i++) {
		node->kind = NODE_SLICE;
		bound = i ? &node->d : &node->c;
		if (!parser_is(p, ":") && !parser_is(p, "]"))
			*bound = parse_expression(p);
	}
	parser_expect(p, "]");
	return p->failed ? NULL : node;
}

static struct node *parse_member(struct parser *p, struct node *of)
{
	struct node *node = parser_node(p, NODE_ATTRIBUTE);

	if (!node)
		return NULL;
	node->a = of;
	if (p->at->kind == TOKEN_NAME) {
		node->name = p->at->text;
		p->at++;
	} else if (p->at->kind == TOKEN_INT) {
		node->kind = NODE_ITEM;
		node->b = parse_number(p);
	} else {
		return parser_fail(p, "a name must follow the dot");
	}
	return node;
}

static struct node *parse_call(struct parser *p, struct node *of)
{
	struct node *node = parser_node(p, NODE_CALL);

	if (node)
		node->a = of;
	return parse_call_arguments(p, node);
}

static struct node *parse_postfix(struct parser *p, struct node *node)
{
	while (!p->failed) {
		if (parser_take(p, "."))
			node = parse_member(p, node);
		else if (parser_take(p, "["))
			node = parse_subscript(p, node);
		else if (parser_is(p, "("))
			node = parse_call(p, node);
		else
			break;
	}
	return p->failed ? NULL : node;
}

/* filter: a | builtin(b); without a in front of a filter block's body. */
static struct node *parse_filter(struct parser *p, struct node *of)
{
	struct node *node = parser_node(p, NODE_FILTER);

	if (!node)
		return NULL;
	if (p->at->kind != TOKEN_NAME)
		return parser_fail(p, "a filter's name must follow the bar");
	node->a = of;
	node->name = p->at->text;
	node->builtin = builtin_find(filter_table, node->name);
	if (!node->builtin)
		return parser_fail(p, "there is no filter named %.*s", (int)node->name.n, node->name.s);
	p->at++;
	return parser_is(p, "(") ? parse_call_arguments(p, node) : node;
}

/* One argument may stand without brackets: "x is divisibleby 3". */
static struct node *parse_test_argument(struct parser *p, struct node *test)
{
	struct node *argument = parser_node(p, NODE_TUPLE);

	if (!argument)
		return NULL;
	argument->a = parse_postfix(p, parse_primary(p));
	test->b = argument;
	return p->failed ? NULL : test;
}

/* test: a is [not] builtin(b). */
static struct node *parse_test(struct parser *p, struct node *of)
{
	struct node *node = parser_node(p, NODE_TEST);

	if (!node)
		return NULL;
	node->a = of;
	node->negated = parser_take_name(p, "not");
	if (p->at->kind != TOKEN_NAME)
		return parser_fail(p, "a test's name must follow \"is\"");
	node->name = p->at->text;
	node->builtin = builtin_find(test_table, node->name);
	if (!node->builtin)
		return parser_fail(p, "there is no test named %.*s", (int)node->name.n, node->name.s);
	p->at++;
	if (parser_is(p, "("))
		return parse_call_arguments(p, node);
	if (parser_is(p, "[") || parser_is(p, "{") || p->at->kind == TOKEN_STRING || p->at->kind == TOKEN_INT ||
	    p->at->kind == TOKEN_FLOAT ||
	    (p->at->kind == TOKEN_NAME && !parser_is_name(p, "else") && !parser_is_name(p, "or") &&
	     !parser_is_name(p, "and") && !parser_is_name(p, "is") && !parser_is_name(p, "if") &&
	     !parser_is_name(p, "in") && !parser_is_name(p, "not") && !parser_is_name(p, "recursive")))
		return parse_test_argument(p, node);
	return node;
}

/* `block`: filters of a block, where the first stands without a bar. */
struct node *parse_filters(struct parser *p, struct node *node, int block)
{
	if (block)
		node = parse_filter(p, node);
	while (!p->failed) {
		if (parser_take(p, "|"))
			node = parse_filter(p, node);
		else if (!block && parser_take_name(p, "is"))
			node = parse_test(p, node);
		else if (!block && parser_is(p, "("))
			node = parse_call(p, node);
		else
			break;
	}
	return p->failed ? NULL : node;
}

static struct node *parse_sign(struct parser *p, enum node_kind kind)
{
	struct node *node = parser_node(p, kind);

	if (!node || !parser_enter(p))
		return NULL;
	node->a = parse_unary(p, 0);
	parser_leave(p);
	return p->failed ? NULL : node;
}

static struct node *parse_unary(struct parser *p, int with_filters)
{
	struct node *node;

	if (p->failed)
		return NULL;
	if (parser_take(p, "-"))
		node = parse_sign(p, NODE_MINUS);
	else if (parser_take(p, "+"))
		node = parse_sign(p, NODE_PLUS);
	else
		node = parse_primary(p);
	node = parse_postfix(p, node);
	return with_filters && !p->failed ? parse_filters(p, node, 0) : node;
}

/* Operators of two sides by how tightly they bind, loosest first; all join to the left. */
static const struct {
	const char *sign;
	enum operator op;
	int level;
} parse_operators[] = {
	{"+", OP_ADD, 0}, {"-", OP_SUB, 0},    {"~", OP_CONCAT, 1}, {"*", OP_MUL, 2},
	{"/", OP_DIV, 2}, {"//", OP_FLOOR, 2}, {"%", OP_MOD, 2},    {"**", OP_POW, 3},
};
enum { PARSE_LEVELS = 4 };

static int parse_operator(struct parser *p, int level, enum operator *op)
{
	for (size_t i = 0; i < sizeof(parse_operators) / sizeof(*parse_operators); i++) {
		if (parse_operators[i].level == level && parser_take(p, parse_operators[i].sign)) {
			*op = parse_operators[i].op;
			return 1;
		}
	}
	return 0;
}

/* binary: a op b. */
static struct node *parse_binary(struct parser *p, int level)
{
	struct node *left = level < PARSE_LEVELS ? parse_binary(p, level + 1) : parse_unary(p, 1);
	enum operator op;

	while (!p->failed && level < PARSE_LEVELS && parse_operator(p, level, &op)) {
		struct node *node = parser_node(p, NODE_BINARY);

		if (!node)
			return NULL;
		node->op = op;
		node->a = left;
		node->b = parse_binary(p, level + 1);
		left = node;
	}
	return p->failed ? NULL : left;
}

static int parse_comparison(struct parser *p, enum operator *op)
{
	static const struct {
		const char *sign;
		enum operator op;
	} signs[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE}, {">=", OP_GE}, {"<", OP_LT}, {">", OP_GT}};

	for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++) {
		*op = signs[i].op;
		if (parser_take(p, signs[i].sign))
			return 1;
	}
	*op = OP_IN;
	if (parser_take_name(p, "in"))
		return 1;
	if (!parser_is_name(p, "not") || p->at[1].kind != TOKEN_NAME || !str_is(p->at[1].text, "in"))
		return 0;
	*op = OP_NOT_IN;
	p->at += 2;
	return 1;
}

/* compare: a, then the list b of sides, each with its op: a < b < c is a < b and b < c. */
static struct node *parse_compare(struct parser *p)
{
	struct node *left = parse_binary(p, 0), *node = NULL, **last = NULL;
	enum operator op;

	while (!p->failed && parse_comparison(p, &op)) {
		struct node *side = parser_node(p, NODE_TUPLE);

		if (!node)
			node = parser_node(p, NODE_COMPARE);
		if (!node || !side)
			return NULL;
		last = last ? last : &node->b;
		node->a = left;
		side->op = op;
		side->a = parse_binary(p, 0);
		*last = side;
		last = &side->next;
	}
	return p->failed ? NULL : node ? node : left;
}

static struct node *parse_not(struct parser *p)
{
	if (p->failed || !parser_take_name(p, "not"))
		return parse_compare(p);
	struct node *node = parser_node(p, NODE_NOT);

	if (!node || !parser_enter(p))
		return NULL;
	node->a = parse_not(p);
	parser_leave(p);
	return p->failed ? NULL : node;
}

static struct node *parse_and_or(struct parser *p, int or)
{
	struct node *left = or ? parse_and_or(p, 0) : parse_not(p);

	while (!p->failed && parser_take_name(p, or ? "or" : "and")) {
		struct node *node = parser_node(p, or ? NODE_OR : NODE_AND);

		if (!node)
			return NULL;
		node->a = left;
		node->b = or ? parse_and_or(p, 0) : parse_not(p);
		left = node;
	}
	return p->failed ? NULL : left;
}

struct node *parse_expression_plain(struct parser *p)
{
	struct node *node;

	if (p->failed || !parser_enter(p))
		return NULL;
	node = parse_and_or(p, 1);
	parser_leave(p);
	return node;
}

/* if else: a if b else c; c may be missing. */
struct node *parse_expression(struct parser *p)
{
	struct node *value = parse_expression_plain(p);

	while (!p->failed && parser_take_name(p, "if")) {
		struct node *node = parser_node(p, NODE_IF_ELSE);

		if (!node)
			return NULL;
		node->a = value;
		node->b = parse_expression_plain(p);
		if (!p->failed && parser_take_name(p, "else")) {
			if (!parser_enter(p))
				return NULL;
			node->c = parse_expression(p);
			parser_leave(p);
		}
		value = node;
	}
	return p->failed ? NULL : value;
}

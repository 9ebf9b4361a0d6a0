/* template-expression.c - filters, tests and operators to nodes, by recursive descent in Jinja's order of binding. */
#include "sdk/nn/template-parts.h"

static struct node *parse_unary(struct parser *p, int with_filters);

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

/* template-primary.c - what expressions are made of: constants, names, lists, dicts, members, calls. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

struct node *parse_primary(struct parser *p)
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

struct node *parse_call(struct parser *p, struct node *of)
{
	struct node *node = parser_node(p, NODE_CALL);

	if (node)
		node->a = of;
	return parse_call_arguments(p, node);
}

struct node *parse_postfix(struct parser *p, struct node *node)
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

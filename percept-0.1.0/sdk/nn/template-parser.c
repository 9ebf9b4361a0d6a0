/* template-parser.c - tokens of statements to nodes. A statement is one row of parser_statements. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *parser_fail(struct parser *p, const char *format, ...)
{
	char what[256];
	va_list ap;

	if (p->failed)
		return NULL;
	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	p->failed = nn_fail(p->error, -EINVAL, "The chat template is wrong in line %u: %s.", p->at->line, what);
	return NULL;
}

struct node *parser_node(struct parser *p, enum node_kind kind)
{
	struct node *node = p->failed ? NULL : heap_alloc(p->heap, sizeof(*node));

	if (!node)
		return parser_fail(p, "there is not enough memory");
	node->kind = kind;
	node->line = p->at->line;
	return node;
}

int parser_is(const struct parser *p, const char *op)
{
	return p->at->kind == TOKEN_OP && str_is(p->at->text, op);
}

int parser_is_name(const struct parser *p, const char *name)
{
	return p->at->kind == TOKEN_NAME && str_is(p->at->text, name);
}

int parser_take(struct parser *p, const char *op)
{
	if (p->failed || !parser_is(p, op))
		return 0;
	p->at++;
	return 1;
}

int parser_take_name(struct parser *p, const char *name)
{
	if (p->failed || !parser_is_name(p, name))
		return 0;
	p->at++;
	return 1;
}

void parser_expect(struct parser *p, const char *op)
{
	if (!p->failed && !parser_take(p, op))
		parser_fail(p, "\"%s\" is missing before \"%.*s\"", op, (int)(p->at->text.n < 40 ? p->at->text.n : 40),
			    p->at->text.s);
}

int parser_enter(struct parser *p)
{
	if (p->depth >= p->limit) {
		parser_fail(p, "it is nested deeper than %u", p->limit);
		return 0;
	}
	p->depth++;
	return 1;
}

void parser_leave(struct parser *p)
{
	p->depth--;
}

static void parser_block_end(struct parser *p)
{
	if (p->failed)
		return;
	if (p->at->kind != TOKEN_BLOCK_END)
		parser_fail(p, "\"%%}\" is missing before \"%.*s\"", (int)(p->at->text.n < 40 ? p->at->text.n : 40),
			    p->at->text.s);
	else
		p->at++;
}

/* The body up to a tag named as one of `ends` (with '|' between), which is left behind its name. */
static struct node *parser_body(struct parser *p, const char *ends, const char **end);

static struct str parser_name(struct parser *p)
{
	struct str name = p->at->text;

	if (p->at->kind != TOKEN_NAME)
		parser_fail(p, "a name is missing");
	else
		p->at++;
	return name;
}

/* Names to assign to: name, name.attribute, or several in a tuple (a list in `a`). */
static struct node *parser_target(struct parser *p, int attributes)
{
	struct node *tuple = parser_node(p, NODE_TUPLE), **last = tuple ? &tuple->a : NULL;
	int brackets = parser_take(p, "("), comma = 0;

	while (!p->failed && p->at->kind == TOKEN_NAME && !(comma && parser_is_name(p, "in"))) {
		*last = parser_node(p, NODE_NAME);
		if (!*last)
			return NULL;
		(*last)->name = parser_name(p);
		if (attributes && parser_take(p, ".")) {
			struct node *of = *last;

			*last = parser_node(p, NODE_ATTRIBUTE);
			if (!*last)
				return NULL;
			(*last)->a = of;
			(*last)->name = parser_name(p);
		}
		last = &(*last)->next;
		if (!parser_take(p, ","))
			break;
		comma = 1;
	}
	if (brackets)
		parser_expect(p, ")");
	if (!p->failed && !tuple->a)
		parser_fail(p, "a name to assign to is missing");
	return p->failed ? NULL : comma ? tuple : tuple->a;
}

/* for: a target, b items, c condition, d body; the else body hangs on the target's b. */
static struct node *parser_for(struct parser *p)
{
	struct node *node = parser_node(p, NODE_FOR);
	const char *end;

	if (!node)
		return NULL;
	node->a = parser_target(p, 0);
	if (!p->failed && !parser_take_name(p, "in"))
		return parser_fail(p, "\"in\" is missing");
	node->b = parse_tuple(p, 0);
	if (parser_take_name(p, "if"))
		node->c = parse_expression(p);
	if (!p->failed && parser_is_name(p, "recursive"))
		return parser_fail(p, "recursive loops are not supported");
	parser_block_end(p);
	p->loops++;
	node->d = parser_body(p, "else|endfor", &end);
	p->loops--;
	if (!p->failed && !strcmp(end, "else")) {
		parser_block_end(p);
		node->a->b = parser_body(p, "endfor", &end);
	}
	parser_block_end(p);
	return node;
}

/* if: a condition, b body, c what follows: another if, or the else body. */
static struct node *parser_if(struct parser *p)
{
	struct node *first = NULL, **place = &first;
	const char *end = "elif";

	while (!p->failed && !strcmp(end, "elif")) {
		struct node *node = parser_node(p, NODE_IF);

		if (!node)
			return NULL;
		node->a = parse_tuple(p, 1);
		parser_block_end(p);
		node->b = parser_body(p, "elif|else|endif", &end);
		*place = node;
		place = &node->c;
	}
	if (!p->failed && !strcmp(end, "else")) {
		parser_block_end(p);
		*place = parser_body(p, "endif", &end);
	}
	parser_block_end(p);
	return first;
}

/* set: a target, b value. set block: a target, b body, c filters around it. */
static struct node *parser_set(struct parser *p)
{
	struct node *node = parser_node(p, NODE_SET);
	const char *end;

	if (!node)
		return NULL;
	node->a = parser_target(p, 1);
	if (parser_take(p, "=")) {
		node->b = parse_tuple(p, 1);
		parser_block_end(p);
		return node;
	}
	node->kind = NODE_SET_BLOCK;
	if (parser_take(p, "|"))
		node->c = parse_filters(p, NULL, 1);
	parser_block_end(p);
	node->b = parser_body(p, "endset", &end);
	parser_block_end(p);
	return node;
}

/* Parameters of a macro: a list of names, each with its default in `a` or NULL. */
static struct node *parser_parameters(struct parser *p)
{
	struct node *first = NULL, **last = &first;

	parser_expect(p, "(");
	while (!p->failed && !parser_is(p, ")")) {
		*last = parser_node(p, NODE_NAME);
		if (!*last)
			return NULL;
		(*last)->name = parser_name(p);
		if (parser_take(p, "="))
			(*last)->a = parse_expression(p);
		last = &(*last)->next;
		if (!parser_take(p, ","))
			break;
	}
	parser_expect(p, ")");
	return first;
}

/* The body of a macro runs outside any loop. */
static struct node *parser_macro_body(struct parser *p, const char *ends)
{
	uint32_t loops = p->loops;
	const char *end;
	struct node *body;

	parser_block_end(p);
	p->loops = 0;
	body = parser_body(p, ends, &end);
	p->loops = loops;
	if (!p->failed && p->at->kind == TOKEN_NAME) /* endmacro may repeat the name */
		p->at++;
	parser_block_end(p);
	return body;
}

/* macro: name, a parameters, b body. */
static struct node *parser_macro(struct parser *p)
{
	struct node *node = parser_node(p, NODE_MACRO);

	if (!node)
		return NULL;
	node->name = parser_name(p);
	node->a = parser_parameters(p);
	node->b = parser_macro_body(p, "endmacro");
	return node;
}

/* call block: a the macro of the body (a parameters, b body), c the call. */
static struct node *parser_call(struct parser *p)
{
	struct node *node = parser_node(p, NODE_CALL_BLOCK), *macro = parser_node(p, NODE_MACRO);

	if (!node || !macro)
		return NULL;
	node->a = macro;
	macro->name = str_of("caller");
	if (parser_is(p, "("))
		macro->a = parser_parameters(p);
	node->c = parse_expression(p);
	if (!p->failed && node->c->kind != NODE_CALL)
		return parser_fail(p, "a call block needs a call");
	macro->b = parser_macro_body(p, "endcall");
	return node;
}

/* filter block: a filters, b body. */
static struct node *parser_filter(struct parser *p)
{
	struct node *node = parser_node(p, NODE_FILTER_BLOCK);
	const char *end;

	if (!node)
		return NULL;
	node->a = parse_filters(p, NULL, 1);
	parser_block_end(p);
	node->b = parser_body(p, "endfilter", &end);
	parser_block_end(p);
	return node;
}

/* with: a list of targets, each with its value in `b`; b body. */
static struct node *parser_with(struct parser *p)
{
	struct node *node = parser_node(p, NODE_WITH), **last = node ? &node->a : NULL;
	const char *end;

	while (!p->failed && p->at->kind != TOKEN_BLOCK_END) {
		*last = parser_node(p, NODE_NAME);
		if (!*last)
			return NULL;
		(*last)->name = parser_name(p);
		parser_expect(p, "=");
		(*last)->b = parse_expression(p);
		last = &(*last)->next;
		if (!parser_take(p, ","))
			break;
	}
	parser_block_end(p);
	if (p->failed)
		return NULL;
	node->b = parser_body(p, "endwith", &end);
	parser_block_end(p);
	return node;
}

/* {% generation %}: marks what the model wrote, for training; here it is its body b. */
static struct node *parser_generation(struct parser *p)
{
	struct node *node = parser_node(p, NODE_BLOCK);
	const char *end;

	parser_block_end(p);
	if (p->failed)
		return NULL;
	node->b = parser_body(p, "endgeneration", &end);
	parser_block_end(p);
	return node;
}

static struct node *parser_jump(struct parser *p, enum node_kind kind)
{
	struct node *node = parser_node(p, kind);

	if (!p->failed && !p->loops)
		return parser_fail(p, "break and continue belong into a loop");
	parser_block_end(p);
	return node;
}

static struct node *parser_break(struct parser *p)
{
	return parser_jump(p, NODE_BREAK);
}

static struct node *parser_continue(struct parser *p)
{
	return parser_jump(p, NODE_CONTINUE);
}

static const struct {
	const char *name;
	struct node *(*parse)(struct parser *p);
} parser_statements[] = {
	{"for", parser_for},       {"if", parser_if},         {"set", parser_set},
	{"macro", parser_macro},   {"call", parser_call},     {"filter", parser_filter},
	{"with", parser_with},     {"break", parser_break},   {"continue", parser_continue},
	{"generation", parser_generation},
};

static struct node *parser_statement(struct parser *p)
{
	for (size_t i = 0; i < sizeof(parser_statements) / sizeof(*parser_statements); i++) {
		if (!parser_take_name(p, parser_statements[i].name))
			continue;
		if (!parser_enter(p))
			return NULL;
		struct node *node = parser_statements[i].parse(p);

		parser_leave(p);
		return node;
	}
	return parser_fail(p, "the tag \"%.*s\" is unknown or does not belong here",
			   (int)(p->at->text.n < 40 ? p->at->text.n : 40), p->at->text.s);
}

/* print: a. */
static struct node *parser_print(struct parser *p)
{
	struct node *node = parser_node(p, NODE_PRINT);

	p->at++;
	if (!node)
		return NULL;
	node->a = parse_tuple(p, 1);
	if (!p->failed && p->at->kind != TOKEN_PRINT_END)
		return parser_fail(p, "\"}}\" is missing before \"%.*s\"",
				   (int)(p->at->text.n < 40 ? p->at->text.n : 40), p->at->text.s);
	p->at++;
	return node;
}

/* The name in `ends` that the tag at p->at has; NULL: none. */
static const char *parser_is_end(const struct parser *p, const char *ends)
{
	static const char *const names[] = {"else", "elif", "endif", "endfor", "endset", "endmacro", "endcall", "endfilter",
					    "endwith", "endgeneration"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strstr(ends, names[i]) && p->at[1].kind == TOKEN_NAME && str_is(p->at[1].text, names[i]))
			return names[i];
	return NULL;
}

static struct node *parser_body(struct parser *p, const char *ends, const char **end)
{
	struct node *first = NULL, **last = &first;

	*end = "";
	while (!p->failed && p->at->kind != TOKEN_END) {
		if (p->at->kind == TOKEN_DATA) {
			*last = parser_node(p, NODE_DATA);
			if (*last)
				(*last)->name = p->at->text;
			p->at++;
		} else if (p->at->kind == TOKEN_PRINT) {
			*last = parser_print(p);
		} else {
			*end = parser_is_end(p, ends);
			if (*end) {
				p->at += 2;
				return first;
			}
			p->at++;
			*last = parser_statement(p);
		}
		if (*last)
			last = &(*last)->next;
	}
	*end = "";
	if (!p->failed && *ends)
		parser_fail(p, "the end (%s) of a tag is missing", ends);
	return first;
}

int parser_run(struct heap *heap, const struct token *tokens, uint32_t depth, struct node **body, struct nn_error *error)
{
	struct parser p = {.heap = heap, .at = tokens, .limit = depth, .error = error};
	const char *end;

	*body = parser_body(&p, "", &end);
	return p.failed;
}

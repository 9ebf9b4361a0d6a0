/* template-run.c - statements: a body of nodes writes text. A kind of node is one row of run_kinds. */
#include "sdk/nn/template-parts.h"

#include <string.h>

int run_text(struct run *r, const struct node *body, struct scope *scope, struct value *text)
{
	struct text made = {0}, *out = r->out;
	struct scope *outer = r->scope;
	int failed;

	r->out = &made;
	r->scope = scope;
	failed = run_body(r, body);
	r->out = out;
	r->scope = outer;
	if (failed) {
		text_free(&made);
		return failed;
	}
	return value_keep(r, &made, text);
}

static int run_data(struct run *r, const struct node *node)
{
	return run_write(r, node->name);
}

static int run_print(struct run *r, const struct node *node)
{
	struct value v;
	struct str s;
	int failed = eval(r, node->a, &v);

	if (!failed)
		failed = value_string(r, v, &s);
	return failed ? failed : run_write(r, s);
}

static int run_if(struct run *r, const struct node *node)
{
	while (node && node->kind == NODE_IF) {
		struct value condition;
		int failed = eval(r, node->a, &condition);

		if (failed)
			return failed;
		if (value_true(condition))
			return run_body(r, node->b);
		/* What follows is an elif if it stands alone and is one; an else body that is an if runs the same. */
		if (!node->c || node->c->kind != NODE_IF || node->c->next)
			return run_body(r, node->c);
		node = node->c;
	}
	return 0;
}

static int run_assign(struct run *r, const struct node *target, struct value v);

static int run_assign_each(struct run *r, const struct node *target, struct value v)
{
	const struct list *items;
	size_t n = 0;
	int failed = value_items(r, v, &items);

	for (const struct node *t = target->a; t; t = t->next)
		n++;
	if (!failed && items->n != n)
		return run_fail(r, "%zu values cannot be given to %zu names", items->n, n);
	n = 0;
	for (const struct node *t = target->a; t && !failed; t = t->next)
		failed = run_assign(r, t, items->items[n++]);
	return failed;
}

static int run_assign(struct run *r, const struct node *target, struct value v)
{
	struct value of;
	int failed;

	if (target->kind == NODE_NAME)
		return run_set(r, r->scope, target->name, v);
	if (target->kind == NODE_TUPLE)
		return run_assign_each(r, target, v);
	failed = eval(r, target->a, &of);
	if (failed)
		return failed;
	if (of.kind != VALUE_NAMESPACE)
		return run_fail(r, "only a namespace's members can be set, not those of an object of type %s", value_type(of));
	return dict_put(r, of.dict, value_str(target->name), v);
}

/* The items that pass the loop's condition. */
static int run_for_items(struct run *r, const struct node *node, const struct list *all, const struct list **items)
{
	struct scope *outer = r->scope;
	struct list *passed = list_new(r, 0);
	int failed = passed ? 0 : run_memory(r);

	*items = all;
	if (!node->c || failed)
		return failed;
	for (size_t i = 0; i < all->n && !failed; i++) {
		struct value pass;

		r->scope = run_scope(r, outer);
		failed = r->scope ? run_assign(r, node->a, all->items[i]) : run_memory(r);
		if (!failed)
			failed = eval(r, node->c, &pass);
		if (!failed && value_true(pass))
			failed = list_put(r, passed, all->items[i]);
	}
	r->scope = outer;
	*items = passed;
	return failed;
}

static int run_for_each(struct run *r, const struct node *node, struct loop *loop)
{
	struct scope *outer = r->scope;
	int failed = 0;

	for (; loop->at < loop->items->n && !failed && r->flow != FLOW_BREAK; loop->at++) {
		struct value object = {.kind = VALUE_LOOP, .loop = loop};

		r->flow = FLOW_ON;
		r->scope = run_scope(r, outer);
		failed = r->scope ? run_set(r, r->scope, str_of("loop"), object) : run_memory(r);
		if (!failed)
			failed = run_assign(r, node->a, loop->items->items[loop->at]);
		if (!failed)
			failed = run_body(r, node->d);
	}
	r->flow = FLOW_ON;
	r->scope = outer;
	return failed;
}

static int run_for(struct run *r, const struct node *node)
{
	struct value items;
	const struct list *all;
	struct loop *loop = heap_alloc(&r->heap, sizeof(*loop));
	int failed = loop ? eval(r, node->b, &items) : run_memory(r);

	if (!failed)
		failed = value_items(r, items, &all);
	if (!failed)
		failed = run_for_items(r, node, all, &loop->items);
	if (failed)
		return failed;
	if (!loop->items->n)
		return run_body(r, node->a->b);
	return run_for_each(r, node, loop);
}

static int run_set_node(struct run *r, const struct node *node)
{
	struct value v;
	int failed = eval(r, node->b, &v);

	return failed ? failed : run_assign(r, node->a, v);
}

/* A block's text through its filters. */
static int run_piped(struct run *r, const struct node *filters, const struct node *body, struct value *v)
{
	const struct value *outer = r->piped;
	struct scope *scope = run_scope(r, r->scope);
	struct value text;
	int failed = scope ? run_text(r, body, scope, &text) : run_memory(r);

	if (failed)
		return failed;
	*v = text;
	if (!filters)
		return 0;
	r->piped = &text;
	failed = eval(r, filters, v);
	r->piped = outer;
	return failed;
}

static int run_set_block(struct run *r, const struct node *node)
{
	struct value v;
	int failed = run_piped(r, node->c, node->b, &v);

	return failed ? failed : run_assign(r, node->a, v);
}

static int run_filter_block(struct run *r, const struct node *node)
{
	struct value v;
	struct str s;
	int failed = run_piped(r, node->a, node->b, &v);

	if (!failed)
		failed = value_string(r, v, &s);
	return failed ? failed : run_write(r, s);
}

static int run_callable(struct run *r, const struct node *macro, struct value *v)
{
	struct callable *callable = heap_alloc(&r->heap, sizeof(*callable));

	if (!callable)
		return run_memory(r);
	callable->macro = macro;
	callable->scope = r->scope;
	*v = (struct value){.kind = VALUE_CALLABLE, .callable = callable};
	return 0;
}

static int run_macro_node(struct run *r, const struct node *node)
{
	struct value v;
	int failed = run_callable(r, node, &v);

	return failed ? failed : run_set(r, r->scope, node->name, v);
}

static int run_parameter(struct run *r, const struct node *parameter, size_t place, const struct args *args)
{
	struct value v = value_undefined(parameter->name);
	int failed = 0, given = place < args->n;

	if (given)
		v = args->positional[place];
	for (size_t i = 0; !given && i < args->n_named; i++) {
		if (str_same(args->named[i].name, parameter->name)) {
			v = args->named[i].value;
			given = 1;
		}
	}
	if (!given && parameter->a)
		failed = eval(r, parameter->a, &v);
	return failed ? failed : run_set(r, r->scope, parameter->name, v);
}

int run_macro(struct run *r, const struct callable *macro, const struct args *args, struct value *out)
{
	struct scope *outer = r->scope, *scope = run_scope(r, macro->scope);
	size_t place = 0;
	int failed = scope ? 0 : run_memory(r);
	const struct value *caller = NULL;

	for (size_t i = 0; i < args->n_named; i++)
		if (str_is(args->named[i].name, "caller"))
			caller = &args->named[i].value;
	if (!failed && caller)
		failed = run_set(r, scope, str_of("caller"), *caller);
	r->scope = scope;
	for (const struct node *p = macro->macro->a; p && !failed; p = p->next)
		failed = run_parameter(r, p, place++, args);
	r->scope = outer;
	if (!failed && args->n > place)
		return run_fail(r, "the macro %.*s takes %zu arguments, not %zu", (int)macro->macro->name.n,
				macro->macro->name.s, place, args->n);
	return failed ? failed : run_text(r, macro->macro->b, scope, out);
}

static int run_call_block(struct run *r, const struct node *node)
{
	struct value caller, function, out;
	struct args args;
	struct str s;
	size_t room = 0;
	int failed = run_callable(r, node->a, &caller);

	if (!failed)
		failed = eval(r, node->c->a, &function);
	if (!failed)
		failed = eval_args(r, node->c, &args);
	if (failed)
		return failed;
	struct binding *named = NULL;

	if (heap_reserve(&r->heap, &named, &room, args.n_named + 1, sizeof(*named)))
		return run_memory(r);
	if (args.n_named)
		memcpy(named, args.named, args.n_named * sizeof(*named));
	named[args.n_named++] = (struct binding){str_of("caller"), caller};
	args.named = named;
	failed = eval_call(r, function, &args, &out);
	if (!failed)
		failed = value_string(r, out, &s);
	return failed ? failed : run_write(r, s);
}

static int run_with(struct run *r, const struct node *node)
{
	struct scope *outer = r->scope, *scope = run_scope(r, outer);
	int failed = scope ? 0 : run_memory(r);

	for (const struct node *name = node->a; name && !failed; name = name->next) {
		struct value v;

		failed = eval(r, name->b, &v); /* in the outer scope: the names do not see each other */
		if (!failed)
			failed = run_set(r, scope, name->name, v);
	}
	if (failed)
		return failed;
	r->scope = scope;
	failed = run_body(r, node->b);
	r->scope = outer;
	return failed;
}

static int run_block(struct run *r, const struct node *node)
{
	return run_body(r, node->b);
}

static int run_jump(struct run *r, const struct node *node)
{
	r->flow = node->kind == NODE_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
	return 0;
}

static int (*const run_kinds[NODE_KINDS])(struct run *r, const struct node *node) = {
	[NODE_DATA] = run_data,           [NODE_PRINT] = run_print,
	[NODE_IF] = run_if,               [NODE_FOR] = run_for,
	[NODE_SET] = run_set_node,        [NODE_SET_BLOCK] = run_set_block,
	[NODE_MACRO] = run_macro_node,    [NODE_CALL_BLOCK] = run_call_block,
	[NODE_FILTER_BLOCK] = run_filter_block, [NODE_WITH] = run_with,
	[NODE_BLOCK] = run_block,         [NODE_BREAK] = run_jump,
	[NODE_CONTINUE] = run_jump,
};

int run_body(struct run *r, const struct node *body)
{
	int failed = body ? run_enter(r) : 0;

	if (!body || failed)
		return failed;
	for (; body && !failed && r->flow == FLOW_ON; body = body->next) {
		r->line = body->line;
		failed = run_charge(r, 1);
		if (!failed)
			failed = run_kinds[body->kind](r, body);
	}
	run_leave(r);
	return failed;
}

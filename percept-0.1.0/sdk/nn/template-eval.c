/* template-eval.c - expressions to values. A kind of node is one row of eval_kinds. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <string.h>

static int eval_const(struct run *r, const struct node *node, struct value *out)
{
	*out = node->value;
	return 0;
}

static int eval_name(struct run *r, const struct node *node, struct value *out)
{
	for (const struct scope *s = r->scope; s; s = s->parent) {
		for (size_t i = s->n; i--;) {
			if (str_same(s->items[i].name, node->name)) {
				*out = s->items[i].value;
				return 0;
			}
		}
	}
	const struct builtin *b = builtin_find(global_functions, node->name);

	*out = value_undefined(node->name);
	if (!b)
		return 0;
	struct callable *callable = heap_alloc(&r->heap, sizeof(*callable));

	if (!callable)
		return run_memory(r);
	callable->builtin = b;
	*out = (struct value){.kind = VALUE_CALLABLE, .callable = callable};
	return 0;
}

static int eval_list(struct run *r, const struct node *node, struct value *out)
{
	struct list *list = list_new(r, 0);
	int failed = list ? 0 : run_memory(r);

	for (const struct node *item = node->a; item && !failed; item = item->next) {
		struct value v;

		failed = eval(r, item, &v);
		if (!failed)
			failed = list_put(r, list, v);
	}
	if (failed)
		return failed;
	list->tuple = node->kind == NODE_TUPLE;
	*out = value_list(list);
	return 0;
}

static int eval_dict(struct run *r, const struct node *node, struct value *out)
{
	struct dict *dict = dict_new(r);
	int failed = dict ? 0 : run_memory(r);

	for (const struct node *key = node->a; key && !failed; key = key->next->next) {
		struct value k, v;

		failed = eval(r, key, &k);
		if (!failed)
			failed = eval(r, key->next, &v);
		if (!failed && (k.kind == VALUE_LIST || k.kind == VALUE_DICT))
			failed = run_fail(r, "an object of type %s cannot be a key", value_type(k));
		if (!failed)
			failed = dict_put(r, dict, k, v);
	}
	*out = (struct value){.kind = VALUE_DICT, .dict = dict};
	return failed;
}

static int eval_bound(struct run *r, const struct builtin *b, struct value self, struct value *out)
{
	struct callable *callable = heap_alloc(&r->heap, sizeof(*callable));

	if (!callable)
		return run_memory(r);
	callable->builtin = b;
	callable->self = self;
	*out = (struct value){.kind = VALUE_CALLABLE, .callable = callable};
	return 0;
}

static int loop_cycle(struct run *r, struct value self, const struct args *args, struct value *out)
{
	if (!args->n)
		return run_fail(r, "loop.cycle needs arguments");
	*out = args->positional[self.loop->at % args->n];
	return 0;
}

static int loop_changed(struct run *r, struct value self, const struct args *args, struct value *out)
{
	struct list *now = list_new(r, args->n);
	int same = 0, failed = now ? 0 : run_memory(r);

	for (size_t i = 0; i < args->n && !failed; i++)
		failed = list_put(r, now, args->positional[i]);
	if (!failed)
		failed = value_same(r, value_list(now), self.loop->changed, &same);
	if (failed)
		return failed;
	self.loop->changed = value_list(now);
	*out = value_bool(!same);
	return 0;
}

static const struct builtin loop_methods[] = {{"cycle", loop_cycle, 1, 1000}, {"changed", loop_changed, 0, 1000}, {0}};

/* loop.index and the like. */
static int eval_loop_member(struct run *r, const struct loop *loop, struct str name, struct value *out)
{
	size_t n = loop->items->n, at = loop->at;
	const struct {
		const char *name;
		int64_t value;
	} counts[] = {
		{"index", (int64_t)at + 1}, {"index0", (int64_t)at},    {"revindex", (int64_t)(n - at)},
		{"length", (int64_t)n},     {"depth", 1},               {"revindex0", (int64_t)(n - at) - 1},
		{"depth0", 0}, /* only recursive loops are deeper */
	};
	const struct builtin *method = builtin_find(loop_methods, name);

	if (method)
		return eval_bound(r, method, *out, out);
	*out = value_undefined(name);
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		if (str_is(name, counts[i].name))
			*out = value_int(counts[i].value);
	if (str_is(name, "first"))
		*out = value_bool(!at);
	else if (str_is(name, "last"))
		*out = value_bool(at + 1 == n);
	else if (str_is(name, "previtem") && at)
		*out = loop->items->items[at - 1];
	else if (str_is(name, "nextitem") && at + 1 < n)
		*out = loop->items->items[at + 1];
	return 0;
}

/* A method of that name wins over a dict's member, as in Jinja. */
int eval_attribute(struct run *r, struct value of, struct str name, struct value *out)
{
	const struct builtin *method = NULL;
	struct value *found = NULL;

	if (of.kind == VALUE_UNDEFINED)
		return run_fail(r, "'%.*s' is undefined, so it has no '%.*s'", (int)of.s.n, of.s.s, (int)name.n, name.s);
	if (of.kind == VALUE_LOOP) {
		*out = of;
		return eval_loop_member(r, of.loop, name, out);
	}
	if (of.kind == VALUE_STRING)
		method = builtin_find(string_methods, name);
	else if (of.kind == VALUE_DICT)
		method = builtin_find(dict_methods, name);
	else if (of.kind == VALUE_LIST)
		method = builtin_find(list_methods, name);
	if (method)
		return eval_bound(r, method, of, out);
	if (of.kind == VALUE_DICT || of.kind == VALUE_NAMESPACE)
		found = dict_find(of.dict, name);
	*out = found ? *found : value_undefined(name);
	return of.kind == VALUE_DICT ? run_charge(r, 1 + of.dict->n / 8) : 0;
}

/* A place from the end is below 0. */
static int eval_place(struct value of, int64_t at, size_t n, size_t *place)
{
	if (at < 0)
		at += (int64_t)n;
	*place = (size_t)at;
	return at >= 0 && (size_t)at < n;
}

int eval_item(struct run *r, struct value of, struct value key, struct value *out)
{
	size_t n = 0, place;
	int failed = 0, same = 0;

	if (of.kind == VALUE_UNDEFINED)
		return run_fail(r, "'%.*s' is undefined, so it has no members", (int)of.s.n, of.s.s);
	*out = value_undefined(key.kind == VALUE_STRING ? key.s : str_of("that member"));
	if (of.kind == VALUE_DICT) {
		for (size_t i = 0; i < of.dict->n && !failed; i++) {
			failed = value_same(r, of.dict->entries[i].key, key, &same);
			if (!failed && same) {
				*out = of.dict->entries[i].value;
				return 0;
			}
		}
	} else if ((of.kind == VALUE_LIST || of.kind == VALUE_STRING) &&
		   (key.kind == VALUE_INT || key.kind == VALUE_BOOL)) {
		failed = value_length(r, of, &n);
		if (failed || !eval_place(of, key.i, n, &place))
			return failed;
		if (of.kind == VALUE_LIST) {
			*out = of.list->items[place];
			return 0;
		}
		size_t at = str_offset(of.s, place), end = at + utf8_length((unsigned char)of.s.s[at]);

		*out = value_str((struct str){of.s.s + at, (end > of.s.n ? of.s.n : end) - at});
		return 0;
	}
	return failed || key.kind != VALUE_STRING ? failed : eval_attribute(r, of, key.s, out);
}

static int eval_attribute_node(struct run *r, const struct node *node, struct value *out)
{
	struct value of;
	int failed = eval(r, node->a, &of);

	return failed ? failed : eval_attribute(r, of, node->name, out);
}

static int eval_item_node(struct run *r, const struct node *node, struct value *out)
{
	struct value of, key;
	int failed = eval(r, node->a, &of);

	if (!failed)
		failed = eval(r, node->b, &key);
	return failed ? failed : eval_item(r, of, key, out);
}

static int eval_slice_node(struct run *r, const struct node *node, struct value *out)
{
	const struct node *nodes[3] = {node->b, node->c, node->d};
	struct value of, bounds[3];
	int failed = eval(r, node->a, &of);

	for (int i = 0; i < 3 && !failed; i++) {
		bounds[i] = value_none();
		if (nodes[i])
			failed = eval(r, nodes[i], &bounds[i]);
	}
	return failed ? failed : eval_slice(r, of, bounds, out);
}

int eval_args(struct run *r, const struct node *call, struct args *args)
{
	size_t n = 0, positional_room = 0, named_room = 0;

	*args = (struct args){0};
	for (const struct node *a = call->b; a; a = a->next)
		n++;
	if (n && (heap_reserve(&r->heap, &args->positional, &positional_room, n, sizeof(*args->positional)) ||
		  heap_reserve(&r->heap, &args->named, &named_room, n, sizeof(*args->named))))
		return run_memory(r);
	for (const struct node *a = call->b; a; a = a->next) {
		struct value v;
		int failed = eval(r, a->a, &v);

		if (failed)
			return failed;
		if (a->name.s)
			args->named[args->n_named++] = (struct binding){a->name, v};
		else
			args->positional[args->n++] = v;
	}
	return 0;
}

int eval_builtin(struct run *r, const struct builtin *b, struct value self, const struct args *args, struct value *out)
{
	if (args->n + args->n_named < b->least || args->n + args->n_named > b->most)
		return run_fail(r, "%s takes %u to %u arguments, not %zu", b->name, b->least, b->most,
				args->n + args->n_named);
	return b->call(r, self, args, out);
}

int eval_call(struct run *r, struct value function, const struct args *args, struct value *out)
{
	int failed;

	if (function.kind == VALUE_UNDEFINED)
		return run_fail(r, "'%.*s' is undefined and cannot be called", (int)function.s.n, function.s.s);
	if (function.kind != VALUE_CALLABLE)
		return run_fail(r, "an object of type %s cannot be called", value_type(function));
	failed = run_enter(r);
	if (failed)
		return failed;
	if (function.callable->builtin)
		failed = eval_builtin(r, function.callable->builtin, function.callable->self, args, out);
	else
		failed = run_macro(r, function.callable, args, out);
	run_leave(r);
	return failed;
}

static int eval_call_node(struct run *r, const struct node *node, struct value *out)
{
	struct value function;
	struct args args;
	int failed = eval(r, node->a, &function);

	if (!failed)
		failed = eval_args(r, node, &args);
	return failed ? failed : eval_call(r, function, &args, out);
}

static int eval_filter(struct run *r, const struct node *node, struct value *out)
{
	struct value input;
	struct args args;
	int failed = 0;

	if (node->a)
		failed = eval(r, node->a, &input);
	else
		input = *r->piped;
	if (!failed)
		failed = eval_args(r, node, &args);
	return failed ? failed : eval_builtin(r, node->builtin, input, &args, out);
}

static int eval_test(struct run *r, const struct node *node, struct value *out)
{
	int failed = eval_filter(r, node, out);

	if (!failed && node->negated)
		*out = value_bool(!value_true(*out));
	return failed;
}

static int eval_not(struct run *r, const struct node *node, struct value *out)
{
	int failed = eval(r, node->a, out);

	if (!failed)
		*out = value_bool(!value_true(*out));
	return failed;
}

static int eval_and(struct run *r, const struct node *node, struct value *out)
{
	int failed = eval(r, node->a, out);

	return failed || !value_true(*out) ? failed : eval(r, node->b, out);
}

static int eval_or(struct run *r, const struct node *node, struct value *out)
{
	int failed = eval(r, node->a, out);

	return failed || value_true(*out) ? failed : eval(r, node->b, out);
}

static int eval_if_else(struct run *r, const struct node *node, struct value *out)
{
	struct value condition;
	int failed = eval(r, node->b, &condition);

	if (failed)
		return failed;
	if (value_true(condition))
		return eval(r, node->a, out);
	*out = value_undefined(str_of("the value without else"));
	return node->c ? eval(r, node->c, out) : 0;
}

static int eval_compare_node(struct run *r, const struct node *node, struct value *out)
{
	struct value left, right;
	int failed = eval(r, node->a, &left), result = 1;

	for (const struct node *side = node->b; side && result && !failed; side = side->next) {
		failed = eval(r, side->a, &right);
		if (!failed)
			failed = eval_compare(r, side->op, left, right, &result);
		left = right;
	}
	*out = value_bool(result);
	return failed;
}

static int eval_binary_node(struct run *r, const struct node *node, struct value *out)
{
	struct value a, b;
	int failed = eval(r, node->a, &a);

	if (!failed)
		failed = eval(r, node->b, &b);
	return failed ? failed : eval_binary(r, node->op, a, b, out);
}

static int eval_sign(struct run *r, const struct node *node, struct value *out)
{
	struct value v;
	int failed = eval(r, node->a, &v);

	if (failed)
		return failed;
	if (v.kind == VALUE_FLOAT)
		*out = value_float(node->kind == NODE_MINUS ? -v.d : v.d);
	else if ((v.kind == VALUE_INT || v.kind == VALUE_BOOL) && v.i != INT64_MIN)
		*out = value_int(node->kind == NODE_MINUS ? -v.i : v.i);
	else
		return run_fail(r, "an object of type %s cannot have a sign", value_type(v));
	return 0;
}

static int (*const eval_kinds[NODE_KINDS])(struct run *r, const struct node *node, struct value *out) = {
	[NODE_CONST] = eval_const,       [NODE_NAME] = eval_name,
	[NODE_LIST] = eval_list,         [NODE_TUPLE] = eval_list,
	[NODE_DICT] = eval_dict,         [NODE_ATTRIBUTE] = eval_attribute_node,
	[NODE_ITEM] = eval_item_node,    [NODE_SLICE] = eval_slice_node,
	[NODE_CALL] = eval_call_node,    [NODE_FILTER] = eval_filter,
	[NODE_TEST] = eval_test,         [NODE_NOT] = eval_not,
	[NODE_AND] = eval_and,           [NODE_OR] = eval_or,
	[NODE_IF_ELSE] = eval_if_else,   [NODE_COMPARE] = eval_compare_node,
	[NODE_BINARY] = eval_binary_node, [NODE_MINUS] = eval_sign,
	[NODE_PLUS] = eval_sign,
};

int eval(struct run *r, const struct node *node, struct value *out)
{
	int failed;

	r->line = node->line;
	if ((failed = run_charge(r, 1)) || (failed = run_enter(r)))
		return failed;
	failed = eval_kinds[node->kind](r, node, out);
	run_leave(r);
	return failed;
}

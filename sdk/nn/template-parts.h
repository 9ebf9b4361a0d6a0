/* template-parts.h - what a chat template is made of: text to tokens, tokens to nodes, nodes run over values.
 *
 * Everything that a template or a rendering makes lies in one heap and is freed with it. Values are immutable but for
 * namespaces. Failures travel as negative errnos; their text is made where they happen.
 */
#ifndef NN_TEMPLATE_PARTS_H
#define NN_TEMPLATE_PARTS_H

#include "sdk/nn/template.h"
#include "sdk/nn/text.h"

/* heap: memory that is freed all at once. */
struct heap {
	struct heap_block *blocks;
	size_t left, held, limit;
};
void *heap_alloc(struct heap *heap, size_t bytes); /* zeroed, aligned to 16; NULL: memory or the limit is out */
/* *array of *room items grows to hold `need`; what it held before stays in the heap. */
int heap_reserve(struct heap *heap, void *array, size_t *room, size_t need, size_t size);
void heap_free(struct heap *heap);

/* str: bytes that another owns; UTF-8 where the template and its variables are. */
struct str {
	const char *s;
	size_t n;
};
struct str str_of(const char *s);
int str_is(struct str a, const char *b);
int str_same(struct str a, struct str b);
int str_keep(struct heap *heap, struct str s, struct str *kept);

/* lexer */
enum token_kind { TOKEN_DATA, TOKEN_BLOCK, TOKEN_BLOCK_END, TOKEN_PRINT, TOKEN_PRINT_END, TOKEN_NAME, TOKEN_STRING,
		  TOKEN_INT, TOKEN_FLOAT, TOKEN_OP, TOKEN_END };
struct token {
	enum token_kind kind;
	uint32_t line;
	struct str text;
};
/* All tokens of a source, the last one TOKEN_END, in `heap`. */
int lexer_run(struct heap *heap, struct str source, struct token **tokens, struct nn_error *error);

/* values */
enum value_kind { VALUE_UNDEFINED, VALUE_NONE, VALUE_BOOL, VALUE_INT, VALUE_FLOAT, VALUE_STRING, VALUE_LIST, VALUE_DICT,
		  VALUE_NAMESPACE, VALUE_LOOP, VALUE_CALLABLE };
struct value {
	enum value_kind kind;
	union {
		int64_t i;             /* also of VALUE_BOOL */
		double d;
		struct str s;          /* of VALUE_UNDEFINED: what is undefined */
		struct list *list;
		struct dict *dict;     /* also of VALUE_NAMESPACE */
		struct loop *loop;
		struct callable *callable;
	};
};
struct list {
	struct value *items;
	size_t n, room;
	int tuple;
};
struct dict {
	struct entry {
		struct value key, value;
	} *entries;
	size_t n, room;
};
struct loop {
	const struct list *items;
	size_t at;
	struct value changed; /* what loop.changed() saw last */
};

/* nodes */
enum node_kind {
	/* expressions */
	NODE_CONST, NODE_NAME, NODE_LIST, NODE_TUPLE, NODE_DICT, NODE_ATTRIBUTE, NODE_ITEM, NODE_SLICE, NODE_CALL,
	NODE_FILTER, NODE_TEST, NODE_NOT, NODE_AND, NODE_OR, NODE_IF_ELSE, NODE_COMPARE, NODE_BINARY, NODE_MINUS, NODE_PLUS,
	/* statements */
	NODE_DATA, NODE_PRINT, NODE_IF, NODE_FOR, NODE_SET, NODE_SET_BLOCK, NODE_MACRO, NODE_CALL_BLOCK, NODE_FILTER_BLOCK,
	NODE_WITH, NODE_BLOCK, NODE_BREAK, NODE_CONTINUE,
	NODE_KINDS
};
enum operator { OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_FLOOR, OP_MOD, OP_POW, OP_CONCAT, OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE,
		OP_IN, OP_NOT_IN };
/* Uses of a, b, c, d by kind stand above the functions that run them. `next`: in a list of nodes. */
struct node {
	enum node_kind kind;
	enum operator op;
	uint32_t line;
	int negated;
	struct node *a, *b, *c, *d, *next;
	struct str name;
	struct value value;
	const struct builtin *builtin; /* of a filter or test */
};
int parser_run(struct heap *heap, const struct token *tokens, uint32_t depth, struct node **body, struct nn_error *error);

struct parser {
	struct heap *heap;
	const struct token *at;
	uint32_t depth, limit, loops;
	struct nn_error *error;
	int failed; /* once set, nothing more is read: every function returns NULL */
};
struct node *parse_expression(struct parser *p);            /* with "x if y else z" */
struct node *parse_expression_plain(struct parser *p);      /* without */
struct node *parse_tuple(struct parser *p, int conditional); /* a, b, c */
struct node *parse_primary(struct parser *p);
struct node *parse_postfix(struct parser *p, struct node *node); /* members, items and calls behind `node` */
struct node *parse_call(struct parser *p, struct node *of);
struct node *parse_call_arguments(struct parser *p, struct node *call);
struct node *parse_filters(struct parser *p, struct node *node, int block);
struct node *parser_node(struct parser *p, enum node_kind kind);
void *parser_fail(struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
int parser_is(const struct parser *p, const char *op);
int parser_is_name(const struct parser *p, const char *name);
int parser_take(struct parser *p, const char *op);       /* true if it was there */
int parser_take_name(struct parser *p, const char *name);
void parser_expect(struct parser *p, const char *op);
int parser_enter(struct parser *p);                      /* false, and failed, when too deep */
void parser_leave(struct parser *p);

/* running */
struct scope {
	struct scope *parent;
	struct binding {
		struct str name;
		struct value value;
	} *items;
	size_t n, room;
};
struct run {
	struct heap heap;
	struct nn_template_limits limits;
	uint64_t steps, checked, deadline_ms;
	uint32_t depth, line;
	struct scope *scope;
	struct text *out;     /* what is being written: the result, or a macro's text */
	struct nn_error *error;
	enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;
	const struct value *piped; /* what a block's filters are given */
};
struct args {
	struct value *positional;
	size_t n;
	struct binding *named;
	size_t n_named;
};
/* A filter, test, method or function: *out from `self` (a filter's input, a method's object) and arguments. */
struct builtin {
	const char *name;
	int (*call)(struct run *r, struct value self, const struct args *args, struct value *out);
	uint32_t least, most;            /* arguments, the named ones counted */
};
struct callable {
	const struct builtin *builtin;   /* NULL: a macro */
	struct value self;
	const struct node *macro;
	struct scope *scope;             /* where the macro was defined */
	struct value caller;             /* of a call block's body */
};
extern const struct builtin filter_table[], test_table[], string_methods[], dict_methods[], list_methods[], global_functions[];
const struct builtin *builtin_find(const struct builtin *table, struct str name);

/* -EINVAL, with the line; keeps a text that is already there. */
int run_fail(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
int run_charge(struct run *r, uint64_t steps); /* work done: -E2BIG once a limit is passed */
int run_enter(struct run *r);
void run_leave(struct run *r);
int run_memory(struct run *r);                 /* -E2BIG or -ENOMEM, for when the heap gave nothing */
int run_write(struct run *r, struct str s);
int run_body(struct run *r, const struct node *body);
int run_set(struct run *r, struct scope *scope, struct str name, struct value value);
struct scope *run_scope(struct run *r, struct scope *parent);
int run_text(struct run *r, const struct node *body, struct scope *scope, struct value *text); /* a body's output */
int eval(struct run *r, const struct node *node, struct value *out);
int eval_call(struct run *r, struct value function, const struct args *args, struct value *out);
int eval_args(struct run *r, const struct node *call, struct args *args);
int eval_builtin(struct run *r, const struct builtin *b, struct value self, const struct args *args, struct value *out);
int eval_attribute(struct run *r, struct value of, struct str name, struct value *out);
int eval_item(struct run *r, struct value of, struct value key, struct value *out);
int eval_compare(struct run *r, enum operator op, struct value a, struct value b, int *result);
int eval_binary(struct run *r, enum operator op, struct value a, struct value b, struct value *out);
int eval_slice(struct run *r, struct value of, const struct value bounds[3], struct value *out);
int eval_format(struct run *r, struct str format, struct value with, struct value *out); /* "%s" % with */
int run_macro(struct run *r, const struct callable *macro, const struct args *args, struct value *out);

struct value value_none(void);
struct value value_bool(int b);
struct value value_int(int64_t i);
struct value value_float(double d);
struct value value_str(struct str s);
struct value value_undefined(struct str what);
struct value value_list(struct list *list);
int value_true(struct value v);
const char *value_type(struct value v);         /* as Python names it */
int value_number(struct value v, double *d);    /* false if it is none; a bool is one */
int value_same(struct run *r, struct value a, struct value b, int *same);
int value_string(struct run *r, struct value v, struct str *s);  /* Python's str() */
int value_repr(struct run *r, struct value v, struct text *out); /* Python's repr() */
int value_json(struct run *r, struct value v, const struct args *args, struct value *out);
int value_put_float(struct text *out, double d);
int value_from_json(struct run *r, const cJSON *json, struct value *v);
int value_items(struct run *r, struct value v, const struct list **items); /* what iterating gives; fails if it cannot */
int value_length(struct run *r, struct value v, size_t *n);
int value_keep(struct run *r, struct text *text, struct value *v); /* a string value of the bytes; frees `text` */
struct list *list_new(struct run *r, size_t room);
int list_put(struct run *r, struct list *list, struct value v);
struct dict *dict_new(struct run *r);
int dict_put(struct run *r, struct dict *dict, struct value key, struct value v);
struct value *dict_find(const struct dict *dict, struct str key);
/* Arguments: by place or name; NULL: not given. */
const struct value *args_get(const struct args *args, size_t place, const char *name);
struct value args_first(const struct args *args); /* the only argument of a builtin that has one, whatever name it was given by */
int args_int(struct run *r, const struct args *args, size_t place, const char *name, int64_t fallback, int64_t *i);
int args_str(struct run *r, const struct args *args, size_t place, const char *name, struct str fallback, struct str *s);

/* The format that a model's own code has: by its type and config.json's "template_version"; by config.json's text. malloc'ed; NULL:
 * models of that type have none. */
char *template_own(const char *type, const char *version);
char *template_own_of(const char *json, size_t n);

/* Unicode */
int char_is_space(uint32_t c);
size_t str_chars(struct str s);
size_t str_offset(struct str s, size_t chars); /* of a character, in bytes */
struct str str_strip(struct str s, const struct str *set, int left, int right);
int str_case(struct run *r, struct str s, int how, struct value *out); /* 'u'pper, 'l'ower, 'c'apitalize, 't'itle, 's'wap */
int str_replace(struct run *r, struct str s, struct str from, struct str to, int64_t most, struct value *out);
const char *str_find(struct str s, struct str what);

#endif

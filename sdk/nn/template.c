/* template.c - chat templates: a Jinja subset, under limits. */
#include "sdk/nn/gguf.h"
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TEMPLATE_LARGEST = 1 << 20, TEMPLATE_MEMORY = 64 << 20, TEMPLATE_FILE_LIMIT = 16 << 20, TEMPLATE_NESTING = 128 };

const struct nn_template_limits nn_template_default_limits = {
	.steps = 20 * 1000 * 1000,
	.depth = 400,
	.output = 64 << 20,
	.time_ms = 5000,
};

struct nn_template {
	struct heap heap;
	struct node *body;
};

struct nn_template *nn_template_new(const char *source, struct nn_error *error)
{
	struct nn_template *t = calloc(1, sizeof(*t));
	struct token *tokens;
	struct str text = str_of(source);
	int failed = t ? 0 : nn_fail(error, -ENOMEM, "There is not enough memory for the chat template.");

	if (t)
		t->heap.limit = TEMPLATE_MEMORY;
	if (!failed && text.n > TEMPLATE_LARGEST)
		failed = nn_fail(error, -E2BIG, "The chat template is larger than %d KiB.", TEMPLATE_LARGEST >> 10);
	if (!failed && !utf8_valid(text.s, text.n))
		failed = nn_fail(error, -EINVAL, "The chat template is not UTF-8.");
	if (!failed)
		failed = lexer_run(&t->heap, text, &tokens, error);
	if (!failed)
		failed = parser_run(&t->heap, tokens, TEMPLATE_NESTING, &t->body, error);
	if (!failed)
		return t;
	nn_template_free(t);
	return NULL;
}

void nn_template_free(struct nn_template *t)
{
	if (!t)
		return;
	heap_free(&t->heap);
	free(t);
}

/* Each member of `variables`, and None for those that the reference always passes. */
static int template_globals(struct run *r, const cJSON *variables)
{
	static const char *const always[] = {"tools", "documents"};
	const cJSON *member;
	int failed = 0;

	for (size_t i = 0; i < sizeof(always) / sizeof(*always) && !failed; i++)
		failed = run_set(r, r->scope, str_of(always[i]), value_none());
	cJSON_ArrayForEach(member, variables)
	{
		struct value v;

		if (failed)
			break;
		failed = value_from_json(r, member, &v);
		if (!failed && member->string)
			failed = run_set(r, r->scope, str_of(member->string), v);
	}
	return failed;
}

int nn_template_render(const struct nn_template *t, const cJSON *variables, const struct nn_template_limits *limits,
		       char **text, struct nn_error *error)
{
	struct text out = {0};
	struct nn_error own = {0};
	struct run r = {.limits = limits ? *limits : nn_template_default_limits, .out = &out, .error = &own, .line = 1};
	int failed;

	/* Values take a multiple of the text that they come to. */
	if (__builtin_mul_overflow(r.limits.output, 4, &r.heap.limit) ||
	    __builtin_add_overflow(r.heap.limit, (size_t)TEMPLATE_MEMORY, &r.heap.limit))
		r.heap.limit = 0;
	r.scope = run_scope(&r, NULL);
	failed = r.scope ? template_globals(&r, variables) : run_memory(&r);
	if (!failed)
		failed = run_body(&r, t->body);
	if (!failed)
		failed = text_put(&out, "", 0);
	heap_free(&r.heap);
	if (!failed) {
		*text = out.data;
		return 0;
	}
	text_free(&out);
	if (own.code)
		return nn_fail(error, own.code, "%s", own.text);
	return nn_fail(error, failed, "There is not enough memory for the chat template.");
}

/* The text of "chat_template" in a JSON file: a text, or a list of named ones of which "default" is meant. */
static char *template_member(const char *json, size_t n)
{
	cJSON *root = cJSON_ParseWithLength(json, n);
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(root, "chat_template"), *found = NULL, *item;
	char *copy = NULL;

	if (cJSON_IsString(member))
		found = member;
	cJSON_ArrayForEach(item, member)
	{
		const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "name");

		if (cJSON_IsString(name) && !strcmp(name->valuestring, "default"))
			found = cJSON_GetObjectItemCaseSensitive(item, "template");
	}
	if (cJSON_IsString(found))
		copy = strdup(found->valuestring);
	cJSON_Delete(root);
	return copy;
}

/* A text of a GGUF file, malloc'ed; NULL: there is none. */
static char *template_value(const struct nn_gguf *g, const char *key)
{
	const struct nn_gguf_value *v = nn_gguf_value(g, key);

	if (!v || v->is_array || v->type != NN_GGUF_STRING)
		return NULL;
	const unsigned char *at = v->data;
	const struct nn_gguf_text text = nn_gguf_next_text(&at);

	return text.n <= TEMPLATE_FILE_LIMIT && utf8_valid(text.bytes, text.n) ? strndup(text.bytes, text.n) : NULL;
}

static char *template_of_gguf(const char *path)
{
	struct nn_gguf_file file;

	if (nn_gguf_open(&file, path, NULL))
		return NULL;
	char *found = template_value(&file.g, "tokenizer.chat_template"), *type = template_value(&file.g, "general.architecture");

	if (!found && type)
		found = template_own(type, "");
	free(type);
	nn_gguf_close(&file);
	return found;
}

char *nn_template_find(const char *directory)
{
	/* Where a model has a format of its own, the tokenizer's file has another's, whose tokenizer it took over. */
	static const struct {
		const char *file;
		char *(*find)(const char *json, size_t n);
	} files[] = {{"chat_template.json", template_member}, {"config.json", template_own_of}, {"tokenizer_config.json", template_member}};
	struct text text;
	char *found = NULL;

	if (nn_gguf_is_path(directory))
		return template_of_gguf(directory);
	if (!text_read(&text, directory, "chat_template.jinja", TEMPLATE_FILE_LIMIT, NULL))
		return text.data;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files) && !found; i++) {
		if (text_read(&text, directory, files[i].file, TEMPLATE_FILE_LIMIT, NULL))
			continue;
		found = files[i].find(text.data, text.n);
		text_free(&text);
	}
	return found;
}

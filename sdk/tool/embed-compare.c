/* embed-compare.c - how alike pictures and texts are: the cosines of their vectors, as a table. */
#include "sdk/tool/embed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/tool/sampling.h"

struct compare_item {
	const char *name; /* as on the command line */
	int is_text;
	float *vector;    /* of length 1 */
	size_t n;
};

struct compare {
	struct tool *tool;
	struct compare_item *items;
	size_t n, texts;
};

static int compare_add(struct compare *c, struct media_source *s, const struct tool_item *item)
{
	if (item->letter)
		return media_add(s, embed_kind(item->letter), item->text);
	return strcmp(item->text, "-") == 0 ? media_add_stdin(s) : media_add_text(s, item->text);
}

/* What standard input was taken for is told by the input itself. */
static int compare_is_text(const struct percept_input *input)
{
	char *json = percept_input_json(input);
	int text = json && strstr(json, "\"input_text\"") != NULL;
	free(json);
	return text;
}

/* The tail as floats, brought to length 1. */
static int compare_take(struct compare *c, struct compare_item *item, const struct percept_answer *answer)
{
	double length = 0;
	item->n = answer->tail_bytes / sizeof(float);
	item->vector = malloc(item->n ? answer->tail_bytes : 1);
	if (!item->vector)
		return tool_no_memory(c->tool);
	if (item->n == 0 || item->n != c->items[0].n)
		return tool_say(c->tool, TOOL_FAILED, "The vectors of %s and %s have %zu and %zu numbers: they cannot be compared.",
				c->items[0].name, item->name, c->items[0].n, item->n);
	memcpy(item->vector, answer->tail, item->n * sizeof(float));
	for (size_t i = 0; i < item->n; i++)
		length += (double)item->vector[i] * item->vector[i];
	for (size_t i = 0; i < item->n && length > 0; i++)
		item->vector[i] = (float)(item->vector[i] / sqrt(length));
	return 0;
}

static int compare_embed(struct compare *c, struct percept_connection *connection, struct percept_input *input,
			 struct compare_item *item)
{
	struct percept_error error = {0};
	struct percept_answer answer;
	int r = tool_set_text(c->tool, input, "space", "encoder");
	if (r == 0 && percept_input_set(input, "pooled", "true", NULL) < 0)
		r = tool_no_memory(c->tool);
	if (r == 0 && c->tool->assistant)
		r = tool_set_text(c->tool, input, "assistant", c->tool->assistant);
	if (r)
		return r;
	if (percept_call_input(connection, "embedding.create", input, NULL, &answer, &error) < 0)
		return tool_fail(c->tool, &error);
	r = compare_take(c, item, &answer);
	percept_answer_clear(&answer);
	return r;
}

/* One request an item. */
static int compare_fill(struct compare *c, struct percept_connection *connection, const struct tool_items *words)
{
	struct media_source s = {.tool = c->tool};
	int r = 0;
	for (size_t i = 0; i < words->n && r == 0; i++) {
		struct compare_item *item = &c->items[c->n++];
		item->name = words->list[i].text;
		s.input = percept_input_new();
		if (!s.input)
			return tool_no_memory(c->tool);
		r = compare_add(c, &s, &words->list[i]);
		if (r == 0 && percept_input_count(s.input) == 0)
			r = tool_say(c->tool, TOOL_USAGE, "There is nothing on standard input to compare.");
		item->is_text = compare_is_text(s.input);
		c->texts += (size_t)item->is_text;
		if (r == 0)
			r = compare_embed(c, connection, s.input, item);
		percept_input_free(s.input);
	}
	return r;
}

static double compare_cosine(const struct compare_item *a, const struct compare_item *b)
{
	double sum = 0;
	for (size_t i = 0; i < a->n; i++)
		sum += (double)a->vector[i] * b->vector[i];
	return sum;
}

static int compare_print_json(const struct compare *c)
{
	cJSON *result = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(result, "items"), *rows = cJSON_AddArrayToObject(result, "similarity");
	for (size_t i = 0; i < c->n; i++) {
		cJSON *item = cJSON_CreateObject(), *row = cJSON_CreateArray();
		cJSON_AddStringToObject(item, "type", c->items[i].is_text ? "text" : "media");
		cJSON_AddStringToObject(item, "name", c->items[i].name);
		cJSON_AddItemToArray(items, item);
		for (size_t k = 0; k < c->n; k++)
			cJSON_AddItemToArray(row, cJSON_CreateNumber(compare_cosine(&c->items[i], &c->items[k])));
		cJSON_AddItemToArray(rows, row);
	}
	char *text = cJSON_PrintUnformatted(result);
	cJSON_Delete(result);
	if (!text)
		return tool_no_memory(c->tool);
	puts(text);
	free(text);
	return TOOL_DONE;
}

/* Columns: the pictures, or the texts where there are no pictures. Rows: the texts, then, if there are several, the pictures. */
static int compare_print(const struct compare *c)
{
	const size_t media = c->n - c->texts;
	struct tool_table table;
	table_init(&table, "");
	for (size_t k = 0; k < c->n; k++)
		if (!c->items[k].is_text || media == 0) {
			table_cell(&table, "%s", c->items[k].name);
			table.columns++;
		}
	for (int text = 1; text >= 0; text--)
		for (size_t i = 0; i < c->n; i++) {
			if (c->items[i].is_text != text || (!text && media < 2))
				continue;
			table_cell(&table, "%s", c->items[i].name);
			for (size_t k = 0; k < c->n; k++)
				if (!c->items[k].is_text || media == 0)
					table_cell(&table, "%.4f", compare_cosine(&c->items[i], &c->items[k]));
		}
	return table_print(&table);
}

int embed_compare(struct tool *tool, const struct tool_items *words)
{
	struct compare c = {.tool = tool};
	struct percept_connection *connection;
	if (words->n < 2)
		return tool_say(tool, TOOL_USAGE, "Two things at least are compared: give pictures (-i FILE) and texts.");
	c.items = calloc(words->n, sizeof *c.items);
	if (!c.items)
		return tool_no_memory(tool);
	int r = tool_connect(tool, &connection);
	if (r == 0) {
		r = compare_fill(&c, connection, words);
		percept_close(connection);
	}
	if (r == 0)
		r = tool->json ? compare_print_json(&c) : compare_print(&c);
	for (size_t i = 0; i < c.n; i++)
		free(c.items[i].vector);
	free(c.items);
	return r;
}

/* table.c - aligned columns, and results read with care. */
#include "config.h"
#include "sdk/tool/tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Control bytes of what a daemon says do not reach the terminal. */
static void table_clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 32 || *text == 127)
			*text = ' ';
}

void table_cell(struct tool_table *t, const char *format, ...)
{
	char *text = NULL;
	va_list list;
	char **grown = realloc(t->cells, (t->rows + 1) * sizeof *grown);
	if (grown)
		t->cells = grown;
	va_start(list, format);
	if (!grown || vasprintf(&text, format, list) < 0)
		t->failed = 1;
	else {
		table_clean(text);
		t->cells[t->rows++] = text;
	}
	va_end(list);
}

void table_init(struct tool_table *t, const char *headings)
{
	*t = (struct tool_table){0};
	while (headings) {
		const char *end = strchr(headings, '|');
		table_cell(t, "%.*s", end ? (int)(end - headings) : (int)strlen(headings), headings);
		t->columns++;
		headings = end ? end + 1 : NULL;
	}
}

/* Characters, not bytes: continuation bytes do not count. */
static size_t table_width(const char *text)
{
	size_t n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static size_t table_column(const struct tool_table *t, size_t column)
{
	size_t most = 0;
	for (size_t i = column; i < t->rows; i += t->columns) {
		size_t n = table_width(t->cells[i]);
		most = n > most ? n : most;
	}
	return most;
}

int table_print(struct tool_table *t)
{
	for (size_t i = 0; i < t->rows && !t->failed; i++) {
		int last = (i + 1) % t->columns == 0;
		size_t pad = last ? 0 : table_column(t, i % t->columns) + 2 - table_width(t->cells[i]);
		printf("%s%*s%s", t->cells[i], (int)pad, "", last ? "\n" : "");
	}
	for (size_t i = 0; i < t->rows; i++)
		free(t->cells[i]);
	free(t->cells);
	return t->failed || fflush(stdout) != 0 ? TOOL_FAILED : TOOL_DONE;
}

const char *tool_bytes(double bytes, char text[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	size_t i = 0;
	for (; bytes >= 1024 && i + 1 < sizeof units / sizeof *units; i++)
		bytes /= 1024;
	snprintf(text, 32, i == 0 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
	return text;
}

const char *json_text(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
	return text ? text : "-";
}

double json_number(const cJSON *object, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(object, name);
	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

char *json_list(const cJSON *array)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	const cJSON *item;
	cJSON_ArrayForEach(item, array)
		if (cJSON_IsString(item))
			fprintf(out, "%s%s", ftell(out) > 0 ? ", " : "", item->valuestring);
	return fclose(out) == 0 ? text : NULL;
}

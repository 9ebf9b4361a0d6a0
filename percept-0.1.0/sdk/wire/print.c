/* print.c - cJSON trees to one line of JSON, numbers exact (cJSON's own printer rounds to 15 digits). */
#include "sdk/wire/frame.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct print {
	char *text;
	size_t n;
	size_t room;
	int failed;
};

static void print_bytes(struct print *p, const char *bytes, size_t n)
{
	if (p->failed)
		return;
	if (n >= p->room - p->n) {
		size_t room = p->room ? p->room * 2 : 256;
		while (room - p->n <= n)
			room *= 2; /* bounded by what the tree itself takes */
		char *grown = realloc(p->text, room);
		if (grown == NULL) {
			p->failed = 1;
			return;
		}
		p->text = grown;
		p->room = room;
	}
	memcpy(p->text + p->n, bytes, n);
	p->n += n;
}

static void print_text(struct print *p, const char *text)
{
	print_bytes(p, text, strlen(text));
}

/* Integers within +-(2^53-1) digit by digit, others by the shortest text that reads back as the same number. */
static void print_number(struct print *p, double v)
{
	char text[40];
	if (!isfinite(v)) {
		print_text(p, "null");
		return;
	}
	if (v == floor(v) && fabs(v) <= WIRE_MAX_INT) {
		snprintf(text, sizeof(text), "%lld", (long long)v);
		print_text(p, text);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	for (char *at = text; *at; at++) /* the locale's decimal point */
		if (strchr("0123456789+-e", *at) == NULL)
			*at = '.';
	print_text(p, text);
}

static void print_string(struct print *p, const char *text)
{
	static const char plain[] = "\b\f\n\r\t\"\\", named[] = "bfnrt\"\\";
	print_bytes(p, "\"", 1);
	while (*text) {
		size_t n = 0;
		while ((unsigned char)text[n] >= 0x20 && text[n] != '"' && text[n] != '\\')
			n++;
		print_bytes(p, text, n);
		text += n;
		if (*text == '\0')
			break;
		char escape[8];
		const char *known = strchr(plain, *text);
		if (known)
			snprintf(escape, sizeof(escape), "\\%c", named[known - plain]);
		else
			snprintf(escape, sizeof(escape), "\\u%04x", (unsigned char)*text);
		print_text(p, escape);
		text++;
	}
	print_bytes(p, "\"", 1);
}

static void print_value(struct print *p, const cJSON *value);

static void print_children(struct print *p, const cJSON *parent, const char *brackets)
{
	print_bytes(p, brackets, 1);
	for (const cJSON *child = parent->child; child; child = child->next) {
		if (brackets[0] == '{') {
			print_string(p, child->string ? child->string : "");
			print_bytes(p, ":", 1);
		}
		print_value(p, child);
		if (child->next)
			print_bytes(p, ",", 1);
	}
	print_bytes(p, brackets + 1, 1);
}

static void print_value(struct print *p, const cJSON *value)
{
	if (cJSON_IsObject(value))
		print_children(p, value, "{}");
	else if (cJSON_IsArray(value))
		print_children(p, value, "[]");
	else if (cJSON_IsString(value))
		print_string(p, value->valuestring);
	else if (cJSON_IsNumber(value))
		print_number(p, value->valuedouble);
	else if (cJSON_IsRaw(value))
		print_text(p, value->valuestring);
	else
		print_text(p, cJSON_IsTrue(value) ? "true" : cJSON_IsFalse(value) ? "false" : "null");
}

char *wire_json_print(const cJSON *value, size_t *n)
{
	struct print p = {0};
	print_value(&p, value);
	print_bytes(&p, "", 1);
	if (p.failed) {
		free(p.text);
		return NULL;
	}
	if (n)
		*n = p.n - 1;
	return p.text;
}

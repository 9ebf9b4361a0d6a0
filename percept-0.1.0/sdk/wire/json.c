/* json.c - a strict JSON parser that makes cJSON trees, by the rules of PROTOCOL section 1. */
#include "sdk/wire/frame.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

struct json {
	const unsigned char *at;
	const unsigned char *end;
	unsigned depth;
	unsigned tokens;
	unsigned max_tokens;
	const char *why;
};

static void *json_fail(struct json *p, const char *why)
{
	if (p->why == NULL)
		p->why = why;
	return NULL;
}

static int json_count(struct json *p)
{
	if (p->tokens++ < p->max_tokens || p->max_tokens == 0)
		return 0;
	json_fail(p, "it has too many values");
	return -1;
}

static void json_space(struct json *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\r' || *p->at == '\n'))
		p->at++;
}

static int json_peek(const struct json *p)
{
	return p->at < p->end ? *p->at : -1;
}

static int json_hex4(const unsigned char *at, const unsigned char *end)
{
	int value = 0;
	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int c = at[i] | 0x20;
		if (at[i] >= '0' && at[i] <= '9')
			value = value * 16 + at[i] - '0';
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + c - 'a' + 10;
		else
			return -1;
	}
	return value;
}

static char *json_put_utf8(char *out, unsigned c)
{
	if (c < 0x80) {
		*out++ = (char)c;
		return out;
	}
	if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
	} else {
		if (c < 0x10000) {
			*out++ = (char)(0xe0 | c >> 12);
		} else {
			*out++ = (char)(0xf0 | c >> 18);
			*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		}
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*out++ = (char)(0x80 | (c & 0x3f));
	return out;
}

/* One escape, p->at behind the backslash. What it adds never exceeds its own length. */
static char *json_escape(struct json *p, const unsigned char *close, char *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *simple = p->at < close && *p->at ? strchr(from, *p->at) : NULL;
	if (simple) {
		p->at++;
		*out++ = to[simple - from];
		return out;
	}
	if (p->at >= close || *p->at != 'u')
		return json_fail(p, "a string has an unknown escape");
	int c = json_hex4(p->at + 1, close);
	p->at += 5;
	if (c < 0)
		return json_fail(p, "a \\u escape needs four hexadecimal digits");
	if (c == 0)
		return json_fail(p, "a string contains U+0000");
	if (c < 0xd800 || c > 0xdfff)
		return json_put_utf8(out, (unsigned)c);
	int low = close - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u' ? json_hex4(p->at + 2, close) : -1;
	if (c > 0xdbff || low < 0xdc00 || low > 0xdfff)
		return json_fail(p, "a string has half of a surrogate pair");
	p->at += 6;
	return json_put_utf8(out, 0x10000 + ((unsigned)(c - 0xd800) << 10) + (unsigned)(low - 0xdc00));
}

/* The closing quote of the string that begins at `at` (behind its opening quote), or NULL. */
static const unsigned char *json_closing(const unsigned char *at, const unsigned char *end)
{
	for (; at < end; at++) {
		if (*at == '"')
			return at;
		if (*at == '\\')
			at++;
	}
	return NULL;
}

/* p->at is at the opening quote. The unescaped text, by cJSON_malloc. */
static char *json_string(struct json *p)
{
	const unsigned char *close = json_closing(++p->at, p->end);
	if (close == NULL)
		return json_fail(p, "a string does not end");
	char *text = cJSON_malloc((size_t)(close - p->at) + 1);
	if (text == NULL)
		return json_fail(p, "memory is out");
	char *out = text;
	while (p->at < close) {
		if (*p->at == '\\') {
			p->at++;
			char *next = json_escape(p, close, out);
			if (next == NULL)
				goto fail;
			out = next;
			continue;
		}
		if (*p->at >= 0x20 && *p->at < 0x80) {
			*out++ = (char)*p->at++;
			continue;
		}
		size_t n = *p->at >= 0x20 ? wire_utf8_length(p->at, close) : 0;
		if (n == 0) {
			json_fail(p, *p->at < 0x20 ? "a string has a raw control character" : "it is not UTF-8");
			goto fail;
		}
		memcpy(out, p->at, n);
		out += n;
		p->at += n;
	}
	*out = '\0';
	p->at = close + 1;
	return text;
fail:
	cJSON_free(text);
	return NULL;
}

static const unsigned char *json_digits(const unsigned char *at, const unsigned char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

/* The end of the number at p->at by JSON's grammar, or NULL. */
static const unsigned char *json_number_end(const struct json *p)
{
	const unsigned char *at = p->at + (*p->at == '-'), *digits = at, *end = p->end;
	at = json_digits(at, end);
	if (at == digits || (*digits == '0' && at - digits > 1))
		return NULL;
	if (at < end && *at == '.') {
		digits = ++at;
		at = json_digits(at, end);
		if (at == digits)
			return NULL;
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		at++;
		if (at < end && (*at == '+' || *at == '-'))
			at++;
		digits = at;
		at = json_digits(at, end);
		if (at == digits)
			return NULL;
	}
	return at;
}

static cJSON *json_number(struct json *p)
{
	const unsigned char *end = json_number_end(p);
	if (end == NULL)
		return json_fail(p, "a value is none of JSON's");
	size_t n = (size_t)(end - p->at);
	char small[64], *text = n < sizeof(small) ? small : malloc(n + 1);
	if (text == NULL)
		return json_fail(p, "memory is out");
	memcpy(text, p->at, n);
	text[n] = '\0';
	char *point = memchr(text, '.', n);
	if (point)
		*point = *localeconv()->decimal_point; /* strtod reads the locale's */
	cJSON *number = cJSON_CreateNumber(strtod(text, NULL));
	if (text != small)
		free(text);
	p->at = end;
	return number ? number : json_fail(p, "memory is out");
}

static cJSON *json_word(struct json *p, const char *word, cJSON *(*create)(void))
{
	size_t n = strlen(word);
	if ((size_t)(p->end - p->at) < n || memcmp(p->at, word, n) != 0)
		return json_fail(p, "a value is none of JSON's");
	p->at += n;
	cJSON *value = create();
	return value ? value : json_fail(p, "memory is out");
}

static int json_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys are compared unescaped. -1 if two are equal or memory is out. */
static int json_unique(struct json *p, const cJSON *object, size_t n)
{
	const char *few[16], **keys = n <= 16 ? few : malloc(n * sizeof(*keys));
	if (keys == NULL) {
		json_fail(p, "memory is out");
		return -1;
	}
	size_t i = 0;
	for (const cJSON *member = object->child; member; member = member->next)
		keys[i++] = member->string;
	qsort(keys, n, sizeof(*keys), json_compare);
	for (i = 1; i < n; i++)
		if (strcmp(keys[i - 1], keys[i]) == 0)
			json_fail(p, "an object has the same key twice");
	if (keys != few)
		free(keys);
	return p->why ? -1 : 0;
}

static void json_append(cJSON *parent, cJSON *value)
{
	if (parent->child == NULL) {
		parent->child = value;
	} else {
		parent->child->prev->next = value;
		value->prev = parent->child->prev;
	}
	parent->child->prev = value; /* cJSON: the first's prev is the last */
}

static cJSON *json_value(struct json *p);

static char *json_key(struct json *p)
{
	json_space(p);
	if (json_peek(p) != '"')
		return json_fail(p, "an object needs a key in quotes here");
	if (json_count(p) < 0)
		return NULL;
	char *key = json_string(p);
	if (key == NULL)
		return NULL;
	json_space(p);
	if (json_peek(p) == ':') {
		p->at++;
		return key;
	}
	cJSON_free(key);
	return json_fail(p, "a colon is missing behind a key");
}

/* The members or elements of `parent` up to `close`. The number of them, or -1. */
static long json_fill(struct json *p, cJSON *parent, int close)
{
	long n = 0;
	p->at++;
	json_space(p);
	if (json_peek(p) == close) {
		p->at++;
		return 0;
	}
	for (;;) {
		char *key = NULL;
		if (close == '}' && (key = json_key(p)) == NULL)
			return -1;
		cJSON *value = json_value(p);
		if (value == NULL) {
			cJSON_free(key);
			return -1;
		}
		value->string = key;
		json_append(parent, value);
		n++;
		json_space(p);
		int c = json_peek(p);
		if (c != ',' && c != close) {
			json_fail(p, "a comma or a closing bracket is missing");
			return -1;
		}
		p->at++;
		if (c == close)
			return n;
	}
}

static cJSON *json_container(struct json *p, int close)
{
	if (++p->depth > WIRE_MAX_DEPTH)
		return json_fail(p, "it is nested too deeply");
	cJSON *parent = close == '}' ? cJSON_CreateObject() : cJSON_CreateArray();
	if (parent == NULL)
		return json_fail(p, "memory is out");
	long n = json_fill(p, parent, close);
	if (n < 0 || (close == '}' && n > 1 && json_unique(p, parent, (size_t)n) < 0)) {
		cJSON_Delete(parent);
		return NULL;
	}
	p->depth--;
	return parent;
}

static cJSON *json_value(struct json *p)
{
	json_space(p);
	if (json_count(p) < 0)
		return NULL;
	switch (json_peek(p)) {
	case '{':
		return json_container(p, '}');
	case '[':
		return json_container(p, ']');
	case 't':
		return json_word(p, "true", cJSON_CreateTrue);
	case 'f':
		return json_word(p, "false", cJSON_CreateFalse);
	case 'n':
		return json_word(p, "null", cJSON_CreateNull);
	case -1:
		return json_fail(p, "it ends too early");
	case '"':
		break;
	default:
		return json_number(p);
	}
	cJSON *value = cJSON_CreateNull();
	char *text = value ? json_string(p) : json_fail(p, "memory is out");
	if (text == NULL) {
		cJSON_Delete(value);
		return NULL;
	}
	value->type = cJSON_String;
	value->valuestring = text;
	return value;
}

cJSON *wire_json_parse_max(const char *text, size_t n, unsigned max_tokens, const char **why)
{
	struct json p = {(const unsigned char *)text, (const unsigned char *)text + n, 0, 0, max_tokens, NULL};
	cJSON *value = json_value(&p);
	json_space(&p);
	if (value && p.at < p.end) {
		json_fail(&p, "more follows behind its end");
		cJSON_Delete(value);
		value = NULL;
	}
	if (value == NULL && why)
		*why = p.why;
	return value;
}

cJSON *wire_json_parse(const char *text, size_t n, const char **why)
{
	return wire_json_parse_max(text, n, WIRE_MAX_TOKENS, why);
}

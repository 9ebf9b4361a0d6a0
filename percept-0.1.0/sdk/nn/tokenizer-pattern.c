/* tokenizer-pattern.c - the regular expressions of tokenizer.json, run by PCRE2 with Oniguruma's meaning of \s and \w. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum { PATTERN_MATCH_LIMIT = 50 * 1000 * 1000, PATTERN_HEAP_KIB = 64 << 10 };

struct pattern {
	pcre2_code *code;
};

/* What these stand for between brackets. White space is Unicode's White_Space: PCRE2's own has U+180E besides. */
#define PATTERN_SPACE "\\t-\\r\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define PATTERN_WORD "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}"
static const struct {
	char letter;
	const char *inside;
	const char *outside;
} pattern_classes[] = {
	{'s', PATTERN_SPACE, "[" PATTERN_SPACE "]"},
	{'S', NULL, "[^" PATTERN_SPACE "]"},
	{'w', PATTERN_WORD, "[" PATTERN_WORD "]"},
	{'W', NULL, "[^" PATTERN_WORD "]"},
};

static const char *pattern_class(char letter, int bracket)
{
	for (size_t i = 0; i < sizeof(pattern_classes) / sizeof(*pattern_classes); i++)
		if (pattern_classes[i].letter == letter)
			return bracket ? pattern_classes[i].inside : pattern_classes[i].outside;
	return NULL;
}

static int pattern_rewrite(struct text *out, const char *regex)
{
	int bracket = 0, failed = 0;

	for (const char *s = regex; *s && !failed; s++) {
		const char *class = *s == '\\' && s[1] ? pattern_class(s[1], bracket > 0) : NULL;

		if (class) {
			failed = text_puts(out, class);
			s++;
		} else if (*s == '\\' && s[1]) {
			failed = text_put(out, s++, 2);
		} else {
			if (*s == '[')
				bracket++;
			if (*s == ']' && bracket)
				bracket--;
			failed = text_put(out, s, 1);
		}
	}
	return failed;
}

static struct pattern *pattern_compile(const char *regex, size_t n, uint32_t options, struct nn_error *error)
{
	struct pattern *p = calloc(1, sizeof(*p));
	PCRE2_SIZE where;
	int code;

	if (!p)
		return NULL;
	p->code = pcre2_compile((PCRE2_SPTR)regex, n, options, &code, &where, NULL);
	if (!p->code) {
		PCRE2_UCHAR why[128];

		pcre2_get_error_message(code, why, sizeof(why));
		nn_fail(error, -EINVAL, "tokenizer.json: the pattern %.100s is refused: %s.", regex, (char *)why);
		free(p);
		return NULL;
	}
	pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without it the interpreter runs */
	return p;
}

struct pattern *pattern_regex(const char *regex, struct nn_error *error)
{
	struct text text = {0};
	struct pattern *p = NULL;

	if (!pattern_rewrite(&text, regex) && !text_put(&text, "", 0))
		p = pattern_compile(text.data, text.n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, error);
	text_free(&text);
	return p;
}

struct pattern *pattern_new(const cJSON *json, struct nn_error *error)
{
	const cJSON *regex = cJSON_GetObjectItemCaseSensitive(json, "Regex");
	const cJSON *string = cJSON_IsString(json) ? json : cJSON_GetObjectItemCaseSensitive(json, "String");

	if (cJSON_IsString(regex))
		return pattern_regex(regex->valuestring, error);
	if (cJSON_IsString(string) && *string->valuestring)
		return pattern_compile(string->valuestring, strlen(string->valuestring), PCRE2_UTF | PCRE2_LITERAL,
				       error);
	nn_fail(error, -EINVAL, "tokenizer.json: a pattern is {\"Regex\": text} or {\"String\": text that is not empty}.");
	return NULL;
}

void pattern_free(struct pattern *p)
{
	if (!p)
		return;
	pcre2_code_free(p->code);
	free(p);
}

/* The next match from `from`, by machine code, or by the interpreter where that runs out of stack. */
static int pattern_match(const struct pattern *p, const char *s, size_t n, size_t from, pcre2_match_data *data,
			 pcre2_match_context *context)
{
	uint32_t options = PCRE2_NO_UTF_CHECK;
	int found = pcre2_match(p->code, (PCRE2_SPTR)s, n, from, options, data, context);

	if (found == PCRE2_ERROR_JIT_STACKLIMIT)
		found = pcre2_match(p->code, (PCRE2_SPTR)s, n, from, options | PCRE2_NO_JIT, data, context);
	return found == PCRE2_ERROR_NOMATCH ? 0 : found < 0 ? found : 1;
}

static int pattern_walk(const struct pattern *p, const char *s, size_t n, pcre2_match_data *data,
			pcre2_match_context *context, int (*each)(void *arg, size_t at, size_t n, int matched), void *arg)
{
	const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data);
	size_t done = 0, from = 0;
	int failed = 0;

	while (from < n && !failed) {
		int found = pattern_match(p, s, n, from, data, context);

		if (found < 0)
			return found == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -E2BIG;
		if (!found)
			break;
		if (ends[1] <= ends[0]) { /* an empty match cuts nothing */
			from = ends[0] < n ? ends[0] + utf8_length((unsigned char)s[ends[0]]) : n;
			continue;
		}
		if (ends[0] > done)
			failed = each(arg, done, ends[0] - done, 0);
		if (!failed)
			failed = each(arg, ends[0], ends[1] - ends[0], 1);
		done = from = ends[1];
	}
	if (!failed && done < n)
		failed = each(arg, done, n - done, 0);
	return failed;
}

int pattern_each(const struct pattern *p, const char *s, size_t n,
		 int (*each)(void *arg, size_t at, size_t n, int matched), void *arg)
{
	pcre2_match_context *context = pcre2_match_context_create(NULL);
	pcre2_match_data *data = pcre2_match_data_create_from_pattern(p->code, NULL);
	int failed = -ENOMEM;

	if (context && data) {
		pcre2_set_match_limit(context, PATTERN_MATCH_LIMIT);
		pcre2_set_heap_limit(context, PATTERN_HEAP_KIB);
		failed = pattern_walk(p, s, n, data, context, each, arg);
	}
	pcre2_match_data_free(data);
	pcre2_match_context_free(context);
	return failed;
}

/* template-lexer.c - a template's text to tokens, with Jinja's rules for white space (trim_blocks, lstrip_blocks). */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <string.h>

enum { LEXER_NESTING = 256 };

struct lexer {
	struct heap *heap;
	const char *s, *end;
	uint32_t line;
	int line_starts;    /* what was read last ended with a newline, or nothing was read */
	struct token *tokens;
	size_t n, room;
	char open[LEXER_NESTING]; /* brackets of an expression */
	size_t nested;
	struct nn_error *error;
};

static int lexer_fail(struct lexer *l, const char *what)
{
	return nn_fail(l->error, -EINVAL, "The chat template is wrong in line %u: %s.", l->line, what);
}

static int lexer_put(struct lexer *l, enum token_kind kind, const char *s, size_t n)
{
	if (heap_reserve(l->heap, &l->tokens, &l->room, l->n + 1, sizeof(*l->tokens)))
		return nn_fail(l->error, -ENOMEM, "There is not enough memory for the chat template.");
	l->tokens[l->n++] = (struct token){kind, l->line, {s, n}};
	return 0;
}

static int lexer_at(const struct lexer *l, const char *s, const char *what)
{
	size_t n = strlen(what);

	return (size_t)(l->end - s) >= n && !memcmp(s, what, n);
}

static int lexer_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Goes on to `to`, counting lines. */
static void lexer_move(struct lexer *l, const char *to)
{
	if (to > l->s)
		l->line_starts = to[-1] == '\n';
	for (; l->s < to; l->s++)
		l->line += *l->s == '\n';
}

/* Text before a tag: "-" takes all white space from its end; a tag that is not {{ takes the indent of its line. */
static int lexer_data(struct lexer *l, const char *from, const char *to, char sign, int print)
{
	const char *end = to;

	while (sign == '-' && end > from && lexer_is_space(end[-1]))
		end--;
	if (!sign && !print) {
		const char *start = to;

		while (start > from && lexer_is_space(start[-1]) && start[-1] != '\n')
			start--;
		if (start > from ? start[-1] == '\n' : l->line_starts)
			end = start;
	}
	return end > from ? lexer_put(l, TOKEN_DATA, from, (size_t)(end - from)) : 0;
}

/* Behind a tag's end: "-" takes all white space, else a block or comment takes one newline unless "+". */
static void lexer_after(struct lexer *l, const char *behind, char sign, int print)
{
	if (sign == '-')
		while (behind < l->end && lexer_is_space(*behind))
			behind++;
	else if (!sign && !print && behind < l->end && *behind == '\n')
		behind++;
	lexer_move(l, behind);
}

/* The first {{, {% or {# at or behind `s`, or the end. */
static const char *lexer_tag(const struct lexer *l, const char *s)
{
	for (; s + 1 < l->end; s++)
		if (*s == '{' && (s[1] == '{' || s[1] == '%' || s[1] == '#'))
			return s;
	return l->end;
}

static char lexer_sign(const struct lexer *l, const char *s)
{
	return s < l->end && (*s == '-' || *s == '+') ? *s : 0;
}

static int lexer_comment(struct lexer *l, const char *s)
{
	for (; s + 1 < l->end; s++) {
		if (s[0] != '#' || s[1] != '}')
			continue;
		lexer_after(l, s + 2, s[-1] == '-' || s[-1] == '+' ? s[-1] : 0, 0);
		return 0;
	}
	return lexer_fail(l, "a comment {# has no end #}");
}

/* A tag that holds one word only, such as {%- endraw -%}; its end, or NULL. */
static const char *lexer_word_tag(const struct lexer *l, const char *s, const char *word, char *sign)
{
	while (s < l->end && lexer_is_space(*s))
		s++;
	if (!lexer_at(l, s, word))
		return NULL;
	s += strlen(word);
	while (s < l->end && lexer_is_space(*s))
		s++;
	*sign = lexer_sign(l, s);
	s += *sign != 0;
	return lexer_at(l, s, "%}") ? s + 2 : NULL;
}

static int lexer_raw(struct lexer *l, const char *behind, char sign)
{
	lexer_after(l, behind, sign, 1);
	for (const char *s = l->s; s + 1 < l->end; s++) {
		char begin, end;
		const char *after;

		if (s[0] != '{' || s[1] != '%')
			continue;
		begin = lexer_sign(l, s + 2);
		after = lexer_word_tag(l, s + 2 + (begin != 0), "endraw", &end);
		if (!after)
			continue;
		if (lexer_data(l, l->s, s, begin, 0))
			return -ENOMEM;
		lexer_after(l, after, end, 0);
		return 0;
	}
	return lexer_fail(l, "{% raw %} has no {% endraw %}");
}

static int lexer_is_name(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c >= 0x80;
}

static int lexer_string(struct lexer *l)
{
	const char *s = l->s + 1;

	while (s < l->end && *s != *l->s)
		s += *s == '\\' && s + 1 < l->end ? 2 : 1;
	if (s >= l->end)
		return lexer_fail(l, "a text has no closing quote");
	int failed = lexer_put(l, TOKEN_STRING, l->s + 1, (size_t)(s - l->s - 1));

	lexer_move(l, s + 1);
	return failed;
}

static int lexer_number(struct lexer *l)
{
	const char *s = l->s;
	int real = 0;

	while (s < l->end && ((*s >= '0' && *s <= '9') || *s == '_'))
		s++;
	if (s + 1 < l->end && *s == '.' && s[1] >= '0' && s[1] <= '9') {
		real = 1;
		for (s++; s < l->end && ((*s >= '0' && *s <= '9') || *s == '_');)
			s++;
	}
	if (s < l->end && (*s == 'e' || *s == 'E')) {
		const char *e = s + 1;

		e += e < l->end && (*e == '+' || *e == '-');
		if (e < l->end && *e >= '0' && *e <= '9') {
			real = 1;
			for (s = e; s < l->end && *s >= '0' && *s <= '9';)
				s++;
		}
	}
	int failed = lexer_put(l, real ? TOKEN_FLOAT : TOKEN_INT, l->s, (size_t)(s - l->s));

	lexer_move(l, s);
	return failed;
}

static int lexer_operator(struct lexer *l)
{
	static const char *const operators[] = {"**", "//", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "<", ">",
						"=",  ".",  ":",  "|",  ",",  "(",  ")", "[", "]", "{", "}", ";"};

	for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
		const char *op = operators[i];

		if (!lexer_at(l, l->s, op))
			continue;
		if (strchr("([{", *op)) {
			if (l->nested >= LEXER_NESTING)
				return lexer_fail(l, "brackets are nested too deep");
			l->open[l->nested++] = *op == '(' ? ')' : *op == '[' ? ']' : '}';
		} else if (strchr(")]}", *op)) {
			if (!l->nested || l->open[--l->nested] != *op)
				return lexer_fail(l, "a bracket closes that was not opened");
		}
		int failed = lexer_put(l, TOKEN_OP, l->s, strlen(op));

		lexer_move(l, l->s + strlen(op));
		return failed;
	}
	return lexer_fail(l, "an expression has a character that means nothing there");
}

/* The end of the tag at l->s if it is there: its length, and its sign. */
static size_t lexer_tag_end(const struct lexer *l, int print, char *sign)
{
	*sign = lexer_sign(l, l->s);
	if (print && *sign == '+')
		*sign = 0;
	size_t skip = *sign != 0;

	if (l->nested || !lexer_at(l, l->s + skip, print ? "}}" : "%}"))
		return 0;
	return skip + 2;
}

static int lexer_inside(struct lexer *l, int print)
{
	int failed = 0;

	l->nested = 0;
	while (!failed && l->s < l->end) {
		char sign;
		size_t n = lexer_tag_end(l, print, &sign);

		if (n) {
			failed = lexer_put(l, print ? TOKEN_PRINT_END : TOKEN_BLOCK_END, l->s, n);
			lexer_after(l, l->s + n, sign, print);
			return failed;
		}
		if (lexer_is_space(*l->s)) {
			lexer_move(l, l->s + 1);
		} else if (*l->s == '\'' || *l->s == '"') {
			failed = lexer_string(l);
		} else if (*l->s >= '0' && *l->s <= '9') {
			failed = lexer_number(l);
		} else if (lexer_is_name((unsigned char)*l->s)) {
			const char *s = l->s;

			while (s < l->end && lexer_is_name((unsigned char)*s))
				s++;
			failed = lexer_put(l, TOKEN_NAME, l->s, (size_t)(s - l->s));
			lexer_move(l, s);
		} else {
			failed = lexer_operator(l);
		}
	}
	return failed ? failed : lexer_fail(l, print ? "{{ has no end }}" : "{% has no end %}");
}

/* From l->s to behind the next tag, or to the end. */
static int lexer_next(struct lexer *l)
{
	const char *tag = lexer_tag(l, l->s), *behind;
	int print = tag < l->end && tag[1] == '{';
	char sign = tag < l->end ? lexer_sign(l, tag + 2) : '+', end;

	if (print && sign == '+') /* {{+ x }} is a plus sign */
		sign = 0;
	if (lexer_data(l, l->s, tag, sign, print))
		return -ENOMEM;
	lexer_move(l, tag);
	if (tag == l->end)
		return 0;
	const char *inside = tag + 2 + (sign != 0);

	if (tag[1] == '#')
		return lexer_comment(l, inside);
	if (tag[1] == '%' && (behind = lexer_word_tag(l, inside, "raw", &end)))
		return lexer_raw(l, behind, end);
	if (lexer_put(l, print ? TOKEN_PRINT : TOKEN_BLOCK, tag, 2))
		return -ENOMEM;
	lexer_move(l, inside);
	return lexer_inside(l, print);
}

/* Newlines become \n, and one at the very end is dropped. */
static int lexer_newlines(struct heap *heap, struct str source, struct str *clean)
{
	char *to = heap_alloc(heap, source.n + 1);
	size_t n = 0;

	if (!to)
		return -ENOMEM;
	for (size_t i = 0; i < source.n; i++) {
		if (source.s[i] == '\r' && i + 1 < source.n && source.s[i + 1] == '\n')
			continue;
		to[n++] = source.s[i] == '\r' ? '\n' : source.s[i];
	}
	if (n && to[n - 1] == '\n')
		n--;
	*clean = (struct str){to, n};
	return 0;
}

int lexer_run(struct heap *heap, struct str source, struct token **tokens, struct nn_error *error)
{
	struct lexer l = {.heap = heap, .line = 1, .line_starts = 1, .error = error};
	struct str clean;
	int failed = lexer_newlines(heap, source, &clean);

	if (failed)
		return nn_fail(error, failed, "There is not enough memory for the chat template.");
	l.s = clean.s;
	l.end = clean.s + clean.n;
	while (!failed && l.s < l.end)
		failed = lexer_next(&l);
	if (!failed)
		failed = lexer_put(&l, TOKEN_END, l.end, 0);
	*tokens = l.tokens;
	return failed;
}

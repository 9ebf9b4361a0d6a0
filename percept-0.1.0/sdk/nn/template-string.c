/* template-string.c - what Python's str does, by characters of UTF-8. */
#include "config.h" /* memmem */

#include "sdk/nn/template-parts.h"

#include <string.h>
#include <utf8proc.h>

int char_is_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t str_chars(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.s[i] & 0xc0) != 0x80;
	return n;
}

size_t str_offset(struct str s, size_t chars)
{
	size_t i = 0;

	for (; i < s.n; i++)
		if (((unsigned char)s.s[i] & 0xc0) != 0x80 && !chars--)
			break;
	return i;
}

const char *str_find(struct str s, struct str what)
{
	if (!what.n)
		return s.s;
	return s.n ? memmem(s.s, s.n, what.s, what.n) : NULL;
}

static int str_in_set(uint32_t c, const struct str *set)
{
	if (!set)
		return char_is_space(c);
	for (size_t i = 0; i < set->n;) {
		uint32_t d;

		i += utf8_get(set->s + i, set->n - i, &d, NULL);
		if (c == d)
			return 1;
	}
	return 0;
}

/* `set` NULL: white space. */
struct str str_strip(struct str s, const struct str *set, int left, int right)
{
	uint32_t c;

	while (left && s.n) {
		size_t n = utf8_get(s.s, s.n, &c, NULL);

		if (!str_in_set(c, set))
			break;
		s.s += n;
		s.n -= n;
	}
	while (right && s.n) {
		size_t at = s.n - 1;

		while (at && ((unsigned char)s.s[at] & 0xc0) == 0x80)
			at--;
		utf8_get(s.s + at, s.n - at, &c, NULL);
		if (!str_in_set(c, set))
			break;
		s.n = at;
	}
	return s;
}

static int str_put_upper(struct text *out, uint32_t c, int title)
{
	if (c == 0xdf)
		return text_puts(out, title ? "Ss" : "SS");
	return text_put_char(out, (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)c)
						   : utf8proc_toupper((utf8proc_int32_t)c)));
}

static int str_put_lower(struct text *out, uint32_t c)
{
	if (c == 0x130)
		return text_puts(out, "i\xcc\x87");
	return text_put_char(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

static int str_is_letter(uint32_t c)
{
	utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

	return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

int str_case(struct run *r, struct str s, int how, struct value *out)
{
	struct text made = {0};
	int failed = run_charge(r, 1 + s.n / 16), inside = 0;

	for (size_t i = 0; i < s.n && !failed;) {
		uint32_t c;
		int first = how == 'c' ? i == 0 : how == 't' ? !inside : 0;

		i += utf8_get(s.s + i, s.n - i, &c, NULL);
		inside = str_is_letter(c);
		if (how == 's')
			failed = utf8proc_isupper((utf8proc_int32_t)c) ? str_put_lower(&made, c) : str_put_upper(&made, c, 0);
		else if (how == 'u' || first)
			failed = str_put_upper(&made, c, how != 'u');
		else
			failed = str_put_lower(&made, c);
	}
	if (failed) {
		text_free(&made);
		return failed;
	}
	return value_keep(r, &made, out);
}

/* At most `most` times; -1: all. An empty `from` is found before every character and at the end. */
int str_replace(struct run *r, struct str s, struct str from, struct str to, int64_t most, struct value *out)
{
	struct text made = {0};
	int failed = run_charge(r, 1 + s.n / 64);
	size_t done = 0;

	for (size_t at = 0; most && !failed && at <= s.n; most -= most > 0) {
		const char *found = str_find((struct str){s.s + at, s.n - at}, from);

		if (!found)
			break;
		failed = run_charge(r, 1 + to.n / 64);
		if (!failed)
			failed = text_put(&made, s.s + done, (size_t)(found - s.s) - done);
		if (!failed)
			failed = text_put(&made, to.s, to.n);
		if (!failed && made.n > r->limits.output)
			failed = run_fail(r, "it makes more than %zu bytes of text", r->limits.output);
		done = (size_t)(found - s.s) + from.n;
		at = from.n ? done : at < s.n ? at + utf8_length((unsigned char)s.s[at]) : s.n + 1;
	}
	if (!failed)
		failed = text_put(&made, s.s + done, s.n - done);
	if (failed) {
		text_free(&made);
		return failed;
	}
	return value_keep(r, &made, out);
}

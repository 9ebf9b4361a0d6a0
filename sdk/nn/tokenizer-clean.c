/* tokenizer-clean.c - texts made plain as OpenCLIP does (ftfy's repairs, but for those of doubly encoded text): entities,
 * terminal escapes, quotes, ligatures, wide letters, control characters; composed, small letters, one space between words. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Bytes 0x80 ... 0x9f of Windows-1252, which some files hold as characters; 0: none. */
static const uint16_t clean_c1[32] = {
	0x20ac, 0x81,	0x201a, 0x192,	0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f,
	0x90,	0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
};

static const struct {
	uint32_t from;
	const char *to;
} clean_texts[] = {
	{0x132, "IJ"},	{0x133, "ij"},	{0x149, "\xca\xbcn"}, {0x1c4, "D\xc5\xbd"}, {0x1c5, "D\xc5\xbe"}, {0x1c6, "d\xc5\xbe"},
	{0x1c7, "LJ"},	{0x1c8, "Lj"},	{0x1c9, "lj"},	      {0x1ca, "NJ"},	    {0x1cb, "Nj"},	  {0x1cc, "nj"},
	{0x1f1, "DZ"},	{0x1f2, "Dz"},	{0x1f3, "dz"},	      {0xfb00, "ff"},	    {0xfb01, "fi"},	  {0xfb02, "fl"},
	{0xfb03, "ffi"}, {0xfb04, "ffl"}, {0xfb05, "\xc5\xbft"}, {0xfb06, "st"},    {0x2bc, "'"},	  {0x3000, " "},
};

static const struct {
	const char *name;
	uint32_t c;
} clean_entities[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}, {"nbsp", 0xa0}};

/* The character that "&name;" or "&#123;" at `s` stands for, and its length; 0: none. */
static size_t clean_entity(const char *s, size_t n, uint32_t *c)
{
	const char *end = memchr(s, ';', n < 12 ? n : 12);
	const size_t length = end ? (size_t)(end - s) : 0;
	char name[12] = "", *rest = name;

	if (length < 3)
		return 0;
	memcpy(name, s + 1, length - 1);
	for (size_t i = 0; i < sizeof(clean_entities) / sizeof(*clean_entities); i++) {
		*c = clean_entities[i].c;
		if (!strcmp(name, clean_entities[i].name))
			return length + 1;
	}
	if (name[0] != '#')
		return 0;
	const int hex = name[1] == 'x' || name[1] == 'X';
	const unsigned long code = strtoul(name + 1 + hex, &rest, hex ? 16 : 10);

	*c = (uint32_t)code;
	return *rest || rest == name + 1 + hex || !code || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : length + 1;
}

static int clean_unescape(struct text *text)
{
	struct text out = {0};
	int failed = 0;

	for (size_t i = 0; i < text->n && !failed;) {
		uint32_t c;
		const size_t n = text->data[i] == '&' ? clean_entity(text->data + i, text->n - i, &c) : 0;

		failed = n ? text_put_char(&out, c) : text_put(&out, text->data + i, 1);
		i += n ? n : 1;
	}
	text_free(text);
	*text = out;
	return failed ? failed : text_put(text, "", 0);
}

/* Length of a terminal's escape sequence, ESC [ digits letter; 0: none. */
static size_t clean_escape(const char *s, size_t n)
{
	size_t i = 2;

	if (n < 3 || s[0] != 27 || s[1] != '[')
		return 0;
	while (i < n && ((s[i] >= '0' && s[i] <= '9') || s[i] == ';'))
		i++;
	return i < n && ((s[i] | 32) >= 'a' && (s[i] | 32) <= 'z') ? i + 1 : 0;
}

static int clean_is_control(uint32_t c)
{
	return c < 9 || c == 11 || (c >= 14 && c < 32) || c == 127 || (c >= 0x206a && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xfff9 && c <= 0xfffc);
}

/* One character, or what stands in for it. */
static int clean_put(struct text *out, uint32_t c)
{
	if (c >= 0x80 && c < 0xa0)
		c = clean_c1[c - 0x80];
	for (size_t i = 0; i < sizeof(clean_texts) / sizeof(*clean_texts); i++)
		if (clean_texts[i].from == c)
			return text_puts(out, clean_texts[i].to);
	if (c >= 0x2018 && c <= 0x201b)
		c = '\'';
	else if (c >= 0x201c && c <= 0x201f)
		c = '"';
	if (c >= 0xff01 && c <= 0xffef) {
		utf8proc_int32_t wide[8];
		int last = 0;

		if (utf8proc_decompose_char((utf8proc_int32_t)c, wide, 8, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, &last) == 1)
			c = (uint32_t)wide[0];
	}
	return clean_is_control(c) ? 0 : text_put_char(out, c);
}

static int clean_characters(struct text *text)
{
	struct text out = {0};
	int failed = 0;

	for (size_t i = 0; i < text->n && !failed;) {
		const size_t escape = clean_escape(text->data + i, text->n - i);
		uint32_t c;

		if (escape) {
			i += escape;
			continue;
		}
		i += utf8_get(text->data + i, text->n - i, &c, NULL);
		failed = clean_put(&out, c);
	}
	text_free(text);
	*text = out;
	return failed ? failed : text_put(text, "", 0);
}

static int clean_is_letter(uint32_t c)
{
	return utf8proc_category((utf8proc_int32_t)c) >= UTF8PROC_CATEGORY_LU &&
	       utf8proc_category((utf8proc_int32_t)c) <= UTF8PROC_CATEGORY_LO;
}

/* Small letters; a sigma that ends a word has a form of its own. */
int clean_lower(struct text *text)
{
	struct text out = {0};
	uint32_t before = ' ', next;
	int failed = 0;

	for (size_t i = 0; i < text->n && !failed;) {
		uint32_t c;

		i += utf8_get(text->data + i, text->n - i, &c, NULL);
		next = ' ';
		if (i < text->n)
			utf8_get(text->data + i, text->n - i, &next, NULL);
		if (c == 0x130)
			failed = text_puts(&out, "i\xcc\x87");
		else if (c == 0x3a3 && clean_is_letter(before) && !clean_is_letter(next))
			failed = text_put_char(&out, 0x3c2);
		else
			failed = text_put_char(&out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
		before = c;
	}
	text_free(text);
	*text = out;
	return failed ? failed : text_put(text, "", 0);
}

int clean_run(struct text *text)
{
	/* In a page's source entities are wanted. */
	const int page = memchr(text->data, '<', text->n) != NULL;
	int failed = 0;

	for (int i = page; i < 3 && !failed; i++)
		failed = clean_unescape(text);
	return failed ? failed : clean_characters(text);
}

/* tokenizer-charsmap.c - SentencePiece's normalizer: texts replaced by others as a double-array trie says, white space
 * collapsed, spaces made visible. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The precompiled map: a Darts double array (its bytes' number first), then the replacements, each ended by a NUL. */
struct charsmap {
	uint32_t *units;
	size_t n_units;
	char *texts; /* NUL behind */
	size_t n_texts;
	int prefix, collapse;
};

static uint32_t charsmap_u32(const unsigned char *b)
{
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static int charsmap_load(struct charsmap *m, const unsigned char *blob, size_t n, struct nn_error *error)
{
	if (!n)
		return 0;
	const size_t trie = n >= 4 ? charsmap_u32(blob) : SIZE_MAX;

	if (trie > n - 4 || n < 4 || trie % 4)
		return nn_fail(error, -EINVAL, "The tokenizer's map of characters is damaged.");
	m->n_units = trie / 4;
	m->n_texts = n - 4 - trie;
	m->units = malloc(trie + 4);
	m->texts = malloc(m->n_texts + 1);
	if (!m->units || !m->texts)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_units; i++)
		m->units[i] = charsmap_u32(blob + 4 + 4 * i);
	memcpy(m->texts, blob + 4 + trie, m->n_texts);
	m->texts[m->n_texts] = '\0';
	return 0;
}

void charsmap_free(struct charsmap *m)
{
	if (!m)
		return;
	free(m->units);
	free(m->texts);
	free(m);
}

struct charsmap *charsmap_new(const unsigned char *blob, size_t n, int prefix, int collapse, struct nn_error *error)
{
	struct charsmap *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->prefix = prefix;
	m->collapse = collapse;
	if (!charsmap_load(m, blob, n, error))
		return m;
	charsmap_free(m);
	return NULL;
}

static uint32_t charsmap_step(uint32_t unit)
{
	return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* Length of the longest text at `s` that has a replacement, which goes to *to; 0: none. */
static size_t charsmap_find(const struct charsmap *m, const char *s, size_t n, const char **to)
{
	size_t longest = 0, at = 0;

	if (!m->n_units)
		return 0;
	at ^= charsmap_step(m->units[0]);
	for (size_t i = 0; i < n; i++) {
		at ^= (unsigned char)s[i];
		if (at >= m->n_units || (m->units[at] & (1u << 31 | 0xff)) != (unsigned char)s[i])
			break;
		const uint32_t unit = m->units[at];

		at ^= charsmap_step(unit);
		if (!(unit >> 8 & 1))
			continue;
		if (at >= m->n_units || (m->units[at] & 0x7fffffff) >= m->n_texts + 1)
			break;
		longest = i + 1;
		*to = m->texts + (m->units[at] & 0x7fffffff);
	}
	return longest;
}

/* Appends s [n]; a space becomes U+2581, and where white space collapses one behind another is left out. */
static int charsmap_put(const struct charsmap *m, struct text *out, const char *s, size_t n, int *space)
{
	int failed = 0;

	for (size_t i = 0; i < n && !failed; i++) {
		const int is = s[i] == ' ';

		if (is && *space && m->collapse)
			continue;
		failed = is ? text_puts(out, "\xe2\x96\x81") : text_put(out, s + i, 1);
		*space = is;
	}
	return failed;
}

int charsmap_run(const struct charsmap *m, struct text *text)
{
	struct text out = {0};
	int space = 1, failed = 0;

	if (m->prefix)
		failed = text_puts(&out, "\xe2\x96\x81");
	const size_t begin = out.n;

	for (size_t i = 0, length; i < text->n && !failed; i += length) {
		const char *to = NULL;

		length = charsmap_find(m, text->data + i, text->n - i, &to);
		if (length) {
			failed = charsmap_put(m, &out, to, strlen(to), &space);
			continue;
		}
		length = utf8_length((unsigned char)text->data[i]);
		if (length > text->n - i)
			length = text->n - i;
		failed = charsmap_put(m, &out, text->data + i, length, &space);
	}
	if (m->collapse && out.n > begin && space)
		out.n -= 3;
	if (out.n == begin) /* a prefix alone is no text */
		out.n = 0;
	if (!failed)
		failed = text_put(&out, "", 0);
	text_free(text);
	*text = out;
	return failed;
}

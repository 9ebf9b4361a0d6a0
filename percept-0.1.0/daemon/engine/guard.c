/* guard.c - keeps what a user writes from being read as special tokens. */
#include "daemon/engine/guard.h"

#include <stdlib.h>
#include <string.h>

#define GUARD "\xef\xb7\x90" /* U+FDD0, a noncharacter: no text has it for a meaning */
#define GUARD_BORDER "\xef\xb7\x92" /* U+FDD2: ends a text that could begin a name together with what follows */
#define GUARD_BYTES 3

static int guard_is(const char *text)
{
	return memcmp(text, "\xef\xb7", 2) == 0 && text[2] >= '\x90' && text[2] <= '\x92';
}

/* The longest name that text begins with; its length, 0 if none. */
static size_t guard_match(const struct guard_names *names, const char *text, int32_t *id)
{
	size_t best = 0;

	for (size_t i = 0; i < names->count; i++) {
		int32_t this_id;
		const char *name = names->at(names->arg, i, &this_id);
		size_t n = name && name[0] == text[0] ? strlen(name) : 0;

		if (n > best && strncmp(text, name, n) == 0) {
			best = n;
			*id = this_id;
		}
	}
	return best;
}

/* Bytes of the character that begins at text. */
static size_t guard_step(const char *text)
{
	size_t n = 1;

	while (((unsigned char)text[n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* True if the end of text[0 .. n) is the beginning of a name. */
static int guard_begins(const struct guard_names *names, const char *text, size_t n)
{
	for (size_t i = 0; i < names->count; i++) {
		int32_t id;
		const char *name = names->at(names->arg, i, &id);
		size_t most = name ? strlen(name) : 0;

		for (size_t k = 1; k < most && k <= n; k++)
			if (memcmp(text + n - k, name, k) == 0)
				return 1;
	}
	return 0;
}

char *guard_put(const struct guard_names *names, const char *text)
{
	size_t n = 0;
	int32_t id;
	/* A guard is put at most before or behind each character. */
	char *out = malloc(strlen(text) * (1 + GUARD_BYTES) + GUARD_BYTES + 1);

	if (!out)
		return NULL;
	for (const char *at = text; *at;) {
		size_t step = guard_step(at);

		if (step == GUARD_BYTES && guard_is(at)) {
			memcpy(out + n, GUARD, GUARD_BYTES);
			n += GUARD_BYTES;
		}
		memcpy(out + n, at, step);
		n += step;
		if (guard_match(names, at, &id) > step) {
			memcpy(out + n, GUARD, GUARD_BYTES);
			n += GUARD_BYTES;
		}
		at += step;
	}
	if (guard_begins(names, text, strlen(text))) {
		memcpy(out + n, GUARD_BORDER, GUARD_BYTES);
		n += GUARD_BYTES;
	}
	out[n] = 0;
	return out;
}

size_t guard_remove(char *text, size_t n)
{
	size_t out = 0;

	for (size_t at = 0; at < n;) {
		if (n - at >= GUARD_BYTES && memcmp(text + at, GUARD, GUARD_BYTES) == 0) {
			/* What a guard leads is the user's own, if it is a guard or a marker itself. */
			at += GUARD_BYTES;
			if (n - at >= GUARD_BYTES && guard_is(text + at)) {
				memmove(text + out, text + at, GUARD_BYTES);
				out += GUARD_BYTES;
				at += GUARD_BYTES;
			}
		} else if (n - at >= GUARD_BYTES && memcmp(text + at, GUARD_BORDER, GUARD_BYTES) == 0) {
			at += GUARD_BYTES;
		} else {
			text[out++] = text[at++];
		}
	}
	return out;
}

struct guard_piece guard_next(const struct guard_names *names, const char *text)
{
	size_t n = 0;
	int32_t id = -1;

	if (!*text)
		return (struct guard_piece){GUARD_END, text, 0, -1};
	if (strncmp(text, GUARD_MARKER, GUARD_BYTES) == 0)
		return (struct guard_piece){GUARD_ITEM, text, GUARD_BYTES, -1};
	size_t special = guard_match(names, text, &id);

	if (special)
		return (struct guard_piece){GUARD_SPECIAL, text, special, id};
	do {
		/* A guard and what it leads stay together. */
		if (strncmp(text + n, GUARD, GUARD_BYTES) == 0) {
			n += GUARD_BYTES;
			if (strncmp(text + n, "\xef\xb7", 2) == 0 && guard_is(text + n))
				n += GUARD_BYTES;
		} else {
			n += guard_step(text + n);
		}
	} while (text[n] && strncmp(text + n, GUARD_MARKER, GUARD_BYTES) != 0 && !guard_match(names, text + n, &id));
	return (struct guard_piece){GUARD_TEXT, text, n, -1};
}

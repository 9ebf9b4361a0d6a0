/* guard.h - keeps what a user writes from being read as special tokens once it is inside a rendered template. */
#ifndef ENGINE_GUARD_H
#define ENGINE_GUARD_H

#include <stddef.h>
#include <stdint.h>

/* The names of the special tokens: at(arg, i, &id) for i in [0, count). */
struct guard_names {
	size_t count;
	const char *(*at)(const void *arg, size_t i, int32_t *id);
	const void *arg;
};

/* A copy of user text, malloc'ed, in which no special token's name and no marker occurs: U+FDD0 is put inside each, a
 * U+FDD0, U+FDD1 or U+FDD2 of the user's own is preceded by one, and U+FDD2 follows an end that could begin a name with the
 * text behind it. guard_remove() undoes it. NULL when memory is out. [any] */
char *guard_put(const struct guard_names *names, const char *text);
/* Takes the guards out of text[0 .. n) in place; the new length. */
size_t guard_remove(char *text, size_t n);

/* The marker that stands for a media item in text of our own: U+FDD1. A guarded text has it only behind U+FDD0. */
#define GUARD_MARKER "\xef\xb7\x91"

/* One stretch of a rendered prompt. */
struct guard_piece {
	enum guard_kind { GUARD_END, GUARD_TEXT, GUARD_SPECIAL, GUARD_ITEM } kind;
	const char *text; /* still guarded */
	size_t n;
	int32_t id; /* GUARD_SPECIAL */
};
/* The stretch that begins at `text` (NUL-terminated). Of names that begin at one place the longest counts. */
struct guard_piece guard_next(const struct guard_names *names, const char *text);

#endif

/* textout.h - an answer's bytes to text: whole characters, no stop string, no leading white space. */
#ifndef ENGINE_TEXTOUT_H
#define ENGINE_TEXTOUT_H

#include <stddef.h>

/* Begins zeroed, then stop, n_stop and drop_space are set. */
struct textout {
	const char *const *stop; /* borrowed */
	size_t n_stop;
	int drop_space;  /* the answer's leading white space is dropped */
	int stopped;     /* a stop string was found; the text ends before it */
	char *text;      /* all text so far, valid UTF-8, NUL-terminated */
	size_t bytes, room;
	size_t given;    /* of it taken */
	size_t ready;    /* of it that can be taken: the rest may yet become a stop string */
	unsigned char part[4]; /* the beginning of a character */
	size_t n_part;
};
void textout_fini(struct textout *out);
/* Appends what one token stands for. Bytes that are no UTF-8, and NUL, become U+FFFD. Ignored once stopped. 0 or -ENOMEM. */
int textout_push(struct textout *out, const char *bytes, size_t n);
/* The answer is over: everything is ready. 0 or -ENOMEM. */
int textout_finish(struct textout *out);
/* The text that became ready since the last time: *bytes of it, lives until the next push. */
const char *textout_take(struct textout *out, size_t *bytes);

/* Bytes of the character at text[0 .. n): its length; 0: more are needed; -k: k bytes that begin no character. */
int textout_character(const unsigned char *text, size_t n);
/* A copy of any bytes as valid UTF-8, malloc'ed; NULL when memory is out. */
char *textout_valid(const char *bytes, size_t n);

#endif

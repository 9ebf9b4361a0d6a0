/* text.h - growing byte strings, UTF-8, and small files; for the tokenizers and templates of this room only. */
#ifndef NN_TEXT_H
#define NN_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/nn/error.h"

/* Bytes that grow; begin with {0}, end with text_free. `data` has a NUL behind `n` once something was put. */
struct text {
	char *data;
	size_t n, room;
};

/* Appends; 0 or -ENOMEM. */
int text_put(struct text *t, const void *bytes, size_t n);
int text_puts(struct text *t, const char *string);
/* Appends a code point as UTF-8. */
int text_put_char(struct text *t, uint32_t c);
void text_free(struct text *t);

/* Makes room for `need` items of `size` in *array, of which *room are there; 0 or -ENOMEM. */
int text_reserve(void *array, size_t *room, size_t need, size_t size);

/* The code point at `s` (n > 0 bytes are there) and its length; an invalid sequence gives U+FFFD and the length of its
 * longest valid beginning, at least 1 (Unicode 15, section 3.9). *valid, if not NULL, tells the two apart. */
size_t utf8_get(const char *s, size_t n, uint32_t *c, int *valid);
/* Bytes of the character that begins with `first` in valid UTF-8. */
size_t utf8_length(unsigned char first);
int utf8_valid(const char *s, size_t n);
/* Appends `s`, each invalid sequence as U+FFFD. */
int utf8_put_valid(struct text *out, const char *s, size_t n);

/* All of directory/name; -ENOENT if it is not there, other failures with *error. */
int text_read(struct text *out, const char *directory, const char *name, size_t limit, struct nn_error *error);
/* The same of a model, which may be a GGUF file: the file beside it; else, of a picture tower's, what stands in its place. */
int nn_model_text(struct text *out, const char *model, const char *name, size_t limit, struct nn_error *error);

#endif

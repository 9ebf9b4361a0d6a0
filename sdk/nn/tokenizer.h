/* tokenizer.h - text to token ids and back. */
#ifndef NN_TOKENIZER_H
#define NN_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/nn/error.h"

struct nn_tokenizer;

/* A growing list of ids; free with nn_ids_free. */
struct nn_ids {
	int32_t *data;
	size_t n, room;
};
void nn_ids_free(struct nn_ids *ids);

enum nn_encode {
	NN_ENCODE_SPECIAL = 1, /* special tokens in the text are recognised; else they are plain text */
	NN_ENCODE_AROUND = 2,  /* what the post-processor puts around a text: <s> in front ... */
};

/* Special tokens: those that tokenizer.json or tokenizer_config.json call special, and added tokens of the form <|name|>.
 * Other added tokens (runs of spaces, <h1>) are vocabulary, and recognised always. */

/* From a model directory (tokenizer.json, or SentencePiece's tokenizer.model or spiece.model; tokenizer_config.json) or a
 * .gguf file. NULL and *error on failure. [any] */
struct nn_tokenizer *nn_tokenizer_open(const char *path, struct nn_error *error);
/* The same from the text of a tokenizer.json and, or NULL, of a tokenizer_config.json. */
struct nn_tokenizer *nn_tokenizer_parse(const char *json, size_t bytes, const char *config, size_t config_bytes,
					struct nn_error *error);
/* The same from a GGUF file's bytes, called `name` in errors; and from a SentencePiece model's. */
struct nn_tokenizer *nn_tokenizer_parse_gguf(const void *bytes, size_t n, const char *name, struct nn_error *error);
struct nn_tokenizer *nn_tokenizer_parse_sentencepiece(const void *bytes, size_t n, const char *config, size_t config_bytes,
						      struct nn_error *error);
/* A token of a SentencePiece model. */
struct nn_piece {
	const char *text; /* not NUL-terminated */
	size_t n;
	float score;
	unsigned char type; /* 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte: GGUF's numbers too */
};
/* For listings: 1 and the next token of a SentencePiece model's bytes, 0 at their end, or -EINVAL. [any] */
int nn_pieces_next(const unsigned char **at, const unsigned char *end, struct nn_piece *piece);
void nn_tokenizer_close(struct nn_tokenizer *t);
/* Appends to *ids. Linear in `bytes`; invalid UTF-8 is survived. `flags`: set of enum nn_encode. [any] */
int nn_tokenizer_encode(const struct nn_tokenizer *t, const char *text, size_t bytes, unsigned flags, struct nn_ids *ids,
			struct nn_error *error);
/* The bytes that an id stands for (maybe part of a character); special tokens give their text. NULL: no such id. Lives as
 * long as the tokenizer. */
const char *nn_tokenizer_piece(const struct nn_tokenizer *t, int32_t id, size_t *bytes);
/* The id of an added token, special or not, by its text, or -1. */
int32_t nn_tokenizer_special(const struct nn_tokenizer *t, const char *text);
int nn_tokenizer_is_special(const struct nn_tokenizer *t, int32_t id);
/* All special tokens, for guarding user text: i in [0, count). */
size_t nn_tokenizer_special_count(const struct nn_tokenizer *t);
const char *nn_tokenizer_special_at(const struct nn_tokenizer *t, size_t i, int32_t *id);
size_t nn_tokenizer_size(const struct nn_tokenizer *t);
int32_t nn_tokenizer_bos(const struct nn_tokenizer *t); /* -1: none */
int32_t nn_tokenizer_eos(const struct nn_tokenizer *t); /* -1: none */

#endif

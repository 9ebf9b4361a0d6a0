/* tokenizer-wordpiece.c - WordPiece (Schuster 2012) as GGUF files hold it: a word's first token begins with U+2581; greedily
 * the longest token is taken, and a word that cannot be cut up is one unknown token. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>

struct wordpiece {
	struct vocab *vocab;
	size_t longest; /* bytes of a token */
	int32_t unknown;
};

void *wordpiece_new(struct vocab *vocab, int32_t unknown)
{
	struct wordpiece *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	*w = (struct wordpiece){.vocab = vocab, .unknown = unknown};
	for (size_t i = 0; i < vocab->n; i++)
		if (vocab->entries[i].text && vocab->entries[i].bytes > w->longest)
			w->longest = vocab->entries[i].bytes;
	return w;
}

static int wordpiece_cut(const struct wordpiece *w, const char *s, size_t n, struct nn_ids *ids)
{
	const size_t before = ids->n;
	int failed = 0;

	for (size_t at = 0, length; at < n && !failed; at += length) {
		int32_t id = -1;

		length = n - at < w->longest ? n - at : w->longest;
		while (length && (id = vocab_find(w->vocab, s + at, length)) < 0)
			length--;
		if (!length) {
			ids->n = before;
			return w->unknown >= 0 ? ids_put(ids, w->unknown) : 0;
		}
		failed = ids_put(ids, id);
	}
	return failed;
}

static int wordpiece_encode(const void *model, const char *piece, size_t n, struct nn_ids *ids)
{
	struct text word = {0};
	int failed = text_puts(&word, "\xe2\x96\x81") || text_put(&word, piece, n) ? -ENOMEM : 0;

	if (!failed)
		failed = wordpiece_cut(model, word.data, word.n, ids);
	text_free(&word);
	return failed;
}

static void wordpiece_close(void *model)
{
	free(model);
}

const struct model_type wordpiece_model = {"wordpiece", NULL, wordpiece_encode, wordpiece_close};

/* qformer.h - instructions for Q-Formers: a case gives their ids, a connector takes text. */
#ifndef TESTS_GOLDEN_QFORMER_H
#define TESTS_GOLDEN_QFORMER_H

#include "tests/golden/part.h"

enum { QFORMER_TEXT_MAX = 20000 };

/* A folder like the case's with `file` as its config.json, and a Q-Former's tokenizer that knows ids as words. 0 or -1;
 * variant_remove() ends it. */
int qformer_variant(const struct golden *g, const char *file, char out[PATH_MAX]);
/* Instruction `i` of the case as words; returns how many, 0 without instructions. */
size_t qformer_words(const struct golden *g, size_t i, char text[QFORMER_TEXT_MAX]);

#endif

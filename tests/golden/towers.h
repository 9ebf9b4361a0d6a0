/* towers.h - what cases of picture and text towers share. */
#ifndef TESTS_GOLDEN_TOWERS_H
#define TESTS_GOLDEN_TOWERS_H

#include "tests/golden/part.h"

/* Rows that grow: one a call. */
struct rows {
	float *data;
	size_t n;
};
void rows_add(struct rows *r, const float *data, size_t n);
void rows_free(struct rows *r);

/* Encodes each picture of in.pixel_values by itself; their features and vectors. 0 or -1. */
int towers_pictures(struct part *p, struct golden *g, struct rows *features, struct rows *pooled);
/* Each row of in.input_ids, as far as its mask goes, as text. 0 or -1. */
int towers_texts(struct part *p, struct golden *g, struct rows *out);
/* A tokenizer.json whose token i is written as printf has it by `format`, so that ids can be given as text: "<|%u|>", special tokens, or
 * "[%u]", words; malloc'ed. */
char *towers_tokenizer(uint32_t vocab, const char *format) __attribute__((format(printf, 2, 0)));
/* Compares what the plugin showed under a name. */
void towers_check_tap(struct part *p, struct golden *g, const char *tap, const char *name);
/* x / |x| of each row. */
void towers_normalise(struct rows *r, size_t dim);
/* exp(logit_scale) * images texts^T, its transpose, and the softmax over texts; SigLIP: plus a bias, and the sigmoid. The scale lies in
 * the folder's `file`. */
void towers_similarity(struct golden *g, const char *file, const struct rows *images, const struct rows *texts, size_t dim, int siglip);

#endif

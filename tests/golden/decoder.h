/* decoder.h - runs of causal language models. */
#ifndef TESTS_GOLDEN_DECODER_H
#define TESTS_GOLDEN_DECODER_H

#include "tests/golden/part.h"

/* All logits of each prompt, and greedy tokens; `name` is of the outputs: "" or "Q8_0."; `compute` is the plugin's option, NULL
 * its default. */
void decoder_run(struct golden *g, const char *model, const char *name, const char *compute);
/* The folder's GGUF files; returns how many there are. */
int decoder_ggufs(struct golden *g);
/* "model-q4_k_m.gguf" is "Q4_K_M". 0 if it is no such file. */
int decoder_gguf_type(const char *file, char type[32]);
/* Sets the tolerance that case.json has under `key`; 0 if there is none. */
int decoder_tolerance(struct golden *g, const char *key);
/* got and want [DECODER_TOP]: log-probabilities of the tokens that are most likely after `want`'s logits [vocab]. */
enum { DECODER_TOP = 10 };
void decoder_top(const float *got_logits, const float *want_logits, uint32_t vocab, float *got, float *want);

#endif

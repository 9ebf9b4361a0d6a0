/* decoder.h - runs of causal language models. */
#ifndef TESTS_GOLDEN_DECODER_H
#define TESTS_GOLDEN_DECODER_H

#include "tests/golden/part.h"

/* All logits of each prompt, and greedy tokens; `name` is of the outputs: "" or "Q8_0."; `compute` is the plugin's option, NULL
 * its default. */
void decoder_run(struct golden *g, const char *model, const char *name, const char *compute);
/* The folder's GGUF files; returns how many there are. */
int decoder_ggufs(struct golden *g);

#endif

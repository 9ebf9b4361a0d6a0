/* pairs.h - the GGUF files in a case's folder, in pairs of language model and picture tower. */
#ifndef TESTS_GOLDEN_PAIRS_H
#define TESTS_GOLDEN_PAIRS_H

#include "tests/golden/golden.h"

/* Each language model, run(g, its file), with each picture tower, which is g->mmproj meanwhile: as closely as the folder itself, or,
 * with rounded weights, as far as those allow. */
void pairs_run(struct golden *g, void (*run)(struct golden *g, const char *model));

#endif

/* bundle-pair.h - a model as a pair of GGUF files: a language model, and the picture tower with its projector ("mmproj"). */
#ifndef ENGINE_BUNDLE_PAIR_H
#define ENGINE_BUNDLE_PAIR_H

#include "sdk/wire/frame.h"

/* Paths, malloc'ed. */
struct bundle_pair {
	char *text;  /* the language model's file, or the folder as it was given; NULL: there is none */
	char *tower; /* the picture tower's file; NULL: there is none */
};

/* What `model`, a file or a folder (NULL: none), and `mmproj` (a file; "none"; NULL: it is looked for beside the model) name. In a folder without
 * config.json the files are told apart by their headers; beside a file lies what has "mmproj" in its name and a projector to as many
 * values as the model's tokens have, of several the largest. 0, or *error (-32015) with one sentence. bundle_pair_fini() in either
 * case. [worker] */
int bundle_pair_find(struct bundle_pair *pair, const char *model, const char *mmproj, struct wire_error *error);
void bundle_pair_fini(struct bundle_pair *pair);

#endif

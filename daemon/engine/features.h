/* features.h - encoders' features in a folder of files, which the engines of a machine share: one encodes, others read. */
#ifndef ENGINE_FEATURES_H
#define ENGINE_FEATURES_H

#include <percept/plugin.h>
#include <stdint.h>

#include "sdk/wire/frame.h"

/* Read-only once open. */
struct features_store {
	char *folder; /* NULL: there is none */
	uint64_t budget;
};

/* `where`: "off", an absolute folder (made if it is not there), or "auto": that of PERCEPT_FEATURES, which perceptd sets. 0, or
 * *error. [worker] */
int features_open(struct features_store *store, const char *where, uint64_t budget, struct wire_error *error);
void features_close(struct features_store *store);

/* The features of `key` into memory of the call. 0, or -ENOENT: none are there that are whole, by their digest. [any] */
int features_load(const struct features_store *store, const char *key, struct percept_call *call, struct percept_features *features);
/* Keeps them, and gives up the longest unused ones beyond the budget. What fails is as if it had not been asked. [any] */
void features_save(const struct features_store *store, const char *key, const struct percept_features *features);

#endif

/* cache.h - the embeddings of media that were seen before, by content. All of it belongs to the loop. */
#ifndef ENGINE_CACHE_H
#define ENGINE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/list.h"
#include "daemon/engine/embeddings.h"
#include "sdk/nn/digest.h"

#define CACHE_BUCKETS 1024

enum cache_state { CACHE_FILLING, CACHE_READY, CACHE_GONE };

/* One item's embeddings. Counted: whoever uses it holds it; it outlives its place in the cache. */
struct cache_entry {
	struct list bucket, age;
	char key[NN_DIGEST_HEX];
	enum cache_state state;
	unsigned refs;
	struct list waiters; /* of whoever asked while it is being filled; the cache's user links them */
	struct embeddings embeddings; /* read by any thread that holds it, once ready */
};

struct cache {
	struct list buckets[CACHE_BUCKETS];
	struct list age; /* ready ones, the longest unused first */
	size_t budget, bytes;
	uint64_t entries, hits, misses;
};
void cache_init(struct cache *cache, size_t budget);
/* Every entry must have been released. */
void cache_fini(struct cache *cache);
/* The entry of `key`, held: ready (a hit), filling (somebody else is at it: wait), or a new one that is filling: *mine is 1, the
 * caller fills it. NULL when memory is out. [loop] */
struct cache_entry *cache_get(struct cache *cache, const char *key, int *mine);
/* The caller's entry is done: takes *embeddings over. Its waiters are then the caller's to wake. [loop] */
void cache_fill(struct cache *cache, struct cache_entry *entry, struct embeddings *embeddings);
/* The caller could not fill its entry: whoever asks next tries anew. Its waiters are then the caller's to wake. [loop] */
void cache_abandon(struct cache *cache, struct cache_entry *entry);
/* An entry of the caller's own, in no cache, ready. NULL when memory is out. [any] */
struct cache_entry *cache_private(struct embeddings *embeddings);
/* [loop] */
void cache_release(struct cache *cache, struct cache_entry *entry);

#endif

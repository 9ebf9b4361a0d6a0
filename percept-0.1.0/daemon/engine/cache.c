/* cache.c - the embeddings of media that were seen before, least recently used ones leaving first. */
#include "daemon/engine/cache.h"

#include <stdlib.h>
#include <string.h>

void cache_init(struct cache *cache, size_t budget)
{
	*cache = (struct cache){.budget = budget};
	for (size_t i = 0; i < CACHE_BUCKETS; i++)
		list_init(&cache->buckets[i]);
	list_init(&cache->age);
}

static void cache_entry_free(struct cache_entry *entry)
{
	embeddings_fini(&entry->embeddings);
	free(entry);
}

/* Out of the table; freed when nobody holds it. */
static void cache_drop(struct cache *cache, struct cache_entry *entry)
{
	if (entry->state == CACHE_READY) {
		cache->bytes -= entry->embeddings.bytes;
		cache->entries--;
	}
	list_remove(&entry->bucket);
	list_remove(&entry->age);
	entry->state = CACHE_GONE;
	if (entry->refs == 0)
		cache_entry_free(entry);
}

void cache_fini(struct cache *cache)
{
	while (!list_empty(&cache->age))
		cache_drop(cache, list_entry(cache->age.next, struct cache_entry, age));
}

static struct cache_entry *cache_new(void)
{
	struct cache_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	list_init(&entry->bucket);
	list_init(&entry->age);
	list_init(&entry->waiters);
	entry->refs = 1;
	return entry;
}

static struct list *cache_bucket(struct cache *cache, const char *key)
{
	uint32_t h = 2166136261u; /* FNV-1a; the key is a digest already */

	for (const char *c = key; *c; c++)
		h = (h ^ (unsigned char)*c) * 16777619u;
	return &cache->buckets[h % CACHE_BUCKETS];
}

struct cache_entry *cache_get(struct cache *cache, const char *key, int *mine)
{
	struct list *bucket = cache_bucket(cache, key), *node, *after;

	*mine = 0;
	list_each(node, after, bucket) {
		struct cache_entry *entry = list_entry(node, struct cache_entry, bucket);

		if (strcmp(entry->key, key) != 0)
			continue;
		entry->refs++;
		if (entry->state == CACHE_READY) {
			list_remove(&entry->age);
			list_add(&cache->age, &entry->age);
		}
		cache->hits++;
		return entry;
	}
	struct cache_entry *entry = cache_new();

	if (!entry)
		return NULL;
	memcpy(entry->key, key, strnlen(key, NN_DIGEST_HEX - 1));
	list_add(bucket, &entry->bucket);
	cache->misses++;
	*mine = 1;
	return entry;
}

void cache_fill(struct cache *cache, struct cache_entry *entry, struct embeddings *embeddings)
{
	entry->embeddings = *embeddings;
	*embeddings = (struct embeddings){0};
	entry->state = CACHE_READY;
	cache->bytes += entry->embeddings.bytes;
	cache->entries++;
	list_add(&cache->age, &entry->age);
	while (cache->bytes > cache->budget && !list_empty(&cache->age))
		cache_drop(cache, list_entry(cache->age.next, struct cache_entry, age));
}

void cache_abandon(struct cache *cache, struct cache_entry *entry)
{
	if (entry->state == CACHE_FILLING)
		cache_drop(cache, entry);
}

struct cache_entry *cache_private(struct embeddings *embeddings)
{
	struct cache_entry *entry = cache_new();

	if (!entry)
		return NULL;
	entry->embeddings = *embeddings;
	*embeddings = (struct embeddings){0};
	entry->state = CACHE_GONE;
	return entry;
}

void cache_release(struct cache *cache, struct cache_entry *entry)
{
	if (entry && --entry->refs == 0 && entry->state == CACHE_GONE)
		cache_entry_free(entry);
}

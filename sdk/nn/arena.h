/* arena.h - memory that is freed all at once. */
#ifndef NN_ARENA_H
#define NN_ARENA_H

#include <stddef.h>

struct nn_arena;

/* An arena of at most `limit` bytes (0: no limit); NULL when memory is out. [any] */
struct nn_arena *nn_arena_new(size_t limit);
void nn_arena_free(struct nn_arena *arena);
/* `bytes` aligned to 64, uninitialised; NULL when memory or the limit is out. One thread at a time. */
void *nn_arena_alloc(struct nn_arena *arena, size_t bytes);
/* Gives everything back for reuse and keeps the memory. */
void nn_arena_reset(struct nn_arena *arena);
/* Bytes held from the system. */
size_t nn_arena_bytes(const struct nn_arena *arena);

#endif

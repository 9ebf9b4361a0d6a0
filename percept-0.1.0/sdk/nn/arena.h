/* arena.h - memory that is freed all at once. */
#ifndef NN_ARENA_H
#define NN_ARENA_H

#include <stddef.h>

struct nn_arena;

/* A place in an arena: what was taken after it can be given back. */
struct nn_arena_mark {
	void *chunk;
	size_t used;
};

/* An arena of at most `limit` bytes (0: no limit); NULL when memory is out. [any] */
struct nn_arena *nn_arena_new(size_t limit);
void nn_arena_free(struct nn_arena *arena);
/* `bytes` aligned to 64, uninitialised; NULL when memory or the limit is out. One thread at a time. */
void *nn_arena_alloc(struct nn_arena *arena, size_t bytes);
/* Where the arena stands, and back to there: all that was taken in between is gone, its memory is kept for reuse. */
struct nn_arena_mark nn_arena_mark(const struct nn_arena *arena);
void nn_arena_release(struct nn_arena *arena, struct nn_arena_mark mark);
/* Gives everything back for reuse and keeps the memory. */
void nn_arena_reset(struct nn_arena *arena);
/* Bytes held from the system. */
size_t nn_arena_bytes(const struct nn_arena *arena);

#endif

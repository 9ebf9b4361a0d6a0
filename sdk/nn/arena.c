/* arena.c - memory that is freed all at once: a list of growing chunks. */
#include "sdk/nn/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ARENA_ALIGN = 64, ARENA_FIRST = 32 << 10, ARENA_LARGEST = 64 << 20, ARENA_HUGE = 2 << 20 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used;
	unsigned char *data;
};

struct nn_arena {
	struct arena_chunk *first, *current; /* chunks after `current` are empty */
	size_t limit, held;
};

struct nn_arena *nn_arena_new(size_t limit)
{
	struct nn_arena *arena = calloc(1, sizeof(*arena));

	if (arena)
		arena->limit = limit;
	return arena;
}

void nn_arena_free(struct nn_arena *arena)
{
	if (!arena)
		return;
	for (struct arena_chunk *c = arena->first, *next; c; c = next) {
		next = c->next;
		free(c->data);
		free(c);
	}
	free(arena);
}

/* Large chunks lie on huge pages where the system has them: weights are read from end to end, again and again. */
static unsigned char *arena_memory(size_t size)
{
	void *p = NULL;

	if (posix_memalign(&p, size < 2 * ARENA_HUGE ? ARENA_ALIGN : ARENA_HUGE, size))
		return NULL;
	if (size >= 2 * ARENA_HUGE)
		madvise(p, size & ~(size_t)(ARENA_HUGE - 1), MADV_HUGEPAGE);
	return p;
}

/* A new chunk of at least `bytes` behind the current one. */
static struct arena_chunk *arena_grow(struct nn_arena *arena, size_t bytes)
{
	size_t size = arena->held < ARENA_FIRST ? ARENA_FIRST : arena->held;

	if (size > ARENA_LARGEST)
		size = ARENA_LARGEST;
	if (arena->limit && size > arena->limit - arena->held)
		size = (arena->limit - arena->held) & ~(size_t)(ARENA_ALIGN - 1);
	if (size < bytes)
		size = bytes;
	if (arena->limit && size > arena->limit - arena->held)
		return NULL;
	struct arena_chunk *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct arena_chunk){ .size = size, .data = arena_memory(size) };
	if (!c->data) {
		free(c);
		return NULL;
	}
	arena->held += size;
	struct arena_chunk **link = arena->current ? &arena->current->next : &arena->first;

	c->next = *link;
	*link = c;
	return c;
}

void *nn_arena_alloc(struct nn_arena *arena, size_t bytes)
{
	if (bytes > SIZE_MAX - ARENA_ALIGN)
		return NULL;
	bytes = bytes ? (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1) : ARENA_ALIGN;
	struct arena_chunk *c = arena->current ? arena->current : arena->first;

	while (c && c->size - c->used < bytes) {
		/* What is skipped stays unused until the arena is reset or released. */
		if (!c->next)
			break;
		c = c->next;
		arena->current = c;
	}
	if (!c || c->size - c->used < bytes) {
		c = arena_grow(arena, bytes);
		if (!c)
			return NULL;
	}
	arena->current = c;
	void *p = c->data + c->used;

	c->used += bytes;
	return p;
}

struct nn_arena_mark nn_arena_mark(const struct nn_arena *arena)
{
	return (struct nn_arena_mark){ arena->current, arena->current ? arena->current->used : 0 };
}

void nn_arena_release(struct nn_arena *arena, struct nn_arena_mark mark)
{
	struct arena_chunk *to = mark.chunk ? mark.chunk : arena->first;

	if (!to)
		return;
	to->used = mark.used;
	for (struct arena_chunk *c = to->next; c; c = c->next)
		c->used = 0;
	arena->current = to;
}

void nn_arena_reset(struct nn_arena *arena)
{
	nn_arena_release(arena, (struct nn_arena_mark){ NULL, 0 });
}

size_t nn_arena_bytes(const struct nn_arena *arena)
{
	return arena->held;
}

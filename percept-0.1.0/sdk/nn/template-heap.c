/* template-heap.c - memory that is freed all at once, and borrowed strings. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HEAP_BLOCK = 32 << 10, HEAP_ALIGN = 16 };

struct heap_block {
	struct heap_block *next;
	size_t size;
	_Alignas(HEAP_ALIGN) unsigned char data[];
};

void *heap_alloc(struct heap *heap, size_t bytes)
{
	size_t need = (bytes + HEAP_ALIGN - 1) & ~(size_t)(HEAP_ALIGN - 1);

	if (need < bytes)
		return NULL;
	if (!heap->blocks || need > heap->left) {
		size_t size = need > HEAP_BLOCK ? need : HEAP_BLOCK;

		if (heap->limit && (size > heap->limit || heap->held > heap->limit - size))
			return NULL;
		struct heap_block *block = calloc(1, sizeof(*block) + size);

		if (!block)
			return NULL;
		block->size = size;
		block->next = heap->blocks;
		heap->blocks = block;
		heap->left = size;
		heap->held += size;
	}
	void *made = heap->blocks->data + (heap->blocks->size - heap->left);

	heap->left -= need;
	return made;
}

int heap_reserve(struct heap *heap, void *array, size_t *room, size_t need, size_t size)
{
	void **items = array;
	size_t grown = *room > SIZE_MAX / 2 ? SIZE_MAX : *room * 2, bytes;

	if (need <= *room)
		return 0;
	if (grown < need)
		grown = need;
	if (grown < 4)
		grown = 4;
	if (__builtin_mul_overflow(grown, size, &bytes))
		return -ENOMEM;
	void *moved = heap_alloc(heap, bytes);

	if (!moved)
		return -ENOMEM;
	if (*room)
		memcpy(moved, *items, *room * size);
	*items = moved;
	*room = grown;
	return 0;
}

void heap_free(struct heap *heap)
{
	for (struct heap_block *b = heap->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	*heap = (struct heap){0};
}

struct str str_of(const char *s)
{
	return (struct str){s, strlen(s)};
}

int str_same(struct str a, struct str b)
{
	return a.n == b.n && (!a.n || !memcmp(a.s, b.s, a.n));
}

int str_is(struct str a, const char *b)
{
	return str_same(a, str_of(b));
}

int str_keep(struct heap *heap, struct str s, struct str *kept)
{
	char *copy = heap_alloc(heap, s.n + 1);

	if (!copy)
		return -ENOMEM;
	if (s.n)
		memcpy(copy, s.s, s.n);
	*kept = (struct str){copy, s.n};
	return 0;
}

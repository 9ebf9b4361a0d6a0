/* tokenizer-merge.c - a text's symbols merged pair by pair, the pair of the lowest rank first, of equal ones the leftmost.
 *
 * A linked list of symbols and a heap of the pairs that can be merged, so that n characters cost O(n log n).
 */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>

struct merge_pair {
	uint32_t rank;
	int32_t at, id;
};

static int merge_before(const struct merge_pair *a, const struct merge_pair *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static int merge_push(struct merge_word *w, struct merge_pair pair)
{
	size_t i = w->n_heap;

	if (text_reserve(&w->heap, &w->heap_room, w->n_heap + 1, sizeof(*w->heap)))
		return -ENOMEM;
	w->n_heap++;
	for (; i && merge_before(&pair, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = pair;
	return 0;
}

static struct merge_pair merge_pop(struct merge_word *w)
{
	struct merge_pair top = w->heap[0], last = w->heap[--w->n_heap];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
		if (child + 1 < w->n_heap && merge_before(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!merge_before(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
	}
	w->heap[i] = last;
	return top;
}

/* Queues the pair that begins at `at`, if it can be merged. */
static int merge_consider(struct merge_word *w, merge_find *find, const void *model, int32_t at)
{
	uint32_t rank = 0;

	if (at < 0 || w->symbols[at].next < 0)
		return 0;
	const int32_t id = find(model, w, &w->symbols[at], &w->symbols[w->symbols[at].next], &rank);

	return id >= 0 ? merge_push(w, (struct merge_pair){rank, at, id}) : 0;
}

int merge_all(struct merge_word *w, merge_find *find, const void *model)
{
	struct merge_symbol *s = w->symbols;
	uint32_t rank;

	for (size_t i = 0; i + 1 < w->n; i++)
		if (merge_consider(w, find, model, (int32_t)i))
			return -ENOMEM;
	while (w->n_heap) {
		struct merge_pair top = merge_pop(w);
		int32_t next = s[top.at].next;

		/* One side may have been merged with another meanwhile. */
		if (!s[top.at].n || next < 0 || find(model, w, &s[top.at], &s[next], &rank) != top.id)
			continue;
		s[top.at].id = top.id;
		s[top.at].n += s[next].n;
		s[top.at].next = s[next].next;
		if (s[next].next >= 0)
			s[s[next].next].previous = top.at;
		s[next].n = 0;
		if (merge_consider(w, find, model, s[top.at].previous) || merge_consider(w, find, model, top.at))
			return -ENOMEM;
	}
	return 0;
}

int merge_add(struct merge_word *w, int32_t id, size_t at, size_t n)
{
	int32_t i = (int32_t)w->n;

	if (w->n >= INT32_MAX - 1 || at > UINT32_MAX - n ||
	    text_reserve(&w->symbols, &w->symbols_room, w->n + 1, sizeof(*w->symbols)))
		return -ENOMEM;
	if (i)
		w->symbols[i - 1].next = i;
	w->symbols[w->n++] = (struct merge_symbol){id, i - 1, -1, (uint32_t)at, (uint32_t)n};
	return 0;
}

void merge_free(struct merge_word *w)
{
	free(w->symbols);
	free(w->heap);
}

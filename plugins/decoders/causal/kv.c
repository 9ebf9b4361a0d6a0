/* kv.c - keys and values of sequences: counted pages, copied when a shared one is written. */
#include "plugins/decoders/causal/kv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t kv_page_bytes(const struct kv *kv)
{
	return sizeof(struct kv_page) + kv->n_layers * kv->stride;
}

static struct kv_page *kv_page_new(struct kv *kv)
{
	const size_t bytes = kv_page_bytes(kv);
	struct kv_page *page = bytes <= kv->budget->most - kv->budget->used ? aligned_alloc(64, bytes) : NULL;

	if (page) {
		memset(page, 0, bytes); /* rows that are not yet written are finite */
		page->refs = 1;
		kv->pages++;
		kv->budget->used += bytes;
	}
	return page;
}

static void kv_page_unref(struct kv *kv, struct kv_page *page)
{
	if (--page->refs)
		return;
	free(page);
	kv->pages--;
	kv->budget->used -= kv_page_bytes(kv);
}

uint64_t kv_budget_default(void)
{
	const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : (uint64_t)1 << 31;
	FILE *in = fopen("/proc/meminfo", "re");
	unsigned long long kib;
	char line[128];

	while (in && fgets(line, sizeof(line), in))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			bytes = kib << 10;
	if (in)
		fclose(in);
	return bytes / 2;
}

int kv_init(struct kv *kv, uint32_t n_layers, const struct nn_page_shape *shape, uint32_t n_sequences, uint32_t window,
	    struct kv_budget *budget)
{
	*kv = (struct kv){ .n_layers = n_layers, .n_sequences = n_sequences, .shape = *shape, .window = window,
			   .stride = nn_page_bytes(shape), .budget = budget };
	kv->sequences = calloc(n_sequences ? n_sequences : 1, sizeof(*kv->sequences));
	return kv->sequences ? 0 : -ENOMEM;
}

void kv_fini(struct kv *kv)
{
	for (uint32_t i = 0; kv->sequences && i < kv->n_sequences; i++) {
		kv_trim(kv, i, 0);
		free(kv->sequences[i].pages);
	}
	free(kv->sequences);
}

/* Room for `n` page pointers. */
static int kv_grow(struct kv_sequence *s, uint32_t n)
{
	if (n <= s->room)
		return 0;
	uint32_t room = n < 16 ? 16 : n + n / 2;
	struct kv_page **pages = realloc(s->pages, room * sizeof(*pages));

	if (!pages)
		return -ENOMEM;
	s->pages = pages;
	s->room = room;
	return 0;
}

static uint32_t kv_pages_of(uint32_t rows)
{
	return rows / KV_PAGE + (rows % KV_PAGE != 0);
}

/* The first page that a row behind `length` others sees. */
static uint32_t kv_first(const struct kv *kv, uint32_t length)
{
	return kv->window && length >= kv->window ? (length + 1 - kv->window) / KV_PAGE : 0;
}

int kv_trim(struct kv *kv, uint32_t sequence, uint32_t length)
{
	if (sequence >= kv->n_sequences || length > kv->sequences[sequence].n)
		return -EINVAL;
	struct kv_sequence *s = &kv->sequences[sequence];

	if (length && s->gone > kv_first(kv, length))
		return -ERANGE;
	while (s->n_pages > kv_pages_of(length)) {
		if (--s->n_pages >= s->gone)
			kv_page_unref(kv, s->pages[s->n_pages]);
	}
	if (s->gone > s->n_pages)
		s->gone = s->n_pages;
	s->n = length;
	return 0;
}

void kv_forget(struct kv *kv, uint32_t sequence)
{
	struct kv_sequence *s = &kv->sequences[sequence];
	const uint32_t first = kv_first(kv, s->n > KV_SLACK ? s->n - KV_SLACK : 0);

	for (; s->gone < first && s->gone < s->n_pages; s->gone++) {
		kv_page_unref(kv, s->pages[s->gone]);
		s->pages[s->gone] = NULL;
	}
}

int kv_fork(struct kv *kv, uint32_t from, uint32_t to, uint32_t length)
{
	if (from >= kv->n_sequences || to >= kv->n_sequences || length > kv->sequences[from].n)
		return -EINVAL;
	if (from == to)
		return kv_trim(kv, to, length);
	struct kv_sequence *source = &kv->sequences[from], *target = &kv->sequences[to];
	const uint32_t n = kv_pages_of(length);

	if (length && source->gone > kv_first(kv, length))
		return -ERANGE;
	if (kv_grow(target, n))
		return -ENOMEM;
	kv_trim(kv, to, 0);
	for (uint32_t i = 0; i < n; i++) {
		target->pages[i] = source->pages[i];
		if (i >= source->gone)
			target->pages[i]->refs++;
	}
	target->gone = n ? source->gone : 0;
	target->n = length;
	target->n_pages = n;
	return 0;
}

uint64_t kv_bytes(const struct kv *kv, uint32_t sequence)
{
	if (sequence == UINT32_MAX)
		return kv->pages * kv_page_bytes(kv);
	return sequence < kv->n_sequences ? (kv->sequences[sequence].n_pages - kv->sequences[sequence].gone) * kv_page_bytes(kv) :
					      0;
}

int kv_reserve(struct kv *kv, uint32_t sequence, uint32_t extra)
{
	struct kv_sequence *s = &kv->sequences[sequence];
	const uint32_t last = s->n / KV_PAGE, n = kv_pages_of(s->n + extra);

	if (!extra)
		return 0;
	if (kv_grow(s, n))
		return -ENOMEM;
	if (last < s->n_pages && s->pages[last]->refs > 1) {
		struct kv_page *copy = kv_page_new(kv);

		if (!copy)
			return -ENOMEM;
		memcpy(copy->data, s->pages[last]->data, kv_page_bytes(kv) - sizeof(*copy));
		kv_page_unref(kv, s->pages[last]);
		s->pages[last] = copy;
	}
	while (s->n_pages < n) {
		struct kv_page *page = kv_page_new(kv);

		if (!page)
			return -ENOMEM;
		s->pages[s->n_pages++] = page;
	}
	return 0;
}

void kv_list(const struct kv *kv, uint32_t sequence, uint32_t layer, void **list)
{
	const struct kv_sequence *s = &kv->sequences[sequence];

	for (uint32_t i = s->gone; i < s->n_pages; i++)
		list[i] = s->pages[i]->data + layer * kv->stride;
}

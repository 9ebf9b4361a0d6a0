/* kv.h - keys and values of sequences, in pages of 32 rows that sequences share until one of them writes. */
#ifndef CAUSAL_KV_H
#define CAUSAL_KV_H

#include <stdint.h>

enum { KV_PAGE = 32 };

/* A page holds every layer's part of KV_PAGE rows: keys f32 [layer][kv_head][head_dim][KV_PAGE] (transposed, so that scores
 * of a page are sums over vectors), then values f32 [layer][kv_head][KV_PAGE][head_dim]. */
struct kv_page {
	uint32_t refs, reserved[3]; /* keeps `data` aligned */
	float data[];
};

struct kv_sequence {
	struct kv_page **pages;
	uint32_t n, n_pages, room; /* rows, pages, places in `pages` */
};

struct kv {
	uint32_t n_layers, n_heads, head_dim, n_sequences;
	uint64_t pages;                  /* alive */
	struct kv_sequence *sequences;
};

/* -ENOMEM or 0. [any] */
int kv_init(struct kv *kv, uint32_t n_layers, uint32_t n_heads, uint32_t head_dim, uint32_t n_sequences);
void kv_fini(struct kv *kv);
/* Sequence `to` begins with the first `length` rows of `from`; what it held before is dropped. -EINVAL, -ENOMEM. [one] */
int kv_fork(struct kv *kv, uint32_t from, uint32_t to, uint32_t length);
/* Keeps the first `length` rows. -EINVAL if there are fewer. [one] */
int kv_trim(struct kv *kv, uint32_t sequence, uint32_t length);
/* Bytes of a sequence's pages, shared ones counted whole; UINT32_MAX: of all pages. */
uint64_t kv_bytes(const struct kv *kv, uint32_t sequence);
/* Makes rows [n, n + extra) writable: pages of its own from the row n on. On failure the rows are as before. [one] */
int kv_reserve(struct kv *kv, uint32_t sequence, uint32_t extra);

/* Where row `row` of a head begins: keys have stride KV_PAGE, values stride 1. */
static inline float *kv_keys(const struct kv *kv, const struct kv_page *page, uint32_t layer, uint32_t head)
{
	return (float *)page->data + ((uint64_t)layer * kv->n_heads + head) * kv->head_dim * KV_PAGE;
}

static inline float *kv_values(const struct kv *kv, const struct kv_page *page, uint32_t layer, uint32_t head)
{
	return kv_keys(kv, page, kv->n_layers + layer, head);
}

#endif

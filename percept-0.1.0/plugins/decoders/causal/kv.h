/* kv.h - keys and values of sequences, in pages of 32 rows that sequences share until one of them writes. */
#ifndef CAUSAL_KV_H
#define CAUSAL_KV_H

#include <stdint.h>

#include "sdk/nn/ops.h"

enum { KV_PAGE = NN_PAGE };

/* KV_PAGE rows of every layer: `stride` floats a layer, each a page as sdk/nn lays it out. Aligned to 64. */
struct kv_page {
	uint32_t refs, reserved[15];
	float data[];
};

struct kv_sequence {
	struct kv_page **pages;
	uint32_t n, n_pages, room; /* rows, pages, places in `pages` */
};

struct kv {
	uint32_t n_layers, n_sequences;
	struct nn_page_shape shape;
	size_t stride;                   /* floats of a layer in a page */
	uint64_t pages;                  /* alive */
	struct kv_sequence *sequences;
};

/* -ENOMEM or 0. *shape is that of one layer. [any] */
int kv_init(struct kv *kv, uint32_t n_layers, const struct nn_page_shape *shape, uint32_t n_sequences);
void kv_fini(struct kv *kv);
/* Sequence `to` begins with the first `length` rows of `from`; what it held before is dropped. -EINVAL, -ENOMEM. [one] */
int kv_fork(struct kv *kv, uint32_t from, uint32_t to, uint32_t length);
/* Keeps the first `length` rows. -EINVAL if there are fewer. [one] */
int kv_trim(struct kv *kv, uint32_t sequence, uint32_t length);
/* Bytes of a sequence's pages, shared ones counted whole; UINT32_MAX: of all pages. */
uint64_t kv_bytes(const struct kv *kv, uint32_t sequence);
/* Makes rows [n, n + extra) writable: pages of its own from the row n on. On failure the rows are as before. [one] */
int kv_reserve(struct kv *kv, uint32_t sequence, uint32_t extra);

#endif

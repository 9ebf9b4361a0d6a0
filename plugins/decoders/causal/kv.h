/* kv.h - keys and values of sequences, in pages of 32 rows that sequences share until one of them writes. */
#ifndef CAUSAL_KV_H
#define CAUSAL_KV_H

#include <stdint.h>

#include "sdk/nn/ops.h"

/* KV_SLACK: rows that are kept before a window, so that a sequence can be cut a little. */
enum { KV_PAGE = NN_PAGE, KV_SLACK = 128 };

/* KV_PAGE rows of every layer: `stride` bytes a layer, each a page as sdk/nn lays it out. Aligned to 64. */
struct kv_page {
	uint32_t refs, reserved[15];
	unsigned char data[];
};

struct kv_sequence {
	struct kv_page **pages;    /* NULL: given up, before every window */
	uint32_t n, n_pages, room; /* rows, pages, places in `pages` */
	uint32_t gone;             /* pages that were given up, the first ones */
};

/* Bytes of pages that are alive, and that may be. */
struct kv_budget {
	uint64_t used, most;
};

/* Layers that see equally far share one of these. */
struct kv {
	uint32_t n_layers, n_sequences;
	uint32_t window;                 /* rows that a row sees, itself included; 0: all */
	struct nn_page_shape shape;
	size_t stride;                   /* bytes of a layer in a page */
	uint64_t pages;                  /* alive */
	struct kv_budget *budget;        /* shared */
	struct kv_sequence *sequences;
};

/* Half of the memory that the machine has left now. [any] */
uint64_t kv_budget_default(void);
/* -ENOMEM or 0. *shape is that of one layer; *budget outlives kv. [any] */
int kv_init(struct kv *kv, uint32_t n_layers, const struct nn_page_shape *shape, uint32_t n_sequences, uint32_t window,
	    struct kv_budget *budget);
void kv_fini(struct kv *kv);
/* Sequence `to` begins with the first `length` rows of `from`; what it held before is dropped. -EINVAL, -ENOMEM; -ERANGE if
 * rows that the window of the next one covers were given up. [one] */
int kv_fork(struct kv *kv, uint32_t from, uint32_t to, uint32_t length);
/* Keeps the first `length` rows. -EINVAL if there are fewer, -ERANGE as above. [one] */
int kv_trim(struct kv *kv, uint32_t sequence, uint32_t length);
/* Bytes of a sequence's pages, shared ones counted whole; UINT32_MAX: of all pages. */
uint64_t kv_bytes(const struct kv *kv, uint32_t sequence);
/* Makes rows [n, n + extra) writable: pages of its own from the row n on. On failure the rows are as before. [one] */
int kv_reserve(struct kv *kv, uint32_t sequence, uint32_t extra);
/* The pages of one layer, as nn_attention_paged() takes them: list [the sequence's n_pages]; those given up are left as
 * they are. */
void kv_list(const struct kv *kv, uint32_t sequence, uint32_t layer, void **list);
/* Gives up the pages that no window covers any more. [one] */
void kv_forget(struct kv *kv, uint32_t sequence);

#endif

/* gated.h - an opened connector of gated cross-attention (Alayrac 2022, Flamingo, section 3.1.2; Laurencon 2023, Idefics): blocks in front
 * of some of a decoder's layers.
 *
 *   x += tanh(gate) * out(attention(q n, k m, v m)),    n = norm(x), m the picture that a row has seen last
 *   x += tanh(gate) * feed_forward(norm(x))
 */
#ifndef GATED_H
#define GATED_H

#include <percept/plugin.h>

#include "plugins/connectors/resampler/perceiver.h"
#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

enum { GATED_LAYERS_MAX = 4096, GATED_DIM_MAX = 1 << 20, GATED_ROWS_MAX = 1 << 20 };

struct gated_norm {
	const float *w, *b; /* b NULL: none; w NULL: no norm */
};

struct block {
	struct gated_norm norm, q_norm, k_norm;           /* of d_model; of head_dim, for each head */
	const struct nn_weight *q, *k, *v, *out;          /* (inner, d_model), (inner, media_dim), (d_model, inner) */
	struct gated_norm feed;
	const struct nn_weight *gate, *up, *down;         /* gate NULL: not gated in itself */
	const float *attention_gate, *feed_gate;          /* [d_model] tanh of the file's */
};

struct gated;

/* What sets the families apart. */
struct gated_kind {
	const char *name;
	int rms;                            /* RMSNorm instead of LayerNorm */
	enum nn_activation activation;
	/* config.json's numbers, and which layers have a block: g->at. 0 or l->error->code. */
	int (*configure)(struct gated *g, struct nn_loader *l, const cJSON *config);
	/* The tensors of the block in front of layer `layer`. */
	void (*load)(struct gated *g, struct nn_loader *l, struct block *b, uint32_t layer);
	const char *before, *marker, *after; /* text around a picture's place; before, after NULL: none */
};
extern const struct gated_kind gated_idefics, gated_flamingo;

/* Keys and values of all blocks: block b has pages[b * n_pages] ... */
struct keys {
	uint32_t rows, n_pages;
	unsigned char *data;
	void **pages;
};

/* One picture. */
struct memory {
	struct keys keys;          /* where text looks at one picture at a time */
	float *rows;               /* else k, v of each block: [blocks][2][keys.rows][inner] */
	uint32_t time;             /* which picture of a prompt it was made for, where that matters */
	float *features;           /* to make it for another one; NULL: it does not matter */
	struct percept_layout layout; /* of the features */
	struct memory *next;       /* the same picture at another time */
	uint64_t bytes;
};

/* What is bound to a sequence. */
struct bound {
	struct memory **items;     /* by media, counted from 1; NULL: not bound */
	uint32_t n, room;
	/* Where text looks at all pictures: what they have together, and how many rows the first 0, 1, 2 ... of them have. */
	struct keys keys;
	uint32_t *until;           /* NULL: to be made */
};

struct gated {
	const struct gated_kind *kind;
	struct nn_checkpoint *checkpoint;
	struct perceiver perceiver;
	int resamples;                     /* there is a perceiver */
	enum nn_compute compute;           /* of what is done once for a picture */
	uint32_t in_dim, media_dim;        /* of features, of what keys and values are made of */
	uint32_t d_model, n_layers;        /* n_layers 0: any */
	uint32_t n_heads, head_dim, d_ff;
	int at_once;                       /* text looks at all pictures that it has seen, else at the last one */
	float norm_eps;
	enum nn_activation activation;
	uint32_t n_blocks;
	struct block *blocks;
	uint32_t *at;                      /* [layers] the block in front of a layer, counted from 1; 0: none */
	uint32_t n_at;
	struct nn_page_shape page;
	uint32_t n_sequences;
	struct bound *bound;               /* [n_sequences] */
	struct nn_arena *arena;            /* of hooks */
	uint64_t weight_bytes;
	char *marker, identity[320];
};

/* load.c: reads configuration and weights; the checkpoint is open. 0 or error->code. [any] */
int gated_load(struct gated *g, struct nn_error *error);
/* For kinds: a matrix for nn_linear() or, with `once`, for nn_gemm(); a norm's vectors; a gate's tanh [d_model]. */
const struct nn_weight *gated_matrix(struct gated *g, struct nn_loader *l, size_t rows, size_t cols, int once, const char *name, ...)
	__attribute__((format(printf, 6, 7)));
const struct nn_weight *gated_pack(struct gated *g, struct nn_loader *l, struct nn_weight *w, int once);
struct gated_norm gated_norm(struct gated *g, struct nn_loader *l, size_t n, const char *name, ...) __attribute__((format(printf, 4, 5)));
const float *gated_gate(struct gated *g, struct nn_loader *l, const char *name, ...) __attribute__((format(printf, 3, 4)));

/* memory.c */
int memory_make(struct percept_call *call, struct gated *g, const struct percept_features *features, struct memory **memory);
void memory_free(struct memory *m);
/* The memory as picture number `time` of a prompt, counted from 0. 0 or a negative errno after percept_fail(). */
int memory_at(struct percept_call *call, struct gated *g, struct memory *m, uint32_t time, struct memory **found);

/* keys.c: room for keys and values of `rows` rows. 0 or -ENOMEM; keys_fini() in either case. */
int keys_init(struct keys *keys, const struct gated *g, uint32_t rows);
void keys_fini(struct keys *keys);
uint64_t keys_bytes(const struct keys *keys, const struct gated *g);
/* Rows [first, first + k.rows) of block `block` become k and v. */
void keys_write(struct nn *c, const struct gated *g, struct keys *keys, uint32_t block, uint32_t first, struct nn_tensor k,
		struct nn_tensor v);

/* bound.c: binds item `media` of a sequence, or unbinds it (NULL). 0 or a negative errno after percept_fail(). */
int bound_set(struct percept_call *call, struct gated *g, uint32_t sequence, uint32_t media, struct memory *memory);
void bound_fini(struct bound *b);
/* Whether anything is bound. */
int bound_any(const struct bound *b);
/* What a row that has seen `seen` items looks at: its keys, and how many of them; NULL: nothing. -EINVAL if it has seen what is not bound. */
int bound_seen(const struct gated *g, const struct bound *b, uint32_t seen, const struct keys **keys, uint32_t *visible);
/* Puts the pictures of all sequences together, where text looks at all of them. 0 or c->error. */
int bound_join(struct nn *c, struct gated *g);

/* hooks.c */
int gated_hooks(struct percept_call *call, void *fusion, struct percept_hooks *hooks);

#endif

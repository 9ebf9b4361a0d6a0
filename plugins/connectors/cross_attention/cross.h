/* cross.h - the layers of Llama 3.2 Vision (Grattafiori 2024) that attend pictures, each between two of the decoder's:
 *
 *   x += tanh(a) out(attention(q_norm(q n), k_norm(k m), v m)),    n = norm1(x), m = what is remembered of pictures
 *   x += tanh(f) down(activation(gate h) * (up h)),                h = norm2(x)
 *
 * A row attends the real tiles of the unbroken run of pictures that ends with the last one before it. Rows before the first picture attend
 * all tiles of all of the prompt's pictures, padding ones included, and have no second half: so the reference has it.
 */
#ifndef CROSS_H
#define CROSS_H

#include <percept/plugin.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

/* Columns behind a head's own. A key that is nobody's, or of a padding tile, has CROSS_FAR in one of them; a query's are 1 where it must not
 * see such keys, else 0: their weights vanish. */
enum { CROSS_GAP, CROSS_PADDING, CROSS_MORE };
#define CROSS_FAR (-30000.0f)

struct cross_layer {
	uint32_t before;                 /* which of the decoder's layers it stands in front of; their number: behind the last */
	const float *norm1, *norm2;      /* [d_model] */
	const float *q_norm, *k_norm;    /* [head_dim] */
	const struct nn_weight *q, *k, *v, *out, *gate, *up, *down;
	float attend, feed;              /* tanh of the gates */
};

/* A sequence's items. */
struct cross_sequence {
	struct cross_memory **items;     /* [room], by their numbers; NULL: none is bound */
	uint32_t n, room;                /* n: the last that is bound */
	uint32_t *begins;                /* [n + 1] an item's first page among all */
	void ***pages;                   /* [n_cross][begins[n]], of hooks() */
	int stale;                       /* they are of other items */
};

struct cross {
	struct nn_checkpoint *checkpoint;
	uint32_t in_dim, d_model, d_ff, n_heads, n_kv_heads, head_dim, n_layers, n_cross;
	float eps;
	enum nn_activation activation;
	const struct nn_weight *projector; /* (d_model, in_dim) */
	const float *projector_bias;
	struct cross_layer *layers;
	int whole;                       /* rows before the first picture attend, too */
	struct nn_page_shape page;
	uint32_t n_sequences;
	struct cross_sequence *sequences;
	struct nn_arena *arena;          /* of a hook's work */
	uint64_t weight_bytes;
	const char *marker;
	char identity[192], marker_text[64];
};

/* Keys and values of an item, layer by layer: rows of real tiles, then of padding ones, then what fills the last page. */
struct cross_memory {
	uint32_t real, all, n_pages;     /* rows; pages of a layer */
	unsigned char *pages;            /* [n_cross][n_pages] */
};

/* load.c: reads and loads the model of `path`. 0, or error->code; the owner frees x->layers and the checkpoint in either case. */
int cross_load(struct cross *x, const char *path, enum nn_compute how, struct nn_error *error);
/* memory.c: percept_fusion's functions. */
int cross_remember(struct percept_call *call, void *fusion, const struct percept_features *features, void **memory, uint64_t *bytes);
void cross_forget(void *fusion, void *memory);
int cross_bind(struct percept_call *call, void *fusion, uint32_t sequence, uint32_t media, void *memory);
/* The lists of all sequences are of what is bound. 0 or -ENOMEM. */
int cross_list(struct cross *x);
void cross_unlist(struct cross_sequence *s);
/* attend.c: percept_hooks' functions. */
int cross_before(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows, uint32_t n, float *hidden);
int cross_after(struct percept_call *call, void *state, uint32_t layer, const struct percept_row *rows, uint32_t n, float *hidden);

#endif

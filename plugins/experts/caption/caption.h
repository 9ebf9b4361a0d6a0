/* caption.h - an opened captioner: BLIP (Li 2022), whose decoder's layers look at a picture tower's rows. */
#ifndef CAPTION_H
#define CAPTION_H

#include <percept/plugin.h>

#include "plugins/encoders/clip/clip.h"
#include "plugins/experts/caption/ask.h"

enum { CAPTION_TOKENS = 512 }; /* of a caption, at most */

/* Attention and the norm behind it: LayerNorm(x + out(attention(...))). */
struct attention {
	struct affine q, k, v, out;
	struct norm norm;
};

struct block {
	struct attention self, cross;
	struct affine up, down;
	struct norm norm;
};

/* The decoder: BERT's layers with cross-attention, causal. */
struct decoder {
	uint32_t d_model, d_ff, n_layers, n_heads, vocab, context, seen; /* seen: values of a row of the picture */
	float norm_eps;
	enum nn_activation activation;
	int32_t start, end;
	struct nn_weight *words, *positions; /* (vocab, d_model), (context, d_model) */
	struct norm norm, head_norm;
	struct affine transform, head;       /* (d_model, d_model), (vocab, d_model) */
	struct block *blocks;
	uint64_t weight_bytes;
};

/* What token ids stand for. */
struct words {
	char **pieces; /* [n]; NULL: none */
	uint32_t n;
};

struct caption {
	struct nn_checkpoint *checkpoint;
	struct vision vision;
	struct decoder decoder;
	struct words words;
	struct ask ask; /* its assistant NULL: the model above */
	uint32_t most; /* tokens of a caption */
	char identity[160];
};

/* decoder.c. 0 or error->code; decoder_fini() after either. `seen` as above. [any] */
int decoder_open(struct decoder *d, struct nn_checkpoint *checkpoint, uint32_t seen, struct nn_error *error);
void decoder_fini(struct decoder *d);
/* Greedy ids [most] of what the rows `picture` (n, seen) show, without the end; *confidence: the mean of their probabilities, as
 * logarithms. How many, or a negative error of the computation. */
int decoder_say(struct nn *c, const struct decoder *d, struct nn_tensor picture, int32_t *ids, uint32_t most, float *confidence);

/* words.c: from tokenizer.json or vocab.txt in `folder`. 0 or error->code; words_fini() after either. [any] */
int words_open(struct words *words, const char *folder, struct nn_error *error);
void words_fini(struct words *words);
/* The text of ids: pieces that begin with ## go on with the word before. In the call's arena; NULL when memory is out. */
char *words_text(struct percept_call *call, const struct words *words, const int32_t *ids, uint32_t n);

#endif

/* clip.h - an opened CLIP or SigLIP: its picture tower, and its text tower where the files have one. */
#ifndef CLIP_H
#define CLIP_H

#include <percept/plugin.h>

#include "plugins/encoders/clip/tower.h"
#include "sdk/nn/tiles.h"
#include "sdk/nn/tokenizer.h"

enum { VISION_TOKENS_MAX = 1 << 16 }; /* patches of a piece */

/* What tensors are called. */
struct clip_names {
	const char *class_token, *positions, *patches, *post; /* patches: without ".weight" */
	struct tower_names layers;
};

/* What a picture's vector is made of: the class token's row, normed and projected (CLIP); what a learned query finds (SigLIP's
 * head); the class token's row of the normed rows (DINOv2), and through a layer and tanh (ViT). */
enum clip_pool { POOL_CLASS, POOL_PROBE, POOL_ROW, POOL_DENSE };

/* What sets the families apart; each plugin has one, clip_kind. */
struct clip_kind {
	const char *name;
	int class_token;          /* before the patches */
	int pre_norm;             /* in front of the blocks */
	int interpolate;          /* the position table fits any size */
	enum clip_pool pool;
	int probe;                /* SigLIP: pool is POOL_PROBE, and texts see themselves whole */
	const struct clip_names *names;
	uint32_t patch;           /* where config.json leaves it out, as the following */
	struct tower_defaults vision, text;
	uint32_t vocab, context;
	int32_t end;              /* of texts; SigLIP: what they are filled up with */
};
extern const struct clip_names clip_names;
extern const struct clip_kind clip_kind;
extern const struct percept_encoder clip_encoder;

/* Options, and what the bundle's configuration says in their place. */
struct clip_choice {
	int64_t layer;      /* index into the n_layers + 1 hidden states; -1 is the last */
	int has_layer;
	int keep_class;     /* LLaVA's strategies: "default" drops the class token, "full" keeps it */
	int interpolate;    /* other picture sizes than the model's are taken */
};

/* SigLIP's head: attention of one learned query, and a feed-forward part. */
struct probe {
	const float *query;               /* [d_model] */
	struct affine q, k, v, out, fc1, fc2;
	struct norm norm;
};

struct vision {
	struct tower tower;
	struct clip_choice choice;
	uint32_t image_size, patch, side; /* side: patches in each direction */
	uint32_t layer;                   /* the hidden state that is the feature: after so many blocks */
	uint32_t projection_dim;          /* 0: no projection */
	int pools;                        /* it has a vector of the whole picture */
	struct nn_image_processor processor;
	const float *class_token;         /* [d_model]; NULL: none */
	const struct nn_weight *patches;  /* (d_model, 3 * patch * patch) */
	const float *patch_bias;          /* NULL: none */
	const float *positions;           /* (class token + side * side, d_model) */
	struct norm pre, post;
	struct probe probe;
	struct affine dense;              /* ViT's pooler */
	const struct nn_weight *projection; /* (projection_dim, d_model) or NULL */
};

struct text {
	struct tower tower;
	uint32_t vocab, context;
	int32_t pad;                      /* SigLIP: fills texts up */
	int32_t end;                      /* 2: the old rule, the row of the greatest id; else the first of this id */
	const struct nn_weight *tokens;   /* (vocab, d_model) */
	const float *positions;           /* (context, d_model) */
	struct norm last;
	struct affine projection;         /* (projection_dim, d_model) */
	int canonical;                    /* texts lose their punctuation (SigLIP's SentencePiece tokenizer) */
	struct nn_tokenizer *tokenizer;
	char why[512];                    /* why there is no tokenizer */
};

struct clip {
	struct nn_checkpoint *checkpoint;
	struct vision vision;
	struct text *text; /* NULL: no text tower */
	char identity[256];
};

/* The picture tower. `root` is config.json's. 0 or error->code. [any] */
int vision_open(struct vision *v, struct nn_checkpoint *checkpoint, const struct clip_choice *choice, struct nn_error *error);
int vision_encode(struct percept_call *call, const struct vision *v, const struct percept_media *media,
		  struct percept_features *features);

/* picture.c: the pieces of an item, without their pixels, and the layout of its features; refuses what cannot be encoded.
 * 0 or a negative errno after percept_fail(). */
int picture_plan(struct percept_call *call, const struct vision *v, const struct percept_media *media, struct nn_tiles *tiles,
		 struct percept_layout *layout);
/* What an item asks of its processor. */
struct nn_tiles_ask picture_ask(const struct vision *v, const struct percept_media *media);
/* Rows that a picture with all its pieces costs at most. */
uint32_t picture_tokens_most(const struct vision *v);

/* pool.c: what a picture's vector is made of. 0 or error->code; (1, dim) of the last block's rows. */
int pool_load(struct vision *v, struct nn_loader *loader, struct nn_loader *projection);
struct nn_tensor pool_rows(struct nn *c, struct percept_call *call, const struct vision *v, struct nn_tensor x);

/* The text tower, or *text NULL where the files have none. 0 or error->code. [any] */
int text_open(struct text **text, struct nn_checkpoint *checkpoint, struct nn_error *error);
void text_close(struct text *text);
int text_encode(struct percept_call *call, const struct text *t, const char *text, const float **pooled);

#endif

/* clip.h - an opened CLIP or SigLIP: its picture tower, and its text tower where the files have one. */
#ifndef CLIP_H
#define CLIP_H

#include <percept/plugin.h>

#include "plugins/encoders/clip/head.h"
#include "plugins/encoders/clip/tower.h"
#include "sdk/nn/tiles.h"
#include "sdk/nn/tokenizer.h"

enum { VISION_TOKENS_MAX = 1 << 16 /* patches of a piece */, VISION_MAPS_MAX = 64 };

/* What a picture tower's tensors are called: patches, norms and the head without ".weight", the others whole. NULL: none such. */
struct clip_names {
	const char *class_token, *registers, *positions, *patches;
	const char *pre, *post;   /* norms in front of the blocks, and behind them */
	const char *fc;           /* the norm behind pooling */
	const char *projection;   /* of the picture's vector */
	const char *turned;       /* the same, kept as (in, out), a whole name */
	int heads;                /* what head.h finds is the projection */
	struct tower_names layers;
};

/* What a text tower's are called. Behind one of the prefixes; whole names but `last`. */
struct text_names {
	const char *tokens, *positions, *last;
	const char *head, *projection, *turned; /* a matrix with a bias; without one, not behind a prefix; kept as (in, out) */
	const char *const *prefixes;
	const struct tower_names *layers;
	void (*adapt)(struct tower_names *layers, const cJSON *config); /* (optional) sets what the configuration's flags change */
};

/* What a picture's vector is made of: the class token's row, normed and projected (CLIP); what a learned query finds (SigLIP's
 * head); the class token's row of the normed rows (DINOv2), and through a layer and tanh (ViT); the mean of the patches' rows; the
 * first of what several queries find (CoCa). */
enum clip_pool { POOL_CLASS, POOL_PROBE, POOL_ROW, POOL_DENSE, POOL_MEAN, POOL_QUERIES, POOL_NONE };

struct vision;

/* How the position table is resized: cubic, or with antialiasing cubic or linear. */
enum vision_resize { VISION_CUBIC, VISION_SMOOTH, VISION_LINEAR };

/* What sets the families apart; each plugin has one, clip_kind. */
struct clip_kind {
	const char *name;
	int class_token;          /* before the patches */
	int interpolate;          /* the position table fits any size */
	int last;                 /* the feature is the last block's, normed; else as in LLaVA the one before */
	int bare;                 /* with `last`: not normed */
	enum vision_resize resize;
	int fractions;            /* a position is a fraction of the picture's sides: the table fits any size by that */
	enum clip_pool pool;
	int probe;                /* SigLIP: texts see themselves whole, are filled up, and pooled at the last place */
	const struct clip_names *names;
	const struct text_names *text_names;
	uint32_t patch;           /* where config.json leaves it out, as the following */
	struct tower_defaults vision, text;
	uint32_t vocab, context;
	int32_t end;              /* of texts; SigLIP: what they are filled up with */
	/* (optional) The configuration in Hugging Face's form, of files in another one: cJSON to delete; NULL with error->code, or
	 * without it where the files are in that form already. */
	cJSON *(*translate)(struct nn_checkpoint *checkpoint, struct nn_error *error);
	/* (optional) What else `config`, a picture tower's, says: v->names, v->pool, v->tower's flags and the like. 0 or error->code. */
	int (*configure)(struct vision *v, struct nn_loader *loader, const cJSON *config, struct nn_error *error);
};
extern const struct clip_names clip_names, blip_names;
extern const struct text_names clip_text_names, siglip_text_names;
extern const struct clip_kind clip_kind;
extern const struct percept_encoder clip_encoder;

/* Options, and what the bundle's configuration says in their place. */
struct clip_choice {
	int64_t layer;      /* index into the n_layers + 1 hidden states; -1 is the last */
	int has_layer;
	int keep_class;     /* LLaVA's strategies: "default" drops the class token, "full" keeps it */
	int interpolate;    /* other picture sizes than the model's are taken */
	int norm;           /* the last hidden state as a feature is normed */
	int last;           /* the feature is the last hidden state, where nothing says another */
};

/* SigLIP's head: attention of one learned query, and a feed-forward part. */
struct probe {
	const float *query;               /* [d_model] */
	struct affine q, k, v, out, fc1, fc2;
	struct norm norm;
};

/* CoCa's attentional pooling: queries (n, out) find their rows. */
struct queries {
	struct nn_tensor rows;
	uint32_t n_heads;
	struct norm q_norm, k_norm;
	struct affine q, k, v, out;
};

/* Angles by rows and columns (EVA-02): head_dim / 4 frequencies, rows first. */
struct turns {
	int on, half;                     /* half: pairs are (i, i + head_dim / 2), else neighbours */
	int across;                       /* columns first */
	float base, offset;
	float between;                    /* 0.5: the second axis has the bands between those of the first (Pixtral) */
	uint32_t rows, cols;              /* the grid that places are scaled to; 0: as they are */
};

struct vision {
	struct tower tower;
	struct clip_choice choice;
	struct clip_names names;          /* the kind's, as its configure() has changed them */
	enum clip_pool pool;
	uint32_t image_size, patch, side; /* side: patches in each direction */
	uint32_t layers[VISION_MAPS_MAX]; /* the hidden states that are the feature maps: after so many blocks */
	uint32_t n_maps, last_layer;
	uint32_t n_registers;
	int no_class;                     /* no class token, though the kind has one */
	int bare_prefix;                  /* the position table is of patches only */
	int bare_registers;               /* it is of the class token and the patches */
	enum vision_resize resize;
	int flexible;                     /* pictures keep their shape within a number of patches */
	int channels_last;                /* the patches' matrix has its columns as (row, column, channel) */
	int pools;                        /* it has a vector of the whole picture */
	struct turns turns;
	uint32_t merge;                   /* patches that become one row later, a side: pictures are whole blocks of them; 0: 1 */
	struct nn_image_processor processor;
	uint32_t n_prefix;                /* rows in front of the patches: class token, registers */
	const float *prefix;              /* (n_prefix, d_model), with their positions */
	const struct nn_weight *patches;  /* (d_model, 3 * patch * patch) */
	const float *patch_bias;          /* NULL: none */
	const float *positions;           /* (side * side, d_model); NULL: none */
	struct norm pre, post, fc;        /* w NULL: none */
	struct probe probe;
	struct queries queries;
	struct affine dense;              /* ViT's pooler */
	struct head head;                 /* the projection */
};

enum text_pool { TEXT_POOL_END, TEXT_POOL_GREATEST, TEXT_POOL_LAST, TEXT_POOL_FIRST };

struct text {
	struct tower tower;
	struct tower_names layers;
	uint32_t vocab, context;
	const struct text_names *names;
	int whole;                        /* a text sees itself whole; else each token what came before */
	int fill;                         /* texts are filled up with `pad` to the whole context */
	int32_t pad;
	enum text_pool pool;              /* the row that stands for the text */
	int32_t end;                      /* of TEXT_POOL_END */
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
	cJSON *config;     /* translated; NULL: the checkpoint's own */
	struct vision vision;
	struct text *text; /* NULL: no text tower */
	char identity[256];
};

/* The picture tower; v->choice is set. `root` is config.json's. 0 or error->code. [any] */
int vision_open(struct vision *v, struct nn_checkpoint *checkpoint, const cJSON *root, struct nn_error *error);
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

/* Of a translated configuration, which may be of several files. */
uint64_t clip_digest(const cJSON *config);

/* fractions.c: (rows * cols, C) of a position table (side * side, C), by fractions of the sides. */
struct nn_tensor fractions_positions(struct nn *c, struct nn_tensor table, uint32_t side, uint32_t rows, uint32_t cols);

/* turns.c: angles of n pieces' rows; NULL: none, or c->error. */
const struct nn_rotary *turns_of(struct nn *c, const struct vision *v, uint32_t rows, uint32_t cols, uint32_t n);

/* pool.c: what a picture's vector is made of. 0 or error->code; (1, dim) of the last block's rows. */
int pool_load(struct vision *v, struct nn_loader *loader, struct nn_loader *projection);
/* Its dimension; 0: none. */
uint32_t pool_dim(const struct vision *v);
struct nn_tensor pool_rows(struct nn *c, struct percept_call *call, const struct vision *v, struct nn_tensor x);

/* The text tower, or *text NULL where the files have none. 0 or error->code. [any] */
int text_open(struct text **text, struct nn_checkpoint *checkpoint, const cJSON *root, struct nn_error *error);
void text_close(struct text *text);
int text_encode(struct percept_call *call, const struct text *t, const char *text, const float **pooled);

#endif

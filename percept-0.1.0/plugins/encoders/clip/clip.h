/* clip.h - an opened CLIP: its picture tower, and its text tower where the files have one. */
#ifndef CLIP_H
#define CLIP_H

#include <percept/plugin.h>

#include "plugins/encoders/clip/tower.h"
#include "sdk/nn/image.h"
#include "sdk/nn/tokenizer.h"

/* Options, and what the bundle's configuration says in their place. */
struct clip_choice {
	int64_t layer;      /* index into the n_layers + 1 hidden states; -1 is the last */
	int has_layer;
	int keep_class;     /* LLaVA's strategies: "default" drops the class token, "full" keeps it */
	int interpolate;    /* other picture sizes than the model's are taken */
};

struct vision {
	struct tower tower;
	struct clip_choice choice;
	uint32_t image_size, patch, side; /* side: patches in each direction */
	uint32_t layer;                   /* the hidden state that is the feature: after so many blocks */
	uint32_t projection_dim;          /* 0: no projection */
	int pools;                        /* it has a vector of the whole picture */
	struct nn_image_processor processor;
	const float *class_token;         /* [d_model] */
	const struct nn_weight *patches;  /* (d_model, 3 * patch * patch) */
	const float *patch_bias;          /* NULL: none */
	const float *positions;           /* (1 + side * side, d_model) */
	struct norm pre, post;
	const struct nn_weight *projection; /* (projection_dim, d_model) or NULL */
};

struct text {
	struct tower tower;
	uint32_t vocab, context;
	int32_t end;                      /* 2: the old rule, the row of the greatest id; else the first of this id */
	const struct nn_weight *tokens;   /* (vocab, d_model) */
	const float *positions;           /* (context, d_model) */
	struct norm last;
	const struct nn_weight *projection; /* (projection_dim, d_model) */
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
/* The layout of a picture; refuses what vision_encode() would. [many] */
int vision_plan(struct percept_call *call, const struct vision *v, const struct percept_media *media,
		struct percept_layout *layout);
int vision_encode(struct percept_call *call, const struct vision *v, const struct percept_media *media,
		  struct percept_features *features);

/* The text tower, or *text NULL where the files have none. 0 or error->code. [any] */
int text_open(struct text **text, struct nn_checkpoint *checkpoint, struct nn_error *error);
void text_close(struct text *text);
int text_encode(struct percept_call *call, const struct text *t, const char *text, const float **pooled);

#endif

/* pipeline.h - encoder, connector and decoder of a bundle, one after the other. */
#ifndef TESTS_GOLDEN_PIPELINE_H
#define TESTS_GOLDEN_PIPELINE_H

#include "tests/golden/part.h"

/* A row that a picture puts into the prompt. */
struct pipeline_row {
	size_t embedding;    /* which of pipeline.embeddings */
	uint32_t picture;    /* counted from 1 */
	int bidirectional, placed, unowned;
	int32_t position[4]; /* from the picture's first on, where `placed` */
	int32_t after;       /* where `placed`: from the picture's first to what follows it */
};

struct pipeline {
	struct part encoder, connector;
	struct run decoder;
	int32_t media_token;
	float *features, *embeddings; /* of all pictures since pipeline_begin() */
	size_t n_features, n_embeddings;
	struct pipeline_row *rows;
	size_t n_rows;
	uint32_t n_pictures;
	const char *instruction; /* for connectors that read it; NULL: none */
	void **memories;         /* [n_pictures] of a fusion connector; else NULL */
	uint32_t *begins;        /* [n_pictures] where the pictures of a fusion connector begin in the prompt */
};

/* Opens the bundle `model`, whose parts are what the engine's table says; without the encoder where the case begins with features. 0, or -1 after golden_fail(); pipeline_close() in
 * either case. */
int pipeline_open(struct pipeline *p, struct golden *g, const char *model);
void pipeline_close(struct pipeline *p);
/* Forgets the pictures and the sequence. */
void pipeline_begin(struct pipeline *p);
/* Connects one picture's features; the first also encodes them. 0 or -1. */
int pipeline_picture(struct pipeline *p, struct golden *g, const struct percept_media *media);
int pipeline_features(struct pipeline *p, struct golden *g, const struct percept_features *f);
/* Prefills the prompt with the pictures' rows in the places of the media token. Of a fusion connector whose pictures take no rows, a
 * picture begins at its token or, where the configuration names none, at the first row that the case's mask lets see it, or where the case lists it. 0 or -1. */
int pipeline_prompt(struct pipeline *p, struct golden *g, const int32_t *ids, uint32_t n);

/* ---- feature fusion (fusion.c) ---- */

int fusion_is(const struct pipeline *p);
/* Remembers the features; what enters the prompt in the picture's place goes to *e. 0 or -1. */
int fusion_take(struct pipeline *p, struct golden *g, const struct percept_features *f, struct percept_embeddings *e);
/* Finds the places of pictures without rows in the prompt, and binds all pictures. 0 or -1. */
int fusion_bind(struct pipeline *p, struct golden *g, const int32_t *ids, uint32_t n);
/* Unbinds and forgets the pictures. */
void fusion_forget(struct pipeline *p);

#endif

/* pipeline.h - encoder, connector and decoder of a bundle, one after the other. */
#ifndef TESTS_GOLDEN_PIPELINE_H
#define TESTS_GOLDEN_PIPELINE_H

#include "tests/golden/part.h"

/* A row that a picture puts into the prompt. */
struct pipeline_row {
	size_t embedding;    /* which of pipeline.embeddings */
	uint32_t picture;    /* counted from 1 */
	int bidirectional, placed;
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
};

/* Opens the bundle `model`, whose parts are what the engine's table says. 0, or -1 after golden_fail(); pipeline_close() in
 * either case. */
int pipeline_open(struct pipeline *p, struct golden *g, const char *model);
void pipeline_close(struct pipeline *p);
/* Forgets the pictures and the sequence. */
void pipeline_begin(struct pipeline *p);
/* Encodes and connects one picture. 0 or -1. */
int pipeline_picture(struct pipeline *p, struct golden *g, const struct percept_media *media);
/* Prefills the prompt with the pictures' rows in the places of the media token. 0 or -1. */
int pipeline_prompt(struct pipeline *p, struct golden *g, const int32_t *ids, uint32_t n);

#endif

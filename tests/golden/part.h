/* part.h - plugins at work for golden vectors: the engine's loader and calls, with taps on intermediate values. */
#ifndef TESTS_GOLDEN_PART_H
#define TESTS_GOLDEN_PART_H

#include <percept/plugin.h>

#include "daemon/engine/call.h"
#include "daemon/engine/loader.h"
#include "daemon/engine/options.h"
#include "tests/golden/golden.h"

/* Values that a plugin showed under one name, one call after the other. */
struct tap {
	char name[64];
	float *data;
	size_t n, cols; /* all values; of a row */
	uint32_t calls;
};

enum { PART_TAPS = 64 };

/* An open instance. */
struct part {
	struct plugin plugin;
	struct call call;
	struct percept_host host; /* the engine's, with observe() */
	struct options options;
	void *instance;
	struct tap taps[PART_TAPS];
	uint32_t n_taps;
	int closed_taps;          /* 1: what is shown is not kept */
};

/* Opens the plugin called `name` (found as the engine finds it) on `model` with `options` (may be NULL). 0, or -1 after
 * golden_fail(). part_close() in either case. */
int part_open(struct part *p, struct golden *g, const char *name, const char *model, const cJSON *options,
	      uint32_t max_sequences);
void part_close(struct part *p);
/* Says what the last call's failure was. */
void part_failed(struct part *p, struct golden *g, int error);
/* Begins the next call; what the last one returned is gone. */
struct percept_call *part_call(struct part *p);

static inline const struct percept_encoder *part_encoder(const struct part *p)
{
	return p->plugin.api->ops;
}

static inline const struct percept_connector *part_connector(const struct part *p)
{
	return p->plugin.api->ops;
}

static inline const struct percept_fusion *part_fusion(const struct part *p)
{
	return p->plugin.api->ops;
}

static inline const struct percept_decoder *part_decoder(const struct part *p)
{
	return p->plugin.api->ops;
}

static inline const struct percept_expert *part_expert(const struct part *p)
{
	return p->plugin.api->ops;
}

/* The tap of that name; NULL if nothing was shown. */
const struct tap *part_tap(const struct part *p, const char *name);
/* Compares each tap NAME with io's "mid.<prefix>NAME", where there is one of as many values. */
void part_check_taps(const struct part *p, struct golden *g, const char *prefix);

/* Planar pixels f32 [3][height][width] as a media item. */
struct percept_media part_pixels(const float *pixels, uint32_t width, uint32_t height);

/* A decoder on one sequence. Of an encoder-decoder the rows are its decoder's. */
struct run {
	struct part part;
	struct percept_decoder_info info;
	uint32_t n;       /* rows so far */
	int32_t position; /* of the next token */
	float *logits;    /* [last step's rows][vocab] */
	struct percept_row *rows;
	uint32_t encoded; /* the encoder's rows */
	struct part *fusion; /* whose hooks steps have; NULL: none */
	uint32_t media_seen, media_run; /* of the next token */
};

int run_open(struct run *r, struct golden *g, const char *model);
int run_open_with(struct run *r, struct golden *g, const char *model, const cJSON *options);
void run_close(struct run *r);
/* Forgets the sequence. */
int run_begin(struct run *r);
/* Whether it is an encoder-decoder. Then a prompt is its encoder's, `n` rows, malloc'ed and taken; 0 or -1. */
int run_encodes(const struct run *r);
int run_encode(struct run *r, struct golden *g, struct percept_row *rows, uint32_t n);
/* Forgets all but the encoder's rows, and steps with the token that decoding starts with. 0 or -1. */
int run_start(struct run *r, struct golden *g);
/* The next row of the sequence: a token, whose logits are wanted. */
struct percept_row run_row(struct run *r, int32_t id);
/* Appends n rows, malloc'ed and taken; r->logits are all rows'. 0 or -1. */
int run_step_rows(struct run *r, struct golden *g, struct percept_row *rows, uint32_t n);
/* Appends n tokens. 0 or -1. */
int run_step(struct run *r, struct golden *g, const int32_t *ids, uint32_t n);
/* `n` greedy tokens after the last row's logits; the logits that chose them to step_logits [n][vocab] (may be NULL). Stops
 * behind an end token if `ends`. Returns how many, or -1. */
int run_greedy(struct run *r, struct golden *g, int32_t *ids, uint32_t n, float *step_logits, int ends);

/* A folder like `path`, whose files are links but for config.json, which links to `config` (or is
 * that text, where it begins with a brace), and tokenizer.json, which is
 * `tokenizer`'s text where that is not NULL. Written to `out`; 0 or -1. variant_remove() ends it. */
int variant_make(const char *path, const char *config, const char *tokenizer, char out[PATH_MAX]);
void variant_remove(const char *path);

#endif

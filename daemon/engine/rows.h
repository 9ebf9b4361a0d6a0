/* rows.h - a prompt as the decoder's rows, each with a key by which equal prefixes are found. */
#ifndef ENGINE_ROWS_H
#define ENGINE_ROWS_H

#include <percept/plugin.h>

#include "daemon/engine/assembly.h"

/* Equal keys, equal rows: a token's id, or a piece of a media item's digest and the row within it; and where layers attend
 * items, which those before the row are. */
struct row_key {
	uint64_t a, b;
};
struct rows {
	struct percept_row *rows; /* sequence and wants are the scheduler's to fill */
	struct row_key *keys;
	uint32_t n, room;
	int32_t position; /* of the next row */
	uint32_t media;   /* items so far, those that rows name */
	uint32_t run, run_end; /* the first item of the unbroken run that ends with the last one, and the row behind that one */
	uint64_t seen;    /* names the items that layers attend, those so far; 0: none will come */
	uint32_t spans;   /* spans so far */
	uint32_t encoder; /* the first ones, which are an encoder's; 0: the decoder has none */
};
/* Rows that the prompt itself is, without what a decoder begins with behind them. */
static inline uint32_t rows_asked(const struct rows *rows)
{
	return rows->encoder ? rows->encoder : rows->n;
}
void rows_fini(struct rows *rows);
static inline struct row_key rows_token_key(const struct rows *rows, int32_t id)
{
	return (struct row_key){(uint64_t)(uint32_t)id, rows->seen};
}
/* Appends tokens. 0 or -ENOMEM. */
int rows_add_tokens(struct rows *rows, const int32_t *ids, size_t n);
/* Where the decoder has an encoder: the rows become that one's input, ended as the model's texts are; unless `only`, the row
 * that decoding starts with follows. 0 or -ENOMEM. */
int rows_encode(struct rows *rows, const struct assembly *assembly, int only);

struct request;
/* All of the request's prompt, its items' embeddings known, to request->rows; each item's count of rows. 0, or *error. [worker] */
int rows_build(struct request *request, struct call *call, struct wire_error *error);
/* token.count: the tokens of each input item's own text and media, to request->by_item. 0, or *error. [worker] */
int rows_count_items(struct request *request, struct call *call, struct wire_error *error);

#endif

/* rows.c - a prompt as the decoder's rows. */
#include "config.h"
#include "daemon/engine/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/engine.h"
#include "daemon/engine/json-file.h"

#define ROWS_MAX (1u << 26)

void rows_fini(struct rows *rows)
{
	free(rows->rows);
	free(rows->keys);
	*rows = (struct rows){0};
}

static int rows_reserve(struct rows *rows, size_t n)
{
	size_t room = rows->room ? rows->room : 64;

	if (n > ROWS_MAX - rows->n)
		return -ENOMEM;
	while (room < rows->n + n)
		room *= 2;
	if (room == rows->room)
		return 0;
	struct percept_row *r = reallocarray(rows->rows, room, sizeof(*r));

	if (r)
		rows->rows = r;
	struct row_key *k = reallocarray(rows->keys, room, sizeof(*k));

	if (k)
		rows->keys = k;
	if (!r || !k)
		return -ENOMEM;
	rows->room = (uint32_t)room;
	return 0;
}

int rows_add_tokens(struct rows *rows, const int32_t *ids, size_t n)
{
	if (rows_reserve(rows, n))
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int32_t p = rows->position++;

		rows->keys[rows->n] = rows_token_key(ids[i]);
		rows->rows[rows->n++] = (struct percept_row){.token = ids[i], .position = {p, p, p, p}, .media_seen = rows->media};
	}
	return 0;
}

/* The first 16 bytes of the digest; the top bit keeps it apart from tokens. */
static struct row_key rows_item_key(const char *hex, uint32_t row)
{
	struct row_key key;
	char half[17] = "";

	memcpy(half, hex, 16);
	key.a = strtoull(half, NULL, 16) | (uint64_t)1 << 63;
	memcpy(half, hex + 16, 16);
	key.b = strtoull(half, NULL, 16) + row;
	return key;
}

/* Rows [first, first + count) of an item's embeddings; `base` is the item's first position. */
static int rows_add_embeddings(struct rows *rows, const struct item *item, const struct percept_piece *piece, int32_t base)
{
	const struct embeddings *e = &item->entry->embeddings;

	if (rows_reserve(rows, piece->count))
		return -ENOMEM;
	rows->spans += piece->bidirectional != 0;
	for (uint32_t i = piece->first; i < piece->first + piece->count; i++) {
		struct percept_row row = {.token = -1, .media = rows->media, .media_seen = rows->media};

		row.embedding = e->data ? e->data + (size_t)i * e->dim : NULL;
		row.span = piece->bidirectional ? rows->spans : 0;
		for (int c = 0; c < 4; c++)
			row.position[c] = e->positions ? base + e->positions[(size_t)i * 4 + (size_t)c] : rows->position;
		rows->position++;
		rows->keys[rows->n] = rows_item_key(item->key, i);
		rows->rows[rows->n++] = row;
	}
	return 0;
}

static int rows_add_item(struct request *request, struct item *item, struct call *call, struct wire_error *error)
{
	struct rows *rows = &request->rows;
	const struct embeddings *e = &item->entry->embeddings;
	uint32_t before = rows->n;
	int32_t base = rows->position;

	rows->media++;
	for (uint32_t i = 0; i < e->n_pieces; i++) {
		const struct percept_piece *piece = &e->pieces[i];
		struct nn_ids ids = {0};
		int r = 0;

		if (piece->kind == PERCEPT_PIECE_TEXT)
			r = text_encode(&request->engine->assembly.text, call, piece->text, strlen(piece->text), 1, &ids, error);
		if (r == 0 && (piece->kind == PERCEPT_PIECE_TEXT ? rows_add_tokens(rows, ids.data, ids.n)
								 : rows_add_embeddings(rows, item, piece, base)))
			r = wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
		nn_ids_free(&ids);
		if (r)
			return r;
	}
	if (e->positions)
		rows->position = base + (int32_t)e->position_span;
	item->rows = rows->n - before;
	return 0;
}

int rows_build(struct request *request, struct call *call, struct wire_error *error)
{
	const struct prompt *prompt = &request->prompt;

	for (size_t i = 0; i < prompt->n; i++) {
		const struct prompt_piece *piece = &prompt->pieces[i];
		int r = 0;

		if (piece->item >= 0)
			r = rows_add_item(request, &request->items[piece->item], call, error);
		else if (rows_add_tokens(&request->rows, prompt->ids.data + piece->first, piece->count))
			r = wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
		if (r)
			return r;
	}
	return 0;
}

/* One text's tokens; -1 and *error. */
static double rows_count_text(struct request *request, struct call *call, const char *text, struct wire_error *error)
{
	struct nn_ids ids = {0};
	int r = text_encode(&request->engine->assembly.text, call, text, strlen(text), 0, &ids, error);
	double n = r ? -1 : (double)ids.n;

	nn_ids_free(&ids);
	return n;
}

int rows_count_items(struct request *request, struct call *call, struct wire_error *error)
{
	const cJSON *input = wire_member(request->params, "input"), *message, *part;
	size_t item = 0;

	request->by_item = cJSON_CreateArray();
	if (cJSON_IsString(input))
		cJSON_AddItemToArray(request->by_item, cJSON_CreateNumber(rows_count_text(request, call, input->valuestring, error)));
	cJSON_ArrayForEach(message, json_list(input)) {
		const cJSON *content = wire_member(message, "content");
		double n = cJSON_IsString(content) ? rows_count_text(request, call, content->valuestring, error) : 0;

		cJSON_ArrayForEach(part, json_list(content)) {
			const char *text = prompt_part_text(part);

			if (text)
				n += rows_count_text(request, call, text, error);
			else if (item < request->n_items)
				n += request->items[item++].rows;
		}
		cJSON_AddItemToArray(request->by_item, cJSON_CreateNumber(n));
	}
	return error->code;
}

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

		rows->keys[rows->n] = rows_token_key(rows, ids[i]);
		rows->rows[rows->n++] = (struct percept_row){
			.token = ids[i], .position = {p, p, p, p}, .media_seen = rows->media, .media_run = rows->run,
		};
	}
	return 0;
}

int rows_encode(struct rows *rows, const struct assembly *assembly, int only)
{
	const int32_t stop = assembly->text.stop, start = assembly->info.start;

	if (!(assembly->info.capabilities & PERCEPT_CAN_ENCODE))
		return 0;
	if (stop >= 0 && (rows->n == 0 || rows->rows[rows->n - 1].token != stop) && rows_add_tokens(rows, &stop, 1))
		return -ENOMEM;
	/* It sees itself both ways, all of it. */
	for (uint32_t i = 0; i < rows->n; i++) {
		rows->rows[i].wants = PERCEPT_ENCODER_ROW;
		rows->rows[i].span = 1;
	}
	rows->encoder = rows->n;
	rows->position = 0;
	return only ? 0 : rows_add_tokens(rows, &start, 1);
}

/* Sixteen digits of a digest. */
static uint64_t rows_half(const char *hex)
{
	char half[17] = "";

	memcpy(half, hex, 16);
	return strtoull(half, NULL, 16);
}

/* The first 16 bytes of the digest; the top bit keeps it apart from tokens. */
static struct row_key rows_item_key(const struct rows *rows, const char *hex, uint32_t row)
{
	return (struct row_key){rows_half(hex) | (uint64_t)1 << 63, (rows_half(hex + 16) + row) ^ rows->seen};
}

/* What names the items behind `seen` and one more, the `number`-th. Never 0. */
static uint64_t rows_have_seen(uint64_t seen, const struct item *item, uint32_t number)
{
	return ((seen * 0x9e3779b97f4a7c15u) ^ rows_half(item->key) ^ number) | 1;
}

/* Rows from here on have seen one more item. Where layers attend it, they are other rows than those behind another one. */
static void rows_begin_item(struct rows *rows, struct item *item)
{
	item->number = ++rows->media;
	if (rows->run == 0 || rows->n != rows->run_end)
		rows->run = rows->media;
	if (rows->seen)
		rows->seen = rows_have_seen(rows->seen, item, rows->media);
}

/* How far from an item's first row what follows a piece's rows stands: as the connector says behind the last row, before it
 * one beyond the furthest. */
static int32_t rows_span(const struct embeddings *e, const struct percept_piece *piece)
{
	int32_t furthest = -1;

	if (piece->first + piece->count == e->n)
		return (int32_t)e->position_span;
	for (size_t i = (size_t)piece->first * 4; i < ((size_t)piece->first + piece->count) * 4; i++)
		furthest = e->positions[i] > furthest ? e->positions[i] : furthest;
	return furthest + 1;
}

/* Rows [first, first + count) of an item's embeddings; `base` is the position of the item's first row. */
static int rows_add_embeddings(struct rows *rows, const struct item *item, const struct percept_piece *piece, int32_t base)
{
	const struct embeddings *e = &item->entry->embeddings;

	if (rows_reserve(rows, piece->count))
		return -ENOMEM;
	rows->spans += piece->bidirectional != 0;
	for (uint32_t i = piece->first; i < piece->first + piece->count; i++) {
		struct percept_row row = {
			.token = -1, .media = piece->unowned ? 0 : item->number, .media_seen = rows->media, .media_run = rows->run,
		};

		row.embedding = e->data ? e->data + (size_t)i * e->dim : NULL;
		row.span = piece->bidirectional ? rows->spans : 0;
		for (int c = 0; c < 4; c++)
			row.position[c] = e->positions ? base + e->positions[(size_t)i * 4 + (size_t)c] : rows->position;
		rows->position++;
		rows->keys[rows->n] = rows_item_key(rows, item->key, i);
		rows->rows[rows->n++] = row;
	}
	if (e->positions)
		rows->position = base + rows_span(e, piece);
	return 0;
}

/* Text that waits: what media items put around themselves joins the prompt's own beside it, and is tokenised with it. */
struct weave {
	struct request *request;
	struct call *call;
	struct guard_names names;
	char *text;
	size_t n;
	uint32_t first; /* the first row that is an item's alone; UINT32_MAX: none yet */
};

/* Appends the tokens of `text`. */
static int weave_tokens(struct weave *weave, const char *text, size_t n, int special, struct wire_error *error)
{
	struct nn_ids ids = {0};
	int r = text_encode(&weave->request->engine->assembly.text, weave->call, text, n, special, &ids, error);

	if (r == 0 && rows_add_tokens(&weave->request->rows, ids.data, ids.n))
		r = wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	nn_ids_free(&ids);
	return r;
}

static int weave_flush(struct weave *weave, struct wire_error *error)
{
	int r = weave->n ? weave_tokens(weave, weave->text, weave->n, 0, error) : 0;

	weave->n = 0;
	if (weave->first == UINT32_MAX)
		weave->first = weave->request->rows.n;
	return r;
}

static int weave_text(struct weave *weave, const char *text, size_t n, struct wire_error *error)
{
	char *more = realloc(weave->text, weave->n + n + 1);

	if (!more)
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	memcpy(more + weave->n, text, n);
	weave->text = more;
	weave->n += n;
	return 0;
}

/* A connector's text: special tokens count in it. */
static int weave_special(struct weave *weave, const char *text, struct wire_error *error)
{
	struct guard_piece piece;
	int r = 0;

	if (weave->names.count == 0) {
		r = weave_flush(weave, error);
		return r ? r : weave_tokens(weave, text, strlen(text), 1, error);
	}
	for (; r == 0 && (piece = guard_next(&weave->names, text)).kind != GUARD_END; text += piece.n) {
		if (piece.kind != GUARD_SPECIAL)
			r = weave_text(weave, piece.text, piece.n, error);
		else if ((r = weave_flush(weave, error)) == 0)
			r = weave_tokens(weave, piece.text, piece.n, 1, error);
	}
	return r;
}

/* Whether piece `i` of an item is a special token that stands before it, or begins the prompt's piece behind it (NULL: none),
 * already: a chat template may have put it there. */
static int weave_has(const struct weave *weave, const struct embeddings *e, uint32_t i, const struct prompt_piece *next)
{
	const struct rows *rows = &weave->request->rows;
	const struct guard_piece piece = guard_next(&weave->names, e->pieces[i].text);

	if (piece.kind != GUARD_SPECIAL || piece.text[piece.n])
		return 0;
	if (i == 0 && weave->n == 0 && rows->n && rows->rows[rows->n - 1].token == piece.id)
		return 1;
	return i + 1 == e->n_pieces && next && next->item < 0 && !next->text && next->count &&
	       weave->request->prompt.ids.data[next->first] == piece.id;
}

/* An expert's text is its item's alone, and plain: what is written in a picture is no special token. */
static int weave_told(struct weave *weave, const char *told, struct wire_error *error)
{
	int r = weave_flush(weave, error);

	if (r == 0)
		r = weave_text(weave, told, strlen(told), error);
	return r ? r : weave_flush(weave, error);
}

/* `next`: the prompt's piece behind the item; NULL: none. */
static int rows_add_item(struct weave *weave, struct item *item, const struct prompt_piece *next, struct wire_error *error)
{
	struct rows *rows = &weave->request->rows;
	const struct embeddings *e = &item->entry->embeddings;
	const struct assembly *assembly = &weave->request->engine->assembly;
	/* In an assistant whose layers attend items only those are named. */
	int named = !assembly->fusion || assembly->fusion == &assembly->lanes[item->lane];
	int32_t base = -1;
	int r = 0;

	weave->first = UINT32_MAX;
	for (uint32_t i = 0; i < e->n_pieces && r == 0; i++) {
		const struct percept_piece *piece = &e->pieces[i];

		if (piece->kind == PERCEPT_PIECE_TEXT) {
			r = weave_has(weave, e, i, next) ? 0 : weave_special(weave, piece->text, error);
			continue;
		}
		r = weave_flush(weave, error);
		if (r == 0 && named) {
			rows_begin_item(rows, item);
			named = 0;
		}
		base = base < 0 ? rows->position : base;
		if (r == 0 && piece->kind == PERCEPT_PIECE_MARKER)
			r = weave_tokens(weave, piece->text, strlen(piece->text), 1, error);
		else if (r == 0 && rows_add_embeddings(rows, item, piece, base))
			r = wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
		rows->run_end = rows->n;
	}
	if (r == 0 && e->told)
		r = weave_told(weave, e->told, error);
	item->first = weave->first < rows->n ? weave->first : rows->n;
	item->rows = rows->n - item->first;
	return r;
}

static int rows_add_piece(struct weave *weave, const struct prompt_piece *piece, const struct prompt_piece *next,
			  struct wire_error *error)
{
	struct request *request = weave->request;

	if (piece->item >= 0)
		return rows_add_item(weave, &request->items[piece->item], next, error);
	if (piece->text)
		return weave_text(weave, piece->text, strlen(piece->text), error);
	int r = weave_flush(weave, error);

	if (r == 0 && rows_add_tokens(&request->rows, request->prompt.ids.data + piece->first, piece->count))
		r = wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	return r;
}

/* A prompt with items that layers attend has other rows than one without from its first row on; with other items too, where rows
 * before the first attend them. */
static void rows_begin(struct request *request, const struct assembly *assembly)
{
	for (size_t i = 0; i < request->n_items && assembly->fusion; i++) {
		const struct item *item = &request->items[i];

		if (assembly->fusion != &assembly->lanes[item->lane])
			continue;
		request->rows.seen = assembly->fusion->fusion_info.whole ? rows_have_seen(request->rows.seen, item, (uint32_t)i + 1) : 1;
	}
}

int rows_build(struct request *request, struct call *call, struct wire_error *error)
{
	const struct prompt *prompt = &request->prompt;
	const struct assembly *assembly = &request->engine->assembly;
	struct weave weave = {.request = request, .call = call, .names = prompt_names(assembly)};
	int r = 0;

	rows_begin(request, assembly);
	for (size_t i = 0; i < prompt->n && r == 0; i++)
		r = rows_add_piece(&weave, &prompt->pieces[i], i + 1 < prompt->n ? &prompt->pieces[i + 1] : NULL, error);
	if (r == 0)
		r = weave_flush(&weave, error);
	free(weave.text);
	for (uint32_t i = 0; assembly->prefix && i < request->rows.n; i++)
		request->rows.rows[i].span = 1;
	if (r == 0 && rows_encode(&request->rows, assembly, 0))
		r = wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	return r;
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

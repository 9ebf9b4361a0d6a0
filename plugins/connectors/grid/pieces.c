/* pieces.c - the texts that the families put around a picture's rows. */
#include "plugins/connectors/grid/grid.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { PIECES_TEXT_MAX = 192 };

/* Room for the pieces of `items` items and what is between them. 0 or -errno. */
static int pieces_begin(struct percept_call *call, struct percept_embeddings *e, uint32_t items)
{
	e->n_pieces = 0;
	e->pieces = percept_alloc(call, ((size_t)items * 2 + 1) * sizeof(*e->pieces));
	return e->pieces ? 0 : percept_fail(call, -ENOMEM, "Memory is out.");
}

static struct percept_piece *pieces_add(struct percept_embeddings *e)
{
	return (struct percept_piece *)e->pieces + e->n_pieces++;
}

static void pieces_rows(struct percept_embeddings *e, uint32_t first, uint32_t count, uint32_t bidirectional)
{
	*pieces_add(e) = (struct percept_piece){
		.kind = PERCEPT_PIECE_ROWS, .first = first, .count = count, .bidirectional = bidirectional,
	};
}

/* Text by printf. Out of memory is told by the piece's NULL, at the end. */
__attribute__((format(printf, 3, 4))) static void pieces_text(struct percept_call *call, struct percept_embeddings *e,
							      const char *format, ...)
{
	char *text = percept_alloc(call, PIECES_TEXT_MAX);
	va_list list;

	va_start(list, format);
	if (text)
		vsnprintf(text, PIECES_TEXT_MAX, format, list);
	va_end(list);
	*pieces_add(e) = (struct percept_piece){ .kind = PERCEPT_PIECE_TEXT, .text = text };
}

static int pieces_end(struct percept_call *call, const struct percept_embeddings *e)
{
	for (uint32_t i = 0; i < e->n_pieces; i++)
		if (e->pieces[i].kind == PERCEPT_PIECE_TEXT && !e->pieces[i].text)
			return percept_fail(call, -ENOMEM, "Memory is out.");
	return 0;
}

/* Each tile behind its place in the grid, a line feed behind a row of tiles, and the whole picture; or whole pictures alone. */
int pieces_idefics3(struct percept_call *call, const struct percept_layout *layout, uint32_t each, struct percept_embeddings *e)
{
	static const char fake[] = "<fake_token_around_image>", whole[] = "<global-img>";
	const uint32_t cols = layout->grid_cols, tiles = layout->has_overview == PERCEPT_OVERVIEW_LAST ? layout->items - 1 : 0;

	if (tiles && (uint64_t)layout->grid_rows * cols != tiles)
		return percept_fail(call, -EINVAL, "%u tiles are not %u x %u and a whole picture.", layout->items, layout->grid_rows, cols);
	if (pieces_begin(call, e, layout->items))
		return -ENOMEM;
	for (uint32_t i = 0; i < tiles; i++) {
		pieces_text(call, e, "%s%s<row_%u_col_%u>", i && i % cols == 0 ? "\n" : "", fake, i / cols + 1, i % cols + 1);
		pieces_rows(e, i * each, each, 0);
	}
	for (uint32_t i = tiles; i < layout->items; i++) {
		pieces_text(call, e, "%s%s%s%s", i > tiles ? fake : "", tiles ? "\n\n" : "", fake, whole);
		pieces_rows(e, i * each, each, 0);
	}
	pieces_text(call, e, "%s", fake);
	return pieces_end(call, e);
}

/* The whole picture, and cuts of it where there are some. */
int pieces_gemma3(struct percept_call *call, const struct percept_layout *layout, uint32_t each, struct percept_embeddings *e)
{
	static const char begin[] = "\n\n<start_of_image>", end[] = "<end_of_image>\n\n";

	if (pieces_begin(call, e, layout->items))
		return -ENOMEM;
	for (uint32_t i = 0; i < layout->items; i++) {
		if (i == 0)
			pieces_text(call, e, "%s%s", layout->items > 1 ? "Here is the original image " : "", begin);
		else
			pieces_text(call, e, "%s%s%s", end, i == 1 ? " and here are some crops to help you see better " : " ", begin);
		pieces_rows(e, i * each, each, 1);
	}
	pieces_text(call, e, "%s", end);
	return pieces_end(call, e);
}

int pieces_internvl(struct percept_call *call, const struct percept_layout *layout, uint32_t each, struct percept_embeddings *e)
{
	if (pieces_begin(call, e, 1))
		return -ENOMEM;
	pieces_text(call, e, "<img>");
	pieces_rows(e, 0, layout->items * each, 0);
	pieces_text(call, e, "</img>");
	return pieces_end(call, e);
}

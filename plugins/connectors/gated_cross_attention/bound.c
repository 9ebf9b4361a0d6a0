/* bound.c - the pictures of each sequence. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/connectors/gated_cross_attention/gated.h"

enum { BOUND_MAX = 1 << 16 };

static void bound_part(struct bound *b)
{
	keys_fini(&b->keys);
	free(b->until);
	b->until = NULL;
}

void bound_fini(struct bound *b)
{
	bound_part(b);
	free(b->items);
	*b = (struct bound){ 0 };
}

int bound_any(const struct bound *b)
{
	return b->n != 0;
}

static void bound_clear(struct bound *b, uint32_t media)
{
	if (media <= b->n)
		b->items[media - 1] = NULL;
	while (b->n && !b->items[b->n - 1])
		b->n--;
	bound_part(b);
}

int bound_set(struct percept_call *call, struct gated *g, uint32_t sequence, uint32_t media, struct memory *memory)
{
	struct bound *b = sequence < g->n_sequences ? &g->bound[sequence] : NULL;

	if (!memory) {
		if (b && media)
			bound_clear(b, media);
		return 0;
	}
	if (!b || !media || media > BOUND_MAX)
		return percept_fail(call, -EINVAL, "Item %u of sequence %u is out of range.", media, sequence);
	if (media > b->room) {
		struct memory **items = realloc(b->items, (size_t)media * 2 * sizeof(*items));

		if (!items)
			return percept_fail(call, -ENOMEM, "Memory is out.");
		b->items = items;
		b->room = media * 2;
	}
	const int error = memory_at(call, g, memory, media - 1, &memory);

	if (error)
		return error;
	while (b->n < media)
		b->items[b->n++] = NULL;
	b->items[media - 1] = memory;
	bound_part(b);
	return 0;
}

int bound_seen(const struct gated *g, const struct bound *b, uint32_t seen, const struct keys **keys, uint32_t *visible)
{
	*keys = NULL;
	*visible = 0;
	if (seen > b->n || (seen && !b->items[seen - 1]))
		return -EINVAL;
	if (g->at_once) {
		*keys = &b->keys;
		*visible = seen ? b->until[seen] : b->keys.rows;
	} else if (seen) {
		*keys = &b->items[seen - 1]->keys;
		*visible = (*keys)->rows;
	}
	return 0;
}

/* The pictures of one sequence, one behind the other. */
static int bound_join_one(struct nn *c, const struct gated *g, struct bound *b)
{
	const size_t inner = (size_t)g->n_heads * g->head_dim;
	uint64_t rows = 0;

	b->until = calloc((size_t)b->n + 1, sizeof(*b->until));
	for (uint32_t i = 0; b->until && i < b->n; i++) {
		rows += b->items[i] ? b->items[i]->keys.rows : 0;
		if (rows > GATED_ROWS_MAX)
			return c->error = -ENOMEM;
		b->until[i + 1] = (uint32_t)rows;
	}
	if (!b->until || keys_init(&b->keys, g, (uint32_t)rows))
		return c->error = -ENOMEM;
	for (uint32_t i = 0; i < b->n; i++)
		for (uint32_t k = 0; b->items[i] && k < g->n_blocks; k++) {
			const struct memory *m = b->items[i];
			float *data = m->rows + (size_t)k * 2 * m->keys.rows * inner;

			keys_write(c, g, &b->keys, k, b->until[i], nn_view(data, m->keys.rows, inner),
				   nn_view(data + m->keys.rows * inner, m->keys.rows, inner));
		}
	return c->error;
}

int bound_join(struct nn *c, struct gated *g)
{
	for (uint32_t s = 0; g->at_once && s < g->n_sequences && !c->error; s++)
		if (bound_any(&g->bound[s]) && !g->bound[s].until && bound_join_one(c, g, &g->bound[s]))
			bound_part(&g->bound[s]);
	return c->error;
}

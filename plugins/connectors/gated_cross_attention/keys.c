/* keys.c - keys and values of pictures, in the pages that attention reads. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/connectors/gated_cross_attention/gated.h"

uint64_t keys_bytes(const struct keys *keys, const struct gated *g)
{
	return (uint64_t)g->n_blocks * keys->n_pages * nn_page_bytes(&g->page);
}

int keys_init(struct keys *keys, const struct gated *g, uint32_t rows)
{
	const size_t page = nn_page_bytes(&g->page);
	size_t pages, bytes;

	*keys = (struct keys){ .rows = rows, .n_pages = (rows + NN_PAGE - 1) / NN_PAGE };
	if (__builtin_mul_overflow((size_t)g->n_blocks, keys->n_pages, &pages) || __builtin_mul_overflow(pages, page, &bytes))
		return -ENOMEM;
	keys->pages = calloc(pages + 1, sizeof(*keys->pages));
	keys->data = aligned_alloc(64, bytes ? bytes : 64);
	if (!keys->pages || !keys->data)
		return -ENOMEM;
	memset(keys->data, 0, bytes);
	for (size_t i = 0; i < pages; i++)
		keys->pages[i] = keys->data + i * page;
	return 0;
}

void keys_fini(struct keys *keys)
{
	free(keys->pages);
	free(keys->data);
	*keys = (struct keys){ 0 };
}

void keys_write(struct nn *c, const struct gated *g, struct keys *keys, uint32_t block, uint32_t first, struct nn_tensor k,
		struct nn_tensor v)
{
	for (size_t i = 0; k.data && v.data && !c->error && i < k.rows; i++) {
		const size_t row = first + i;

		nn_page_write(c, keys->pages[(size_t)block * keys->n_pages + row / NN_PAGE], &g->page, (uint32_t)(row % NN_PAGE),
			      k.data + i * k.stride, v.data + i * v.stride);
	}
}

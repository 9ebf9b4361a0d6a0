/* show.c - what rows attend, for whoever looks on. */
#include "plugins/decoders/causal/causal.h"

#include <stdio.h>
#include <string.h>

void causal_show(const struct causal_shown *s, struct nn_tensor q, const struct nn_attention *how)
{
	const uint32_t n = s->batch->n;
	struct nn_tensor some = nn_new(s->c, n, q.cols);
	uint32_t *visible = nn_memory(s->c, n, sizeof(*visible)), *first = nn_memory(s->c, n, sizeof(*first)), k = 0;
	void *const **pages = nn_memory(s->c, n, sizeof(*pages));
	struct nn_attention of = *how;
	char name[32];

	for (uint32_t t = 0; !s->c->error && t < n; t++) {
		if (!(s->batch->rows[t].wants & PERCEPT_WANT_LOGITS))
			continue;
		visible[k] = how->visible[t];
		first[k] = how->first ? how->first[t] : 0;
		pages[k] = s->pages[t];
		memcpy(some.data + k++ * some.stride, q.data + t * q.stride, q.cols * sizeof(float));
	}
	if (s->c->error || k == 0)
		return;
	of.visible = visible;
	of.first = first;
	struct nn_tensor w = nn_attention_weights(s->c, nn_rows(some, 0, k), s->shape, pages, &of);

	snprintf(name, sizeof(name), "attention_layer%u", s->layer);
	if (w.data)
		s->call->host->observe(s->call, name, w.data, (const uint64_t[]){ k, how->heads, w.cols / how->heads }, 3);
}

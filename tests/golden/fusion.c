/* fusion.c - pictures through a feature-fusion connector: remembered, bound, and where they begin in a prompt. */
#include <stdlib.h>
#include <string.h>

#include "tests/golden/pipeline.h"

int fusion_is(const struct pipeline *p)
{
	return p->connector.plugin.api && p->connector.plugin.api->kind == PERCEPT_FUSION;
}

int fusion_take(struct pipeline *p, struct golden *g, const struct percept_features *f, struct percept_embeddings *e)
{
	const struct percept_fusion *ops = part_fusion(&p->connector);
	const size_t room = (size_t)p->n_pictures + 1;
	void **memories = realloc(p->memories, room * sizeof(*memories)), *memory = NULL;
	uint64_t bytes = 0;

	if (!memories)
		return -1;
	p->memories = memories;
	p->memories[p->n_pictures] = NULL;
	int error = ops->remember(part_call(&p->connector), p->connector.instance, f, &memory, &bytes);

	if (!error)
		p->memories[p->n_pictures] = memory;
	if (!error && ops->embed)
		error = ops->embed(part_call(&p->connector), p->connector.instance, memory, e);
	if (!error)
		return 0;
	part_failed(&p->connector, g, error);
	if (memory)
		ops->forget(p->connector.instance, memory);
	return -1;
}

/* The first row that the case's mask [1][rows][pictures]... lets see picture k; n: none is. */
static uint32_t fusion_unmasked(const struct golden *g, uint32_t k, uint32_t n)
{
	static const char *const names[] = { "in.image_attention_mask", "in.cross_attention_mask" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct golden_tensor *mask = golden_tensor(&g->io, "I32", "%s", names[i]);

		if (!mask || mask->rank < 3 || mask->shape[1] != n || k >= mask->shape[2])
			continue;
		const size_t row = mask->n / n, each = row / mask->shape[2];

		for (uint32_t t = 0; t < n; t++)
			for (size_t c = 0; c < each; c++)
				if (((const int32_t *)mask->data)[t * row + k * each + c])
					return t;
	}
	return n;
}

/* The row of the k-th place that the case lists; n: there is none. */
static uint32_t fusion_listed(const struct golden *g, uint32_t k, uint32_t n)
{
	const struct golden_tensor *places = golden_tensor(&g->io, "I32", "in.media_locations");

	for (uint32_t t = 0; places && places->n == n && t < n; t++)
		if (((const int32_t *)places->data)[t] && !k--)
			return t;
	return n;
}

/* Where pictures without rows begin: p->begins. 0 or -1. */
static int fusion_places(struct pipeline *p, const struct golden *g, const int32_t *ids, uint32_t n)
{
	uint32_t found = 0, *begins = realloc(p->begins, ((size_t)p->n_pictures + 1) * sizeof(*begins));

	if (!begins)
		return -1;
	p->begins = begins;
	for (uint32_t i = 0; p->media_token >= 0 && i < n && found < p->n_pictures; i++)
		if (ids[i] == p->media_token)
			begins[found++] = i;
	for (; p->media_token < 0 && found < p->n_pictures; found++) {
		begins[found] = fusion_unmasked(g, found, n);
		if (begins[found] == n)
			begins[found] = fusion_listed(g, found, n);
	}
	return found == p->n_pictures && (!found || begins[found - 1] < n) ? 0 : -1;
}

int fusion_bind(struct pipeline *p, struct golden *g, const int32_t *ids, uint32_t n)
{
	const struct percept_fusion *ops = part_fusion(&p->connector);
	int error = 0;

	if (!p->n_rows && fusion_places(p, g, ids, n)) {
		golden_fail(g, "the prompt does not say where its %u pictures begin", p->n_pictures);
		return -1;
	}
	for (uint32_t i = 0; i < p->n_pictures && !error; i++)
		error = ops->bind(part_call(&p->connector), p->connector.instance, 0, i + 1, p->memories[i]);
	if (error)
		part_failed(&p->connector, g, error);
	return error ? -1 : 0;
}

void fusion_forget(struct pipeline *p)
{
	if (!fusion_is(p) || !p->connector.instance)
		return;
	for (uint32_t i = 0; i < p->n_pictures; i++) {
		part_fusion(&p->connector)->bind(part_call(&p->connector), p->connector.instance, 0, i + 1, NULL);
		part_fusion(&p->connector)->forget(p->connector.instance, p->memories[i]);
	}
	p->n_pictures = 0;
}

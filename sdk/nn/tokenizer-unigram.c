/* tokenizer-unigram.c - the unigram language model (Kudo 2018): the pieces whose scores have the largest sum (Viterbi). */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { UNIGRAM_ROOT = 0 };

/* The tokens' texts as a tree: an edge is a node and a byte, kept in a hash table. */
struct unigram_edge {
	uint64_t key; /* node in the upper bits, byte + 1 in the lower 9; 0: empty */
	int32_t node;
};

struct unigram {
	struct vocab *vocab;
	float *scores;
	unsigned char *barred;
	int32_t unknown, bytes[256];
	float unknown_score;
	struct unigram_edge *edges;
	size_t mask, n_edges;
	int32_t *ids; /* by node: the token that ends there; -1: none */
	size_t n_nodes, nodes_room;
};

static size_t unigram_slot(const struct unigram *u, uint64_t key)
{
	size_t at = (key * 0x9e3779b97f4a7c15u >> 20) & u->mask;

	while (u->edges[at].key && u->edges[at].key != key)
		at = (at + 1) & u->mask;
	return at;
}

static uint64_t unigram_key(int32_t node, unsigned char byte)
{
	return (uint64_t)node << 9 | (byte + 1u);
}

static int unigram_grow(struct unigram *u)
{
	struct unigram_edge *old = u->edges;
	size_t n = old ? u->mask + 1 : 0, size = n ? 2 * n : 1024;

	u->edges = calloc(size, sizeof(*u->edges));
	if (!u->edges) {
		u->edges = old;
		return -ENOMEM;
	}
	u->mask = size - 1;
	for (size_t i = 0; i < n; i++)
		if (old[i].key)
			u->edges[unigram_slot(u, old[i].key)] = old[i];
	free(old);
	return 0;
}

static int unigram_node(struct unigram *u)
{
	if (text_reserve(&u->ids, &u->nodes_room, u->n_nodes + 1, sizeof(*u->ids)))
		return -ENOMEM;
	u->ids[u->n_nodes++] = -1;
	return 0;
}

static int unigram_add(struct unigram *u, const char *text, size_t n, int32_t id)
{
	int32_t node = UNIGRAM_ROOT;

	for (size_t i = 0; i < n; i++) {
		if (u->n_edges * 2 >= u->mask && unigram_grow(u))
			return -ENOMEM;
		uint64_t key = unigram_key(node, (unsigned char)text[i]);
		size_t slot = unigram_slot(u, key);

		if (!u->edges[slot].key) {
			u->edges[slot] = (struct unigram_edge){key, (int32_t)u->n_nodes};
			u->n_edges++;
			if (unigram_node(u))
				return -ENOMEM;
		}
		node = u->edges[slot].node;
	}
	if (n && u->ids[node] < 0)
		u->ids[node] = id;
	return 0;
}

static void unigram_close(void *model)
{
	struct unigram *u = model;

	free(u->scores);
	free(u->barred);
	free(u->edges);
	free(u->ids);
	free(u);
}

static int unigram_fill(struct unigram *u)
{
	float least = 0;
	int failed = unigram_grow(u) || unigram_node(u);

	for (size_t id = 0; id < u->vocab->n && !failed; id++) {
		const struct vocab_entry *e = &u->vocab->entries[id];

		if (!e->text || (u->barred && u->barred[id]))
			continue;
		if (!isfinite(u->scores[id]))
			u->scores[id] = -FLT_MAX / 4;
		least = u->scores[id] < least ? u->scores[id] : least;
		failed = unigram_add(u, e->text, e->bytes, (int32_t)id);
	}
	u->unknown_score = least - 10;
	for (int i = 0; i < 256; i++) {
		char name[8];

		snprintf(name, sizeof(name), "<0x%02X>", i);
		u->bytes[i] = vocab_find(u->vocab, name, 6);
	}
	return failed ? -ENOMEM : 0;
}

void *unigram_new(struct vocab *vocab, float *scores, unsigned char *barred, int32_t unknown)
{
	struct unigram *u = calloc(1, sizeof(*u));

	if (!u) {
		free(scores);
		free(barred);
		return NULL;
	}
	*u = (struct unigram){.vocab = vocab, .scores = scores, .barred = barred, .unknown = unknown};
	if (!unigram_fill(u))
		return u;
	unigram_close(u);
	return NULL;
}

/* The best way to reach a place in the text. */
struct unigram_place {
	double score;
	uint32_t from;
	int32_t id; /* of the last piece; -1: a character that is no token */
};

static void unigram_reach(struct unigram_place *p, double score, size_t from, int32_t id)
{
	if (p->from != UINT32_MAX && score <= p->score)
		return;
	*p = (struct unigram_place){score, (uint32_t)from, id};
}

static void unigram_walk(const struct unigram *u, const char *s, size_t n, struct unigram_place *places)
{
	for (size_t at = 0, length; at < n; at += length) {
		int32_t node = UNIGRAM_ROOT;
		int whole = 0;

		length = utf8_length((unsigned char)s[at]);
		if (length > n - at)
			length = n - at;
		for (size_t i = at; i < n; i++) {
			size_t slot = unigram_slot(u, unigram_key(node, (unsigned char)s[i]));

			if (!u->edges[slot].key)
				break;
			node = u->edges[slot].node;
			if (u->ids[node] < 0)
				continue;
			unigram_reach(&places[i + 1], places[at].score + u->scores[u->ids[node]], at, u->ids[node]);
			whole |= i + 1 - at == length;
		}
		if (!whole)
			unigram_reach(&places[at + length], places[at].score + u->unknown_score, at, -1);
	}
}

/* Characters that are no token: bytes where the vocabulary has them all, else one unknown token for those that follow each
 * other. */
static int unigram_put_unknown(const struct unigram *u, const char *s, size_t n, struct nn_ids *ids, int again)
{
	int all = 1, failed = 0;

	for (size_t i = 0; i < n; i++)
		all &= u->bytes[(unsigned char)s[i]] >= 0;
	for (size_t i = 0; all && i < n && !failed; i++)
		failed = ids_put(ids, u->bytes[(unsigned char)s[i]]);
	if (all || again || u->unknown < 0)
		return failed;
	return ids_put(ids, u->unknown);
}

static int unigram_put(const struct unigram *u, const char *s, const struct unigram_place *places, const uint32_t *ends,
		       size_t n, struct nn_ids *ids)
{
	int failed = 0, again = 0;

	for (size_t i = 0; i < n && !failed; i++) {
		const struct unigram_place *p = &places[ends[i]];

		if (p->id >= 0)
			failed = ids_put(ids, p->id);
		else
			failed = unigram_put_unknown(u, s + p->from, ends[i] - p->from, ids, again);
		again = p->id < 0;
	}
	return failed;
}

static int unigram_encode(const void *model, const char *piece, size_t n, struct nn_ids *ids)
{
	const struct unigram *u = model;
	struct unigram_place *places = n < UINT32_MAX ? malloc((n + 1) * sizeof(*places)) : NULL;
	uint32_t *ends = places ? malloc((n + 1) * sizeof(*ends)) : NULL;
	int failed = ends ? 0 : -ENOMEM;
	size_t first = n + 1;

	for (size_t i = 0; !failed && i <= n; i++)
		places[i] = (struct unigram_place){0, UINT32_MAX, -1};
	if (!failed) {
		unigram_walk(u, piece, n, places);
		for (size_t at = n; at; at = places[at].from)
			ends[--first] = (uint32_t)at;
		failed = unigram_put(u, piece, places, ends + first, n + 1 - first, ids);
	}
	free(ends);
	free(places);
	return failed;
}

const struct model_type unigram_model = {"unigram", NULL, unigram_encode, unigram_close};

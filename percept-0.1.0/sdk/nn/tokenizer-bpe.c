/* tokenizer-bpe.c - byte pair encoding (Sennrich 2016): the pair of the lowest rank is merged first.
 *
 * A piece is a linked list of symbols and a heap of the pairs that can be merged, so that n characters cost O(n log n).
 */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bpe_merge {
	uint64_t pair; /* left id in the upper half */
	uint32_t rank;
	int32_t id;    /* of the merged token; -1: empty slot */
};

struct bpe {
	struct vocab *vocab;
	struct bpe_merge *merges;
	size_t mask, n;
	int32_t bytes[256]; /* <0x00> ..., with byte_fallback; else -1 */
	int32_t unknown;    /* -1: left out */
	int fuse_unknown, ignore_merges;
	char *prefix, *suffix; /* of continuing symbols, of the last one; NULL: none */
};

static size_t bpe_slot(const struct bpe *b, uint64_t pair)
{
	size_t at = (pair * 0x9e3779b97f4a7c15u >> 20) & b->mask;

	while (b->merges[at].id >= 0 && b->merges[at].pair != pair)
		at = (at + 1) & b->mask;
	return at;
}

static const struct bpe_merge *bpe_find(const struct bpe *b, int32_t left, int32_t right)
{
	if (left < 0 || right < 0)
		return NULL;
	const struct bpe_merge *m = &b->merges[bpe_slot(b, (uint64_t)left << 32 | (uint32_t)right)];

	return m->id >= 0 ? m : NULL;
}

/* "a b" or ["a", "b"] as two texts. */
static int bpe_merge_texts(const cJSON *json, const char *text[2], size_t n[2])
{
	const cJSON *first = json ? json->child : NULL;

	if (cJSON_IsString(json)) {
		const char *space = strchr(json->valuestring, ' ');

		if (!space || strchr(space + 1, ' '))
			return -EINVAL;
		text[0] = json->valuestring;
		n[0] = (size_t)(space - text[0]);
		text[1] = space + 1;
		n[1] = strlen(text[1]);
		return 0;
	}
	if (!cJSON_IsArray(json) || !cJSON_IsString(first) || !cJSON_IsString(first->next) || first->next->next)
		return -EINVAL;
	text[0] = first->valuestring;
	text[1] = first->next->valuestring;
	n[0] = strlen(text[0]);
	n[1] = strlen(text[1]);
	return 0;
}

static int bpe_add_merge(struct bpe *b, const cJSON *json, uint32_t rank, struct text *joined, struct nn_error *error)
{
	size_t n[2], skip = b->prefix ? strlen(b->prefix) : 0;
	const char *text[2];

	if (bpe_merge_texts(json, text, n))
		return nn_fail(error, -EINVAL, "tokenizer.json: merge %u is not a pair of texts.", rank);
	joined->n = 0;
	if (skip > n[1])
		skip = n[1];
	if (text_put(joined, text[0], n[0]) || text_put(joined, text[1] + skip, n[1] - skip))
		return -ENOMEM;
	int32_t left = vocab_find(b->vocab, text[0], n[0]), right = vocab_find(b->vocab, text[1], n[1]);
	int32_t id = vocab_find(b->vocab, joined->data, joined->n);

	if (left < 0 || right < 0 || id < 0)
		return nn_fail(error, -EINVAL, "tokenizer.json: merge %u makes or joins a token that the vocabulary lacks.",
			       rank);
	uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;

	b->merges[bpe_slot(b, pair)] = (struct bpe_merge){pair, rank, id};
	return 0;
}

static int bpe_load_merges(struct bpe *b, const cJSON *json, struct nn_error *error)
{
	size_t count = (size_t)cJSON_GetArraySize(json), size = 16;
	struct text joined = {0};
	uint32_t rank = 0;
	const cJSON *item;
	int failed = 0;

	if (!cJSON_IsArray(json) || count > VOCAB_MOST)
		return nn_fail(error, -EINVAL, "tokenizer.json: model.merges is a list of at most %d.", VOCAB_MOST);
	while (size < 2 * count)
		size *= 2;
	b->merges = malloc(size * sizeof(*b->merges));
	if (!b->merges)
		return -ENOMEM;
	for (size_t i = 0; i < size; i++)
		b->merges[i].id = -1;
	b->mask = size - 1;
	cJSON_ArrayForEach(item, json)
	{
		failed = bpe_add_merge(b, item, rank++, &joined, error);
		if (failed)
			break;
	}
	text_free(&joined);
	return failed;
}

static void bpe_load_bytes(struct bpe *b, int fallback)
{
	for (int i = 0; i < 256; i++) {
		char name[8];

		snprintf(name, sizeof(name), "<0x%02X>", i);
		b->bytes[i] = fallback ? vocab_find(b->vocab, name, 6) : -1;
	}
}

/* A text that is absent, null or empty is NULL. */
static int bpe_load_text(char **text, const cJSON *json, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, name);

	*text = NULL;
	if (!cJSON_IsString(value) || !*value->valuestring)
		return 0;
	*text = strdup(value->valuestring);
	return *text ? 0 : -ENOMEM;
}

static void bpe_close(void *model)
{
	struct bpe *b = model;

	free(b->merges);
	free(b->prefix);
	free(b->suffix);
	free(b);
}

static void *bpe_open(const cJSON *json, struct vocab *vocab, struct nn_error *error)
{
	const cJSON *unknown = cJSON_GetObjectItemCaseSensitive(json, "unk_token");
	struct bpe *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->vocab = vocab;
	b->unknown = -1;
	if (cJSON_IsString(unknown))
		b->unknown = vocab_find(vocab, unknown->valuestring, strlen(unknown->valuestring));
	b->fuse_unknown = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "fuse_unk"));
	b->ignore_merges = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "ignore_merges"));
	bpe_load_bytes(b, cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "byte_fallback")));
	if (bpe_load_text(&b->prefix, json, "continuing_subword_prefix") ||
	    bpe_load_text(&b->suffix, json, "end_of_word_suffix") ||
	    bpe_load_merges(b, cJSON_GetObjectItemCaseSensitive(json, "merges"), error)) {
		bpe_close(b);
		return NULL;
	}
	return b;
}

/* One piece at work. */
struct bpe_symbol {
	int32_t id, previous, next; /* neighbours, or -1; id -1: merged into its left neighbour */
};

struct bpe_pair {
	uint32_t rank;
	int32_t at, id;
};

struct bpe_word {
	struct bpe_symbol *symbols;
	size_t n, symbols_room;
	struct bpe_pair *heap;
	size_t n_heap, heap_room;
};

static int bpe_before(const struct bpe_pair *a, const struct bpe_pair *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static int bpe_push(struct bpe_word *w, struct bpe_pair pair)
{
	size_t i = w->n_heap;

	if (text_reserve(&w->heap, &w->heap_room, w->n_heap + 1, sizeof(*w->heap)))
		return -ENOMEM;
	w->n_heap++;
	for (; i && bpe_before(&pair, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = pair;
	return 0;
}

static struct bpe_pair bpe_pop(struct bpe_word *w)
{
	struct bpe_pair top = w->heap[0], last = w->heap[--w->n_heap];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
		if (child + 1 < w->n_heap && bpe_before(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!bpe_before(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
	}
	w->heap[i] = last;
	return top;
}

/* Queues the pair that begins at `at`, if it can be merged. */
static int bpe_consider(const struct bpe *b, struct bpe_word *w, int32_t at)
{
	if (at < 0 || w->symbols[at].next < 0)
		return 0;
	const struct bpe_merge *m = bpe_find(b, w->symbols[at].id, w->symbols[w->symbols[at].next].id);

	return m ? bpe_push(w, (struct bpe_pair){m->rank, at, m->id}) : 0;
}

static int bpe_merge_all(const struct bpe *b, struct bpe_word *w)
{
	struct bpe_symbol *s = w->symbols;

	for (size_t i = 0; i + 1 < w->n; i++)
		if (bpe_consider(b, w, (int32_t)i))
			return -ENOMEM;
	while (w->n_heap) {
		struct bpe_pair top = bpe_pop(w);
		int32_t next = s[top.at].next;

		if (s[top.at].id < 0 || next < 0)
			continue;
		const struct bpe_merge *m = bpe_find(b, s[top.at].id, s[next].id);

		if (!m || m->id != top.id) /* one side was merged with another meanwhile */
			continue;
		s[top.at].id = top.id;
		s[top.at].next = s[next].next;
		if (s[next].next >= 0)
			s[s[next].next].previous = top.at;
		s[next].id = -1;
		if (bpe_consider(b, w, s[top.at].previous) || bpe_consider(b, w, top.at))
			return -ENOMEM;
	}
	return 0;
}

static int bpe_add_symbol(struct bpe_word *w, int32_t id)
{
	int32_t at = (int32_t)w->n;

	if (w->n >= INT32_MAX - 1 ||
	    text_reserve(&w->symbols, &w->symbols_room, w->n + 1, sizeof(*w->symbols)))
		return -ENOMEM;
	if (at)
		w->symbols[at - 1].next = at;
	w->symbols[w->n++] = (struct bpe_symbol){id, at - 1, -1};
	return 0;
}

/* A character that the vocabulary lacks: its bytes if all are there, else the unknown token, else nothing. */
static int bpe_add_unknown(const struct bpe *b, struct bpe_word *w, const char *s, size_t n)
{
	int all = 1, failed = 0;

	for (size_t i = 0; i < n; i++)
		all &= b->bytes[(unsigned char)s[i]] >= 0;
	for (size_t i = 0; all && i < n && !failed; i++)
		failed = bpe_add_symbol(w, b->bytes[(unsigned char)s[i]]);
	if (all || b->unknown < 0)
		return failed;
	if (b->fuse_unknown && w->n && w->symbols[w->n - 1].id == b->unknown)
		return 0;
	return bpe_add_symbol(w, b->unknown);
}

static int32_t bpe_find_symbol(const struct bpe *b, const char *s, size_t n, int first, int last, struct text *name)
{
	if (!(b->prefix && !first) && !(b->suffix && last))
		return vocab_find(b->vocab, s, n);
	name->n = 0;
	if ((b->prefix && !first && text_puts(name, b->prefix)) || text_put(name, s, n) ||
	    (b->suffix && last && text_puts(name, b->suffix)))
		return -1;
	return vocab_find(b->vocab, name->data, name->n);
}

static int bpe_symbols(const struct bpe *b, struct bpe_word *w, const char *piece, size_t n)
{
	struct text name = {0};
	int failed = 0;

	for (size_t i = 0, length; i < n && !failed; i += length) {
		length = utf8_length((unsigned char)piece[i]);
		if (length > n - i)
			length = n - i;
		int32_t id = bpe_find_symbol(b, piece + i, length, !i, i + length == n, &name);

		failed = id >= 0 ? bpe_add_symbol(w, id) : bpe_add_unknown(b, w, piece + i, length);
	}
	text_free(&name);
	return failed;
}

static int bpe_encode(const void *model, const char *piece, size_t n, struct nn_ids *ids)
{
	const struct bpe *b = model;
	struct bpe_word w = {0};
	int32_t whole = b->ignore_merges ? vocab_find(b->vocab, piece, n) : -1;
	int failed;

	if (whole >= 0)
		return ids_put(ids, whole);
	failed = bpe_symbols(b, &w, piece, n);
	if (!failed)
		failed = bpe_merge_all(b, &w);
	for (size_t i = 0; i < w.n && !failed; i++)
		if (w.symbols[i].id >= 0)
			failed = ids_put(ids, w.symbols[i].id);
	free(w.symbols);
	free(w.heap);
	return failed;
}

const struct model_type bpe_model = {"BPE", bpe_open, bpe_encode, bpe_close};

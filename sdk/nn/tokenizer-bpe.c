/* tokenizer-bpe.c - byte pair encoding (Sennrich 2016): the pair of the lowest rank is merged first. */
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
	size_t mask;
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

int bpe_add(void *model, const char *const text[2], const size_t n[2], uint32_t rank, struct text *joined,
	    struct nn_error *error)
{
	struct bpe *b = model;
	size_t skip = b->prefix ? strlen(b->prefix) : 0;

	joined->n = 0;
	if (skip > n[1])
		skip = n[1];
	if (text_put(joined, text[0], n[0]) || text_put(joined, text[1] + skip, n[1] - skip))
		return -ENOMEM;
	int32_t left = vocab_find(b->vocab, text[0], n[0]), right = vocab_find(b->vocab, text[1], n[1]);
	int32_t id = vocab_find(b->vocab, joined->data, joined->n);

	if (left < 0 || right < 0 || id < 0)
		return nn_fail(error, -EINVAL, "The tokenizer's merge %u makes or joins a token that the vocabulary lacks.",
			       rank);
	uint64_t pair = (uint64_t)left << 32 | (uint32_t)right;
	size_t slot = bpe_slot(b, pair);

	if (b->merges[slot].id < 0)
		b->merges[slot] = (struct bpe_merge){pair, rank, id};
	return 0;
}

static int bpe_reserve(struct bpe *b, size_t count)
{
	size_t size = 16;

	while (size < 2 * count)
		size *= 2;
	b->merges = malloc(size * sizeof(*b->merges));
	if (!b->merges)
		return -ENOMEM;
	for (size_t i = 0; i < size; i++)
		b->merges[i].id = -1;
	b->mask = size - 1;
	return 0;
}

static int bpe_load_merges(struct bpe *b, const cJSON *json, struct nn_error *error)
{
	size_t count = (size_t)cJSON_GetArraySize(json), n[2];
	struct text joined = {0};
	const char *text[2];
	uint32_t rank = 0;
	const cJSON *item;
	int failed;

	if (!cJSON_IsArray(json) || count > VOCAB_MOST)
		return nn_fail(error, -EINVAL, "tokenizer.json: model.merges is a list of at most %d.", VOCAB_MOST);
	failed = bpe_reserve(b, count);
	cJSON_ArrayForEach(item, json)
	{
		if (!failed && bpe_merge_texts(item, text, n))
			failed = nn_fail(error, -EINVAL, "tokenizer.json: merge %u is not a pair of texts.", rank);
		if (failed)
			break;
		failed = bpe_add(b, text, n, rank++, &joined, error);
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

void *bpe_new(struct vocab *vocab, size_t merges, int ignore_merges, int byte_fallback, int32_t unknown)
{
	struct bpe *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->vocab = vocab;
	b->unknown = unknown;
	b->fuse_unknown = 1;
	b->ignore_merges = ignore_merges;
	bpe_load_bytes(b, byte_fallback);
	if (!bpe_reserve(b, merges))
		return b;
	bpe_close(b);
	return NULL;
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

static int32_t bpe_pair(const void *model, const struct merge_word *w, const struct merge_symbol *left,
			const struct merge_symbol *right, uint32_t *rank)
{
	const struct bpe_merge *m = bpe_find(model, left->id, right->id);

	if (!m)
		return -1;
	*rank = m->rank;
	return m->id;
}

/* A character that the vocabulary lacks: its bytes if all are there, else the unknown token, else nothing. */
static int bpe_add_unknown(const struct bpe *b, struct merge_word *w, const char *s, size_t at, size_t n)
{
	int all = 1, failed = 0;

	for (size_t i = 0; i < n; i++)
		all &= b->bytes[(unsigned char)s[i]] >= 0;
	for (size_t i = 0; all && i < n && !failed; i++)
		failed = merge_add(w, b->bytes[(unsigned char)s[i]], at + i, 1);
	if (all || b->unknown < 0)
		return failed;
	if (b->fuse_unknown && w->n && w->symbols[w->n - 1].id == b->unknown)
		return 0;
	return merge_add(w, b->unknown, at, n);
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

static int bpe_symbols(const struct bpe *b, struct merge_word *w, const char *piece, size_t n)
{
	struct text name = {0};
	int failed = 0;

	for (size_t i = 0, length; i < n && !failed; i += length) {
		length = utf8_length((unsigned char)piece[i]);
		if (length > n - i)
			length = n - i;
		int32_t id = bpe_find_symbol(b, piece + i, length, !i, i + length == n, &name);

		failed = id >= 0 ? merge_add(w, id, i, length) : bpe_add_unknown(b, w, piece + i, i, length);
	}
	text_free(&name);
	return failed;
}

static int bpe_encode(const void *model, const char *piece, size_t n, struct nn_ids *ids)
{
	const struct bpe *b = model;
	struct merge_word w = {.text = piece};
	int32_t whole = b->ignore_merges ? vocab_find(b->vocab, piece, n) : -1;
	int failed;

	if (whole >= 0)
		return ids_put(ids, whole);
	failed = bpe_symbols(b, &w, piece, n);
	if (!failed)
		failed = merge_all(&w, bpe_pair, b);
	for (size_t i = 0; i < w.n && !failed; i++)
		if (w.symbols[i].n)
			failed = ids_put(ids, w.symbols[i].id);
	merge_free(&w);
	return failed;
}

const struct model_type bpe_model = {"BPE", bpe_open, bpe_encode, bpe_close};

/* tokenizer-vocab.c - token texts and ids, both ways; lists of ids and of pieces. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB_BLOCK = 1 << 16 };

static uint64_t vocab_hash(const char *text, size_t bytes)
{
	uint64_t h = 0x9e3779b97f4a7c15u ^ bytes;

	for (size_t i = 0; i < bytes; i++)
		h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

static int vocab_grow(struct vocab *v)
{
	size_t size = v->slots ? (v->mask + 1) * 2 : 1024;
	int32_t *slots = malloc(size * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	memset(slots, 0xff, size * sizeof(*slots));
	for (size_t i = 0; v->slots && i <= v->mask; i++) {
		if (v->slots[i] < 0)
			continue;
		const struct vocab_entry *e = &v->entries[v->slots[i]];
		size_t at = vocab_hash(e->text, e->bytes) & (size - 1);

		while (slots[at] >= 0)
			at = (at + 1) & (size - 1);
		slots[at] = v->slots[i];
	}
	free(v->slots);
	v->slots = slots;
	v->mask = size - 1;
	return 0;
}

/* A copy of the text that lives as long as the vocabulary. */
static char *vocab_keep(struct vocab *v, const char *text, size_t bytes)
{
	if (v->block_left < bytes + 1) {
		if (text_reserve(&v->blocks, &v->blocks_room, v->n_blocks + 1, sizeof(*v->blocks)))
			return NULL;
		v->blocks[v->n_blocks] = malloc(VOCAB_BLOCK);
		if (!v->blocks[v->n_blocks])
			return NULL;
		v->n_blocks++;
		v->block_left = VOCAB_BLOCK;
	}
	char *copy = v->blocks[v->n_blocks - 1] + (VOCAB_BLOCK - v->block_left);

	memcpy(copy, text, bytes);
	copy[bytes] = '\0';
	v->block_left -= bytes + 1;
	return copy;
}

static size_t vocab_slot(const struct vocab *v, const char *text, size_t bytes)
{
	size_t at = vocab_hash(text, bytes) & v->mask;

	for (; v->slots[at] >= 0; at = (at + 1) & v->mask) {
		const struct vocab_entry *e = &v->entries[v->slots[at]];

		if (e->bytes == bytes && !memcmp(e->text, text, bytes))
			break;
	}
	return at;
}

int vocab_add(struct vocab *v, const char *text, size_t bytes, int32_t id)
{
	if (id < 0 || id >= VOCAB_MOST || bytes >= VOCAB_BLOCK)
		return -EINVAL;
	if (text_reserve(&v->entries, &v->room, (size_t)id + 1, sizeof(*v->entries)))
		return -ENOMEM;
	for (; v->n <= (size_t)id; v->n++)
		v->entries[v->n] = (struct vocab_entry){0};
	if (v->entries[id].text)
		return v->entries[id].bytes == bytes && !memcmp(v->entries[id].text, text, bytes) ? 0 : -EEXIST;
	if ((!v->slots || v->used * 2 >= v->mask) && vocab_grow(v))
		return -ENOMEM;
	char *kept = vocab_keep(v, text, bytes);

	if (!kept)
		return -ENOMEM;
	size_t slot = vocab_slot(v, text, bytes);

	v->entries[id] = (struct vocab_entry){kept, (uint32_t)bytes};
	if (v->slots[slot] < 0) {
		v->slots[slot] = id;
		v->used++;
	}
	return 0;
}

int32_t vocab_find(const struct vocab *v, const char *text, size_t bytes)
{
	return v->slots ? v->slots[vocab_slot(v, text, bytes)] : -1;
}

void vocab_fini(struct vocab *v)
{
	for (size_t i = 0; i < v->n_blocks; i++)
		free(v->blocks[i]);
	free(v->blocks);
	free(v->slots);
	free(v->entries);
	*v = (struct vocab){0};
}

int ids_put(struct nn_ids *ids, int32_t id)
{
	if (text_reserve(&ids->data, &ids->room, ids->n + 1, sizeof(*ids->data)))
		return -ENOMEM;
	ids->data[ids->n++] = id;
	return 0;
}

int pieces_put(struct pieces *p, const char *s, size_t n)
{
	if (!n)
		return 0;
	if (text_reserve(&p->items, &p->room, p->n + 1, sizeof(*p->items)))
		return -ENOMEM;
	p->items[p->n++] = (struct piece){p->text.n, n};
	return text_put(&p->text, s, n);
}

void pieces_clear(struct pieces *p)
{
	p->text.n = 0;
	p->n = 0;
}

void pieces_free(struct pieces *p)
{
	text_free(&p->text);
	free(p->items);
	*p = (struct pieces){0};
}

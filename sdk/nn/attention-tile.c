/* attention-tile.c - one tile of attention: block after block of keys, each with a softmax of its own, joined in order. */
#include "sdk/nn/attention.h"

#include <math.h>
#include <string.h>

void attention_tile_begin(struct attention_tile *t, const struct attention *a, size_t kv, size_t line, size_t n)
{
	t->a = a;
	t->kv = kv;
	t->line = line;
	t->n = n;
	t->pages = a->shared ? a->pages[0] : a->pages[line / a->group];
	t->least = UINT32_MAX;
	t->most = 0;
	for (size_t i = 0; i < n; i++) {
		const size_t row = (line + i) / a->group, h = kv * a->group + (line + i) % a->group;
		const float *q = a->q.data + row * a->q.stride + h * a->shape->dk;

		for (size_t d = 0; d < a->shape->dk; d++)
			t->q[d * n + i] = q[d] * a->how->scale;
		attention_sees(a, row, &t->lo[i], &t->hi[i]);
		t->least = t->lo[i] < t->least ? t->lo[i] : t->least;
		t->most = t->hi[i] > t->most ? t->hi[i] : t->most;
	}
}

static void attention_softcap(const struct nn_kernels *kernels, float *s, size_t n, float cap)
{
	kernels->scale(s, n, 1.0f / cap);
	kernels->activate(s, n, NN_TANH);
	kernels->scale(s, n, cap);
}

/* ALiBi: a key's score falls with its distance to the last one that line `i` sees. */
static void attention_slope(const struct attention_tile *t, size_t i, const struct kernel_block *b, size_t base)
{
	const float slope = t->a->how->slopes[t->kv * t->a->group + (t->line + i) % t->a->group];
	float *s = b->s + i * KERNEL_KEYS;

	for (size_t j = b->first; j < b->keys; j++)
		s[j] += slope * (float)((int64_t)(base + j) - (int64_t)t->hi[i] + 1);
}

/* A key's score changes with its distance from line `i`: one value of the table for each, the outermost ones for all beyond. */
static void attention_relative(const struct attention_tile *t, size_t i, const struct kernel_block *b, size_t base)
{
	const struct nn_attention *how = t->a->how;
	const size_t row = (t->line + i) / t->a->group, head = t->kv * t->a->group + (t->line + i) % t->a->group;
	const int64_t reach = how->reach, place = how->place ? (int64_t)how->place[row] : (int64_t)t->hi[i] - 1;
	const float *by = how->relative + head * (2 * (size_t)how->reach + 1) + reach;
	const int64_t at = (int64_t)base - place; /* the distance of the block's first key */
	float *s = b->s + i * KERNEL_KEYS;
	int64_t j = b->first;

	for (; j < b->keys && at + j < -reach; j++)
		s[j] += by[-reach];
	for (; j < b->keys && at + j <= reach; j++)
		s[j] += by[at + j];
	for (; j < b->keys; j++)
		s[j] += by[reach];
}

/* The part of [0, at) that lies in the block from `base` on, counted from there. */
static uint32_t attention_within(uint32_t at, size_t base)
{
	return at <= base ? 0 : at - base < KERNEL_KEYS ? (uint32_t)(at - base) : KERNEL_KEYS;
}

/* Scores to weights. */
static void attention_weights(struct attention_tile *t, const struct kernel_block *b, size_t base)
{
	const struct attention *a = t->a;
	const uint32_t end = (b->keys + NN_PAGE - 1) / NN_PAGE * NN_PAGE;

	for (size_t i = 0; i < t->n; i++) {
		float *s = b->s + i * KERNEL_KEYS;

		if (a->how->softcap > 0)
			attention_softcap(a->kernels, s + b->first, end - b->first, a->how->softcap);
		if (a->how->slopes)
			attention_slope(t, i, b, base);
		if (a->how->relative)
			attention_relative(t, i, b, base);
		t->block_state[i] = a->kernels->weights(s, b->first, attention_within(t->lo[i], base),
							attention_within(t->hi[i], base), end);
	}
}

void attention_tile_block(struct attention_tile *t, size_t base)
{
	const struct attention *a = t->a;
	const void *heads[ATTENTION_PAGES], *next[ATTENTION_PAGES];
	const uint32_t first = attention_within(t->least, base) / NN_PAGE * NN_PAGE;
	struct kernel_block b = { .shape = a->shape, .heads = heads, .next = next, .q = t->q, .s = t->s, .out = t->block,
				  .rows = (uint32_t)t->n, .first = first, .keys = attention_within(t->most, base) };

	for (size_t i = first / NN_PAGE; i * NN_PAGE < b.keys; i++) {
		const size_t page = base / NN_PAGE + i, after = page + ATTENTION_PAGES;

		heads[i] = page_head(a->shape, t->pages[page], t->kv);
		next[i] = after * NN_PAGE < t->most ? page_head(a->shape, t->pages[after], t->kv) : heads[i];
	}
	a->kernels->block_scores(&b);
	attention_weights(t, &b, base);
	a->kernels->block_sums(&b);
}

void attention_line_end(const struct attention *a, size_t kv, size_t line, const struct kernel_softmax *state, float *sums)
{
	float *out = a->out.data + line / a->group * a->out.stride + (kv * a->group + line % a->group) * a->shape->dv;

	a->kernels->scale(sums, a->shape->dv, state->sum > 0 ? 1.0f / state->sum : state->sum);
	memcpy(out, sums, a->shape->dv * sizeof(*out));
}

void attention_tile_run(struct attention_tile *t)
{
	const size_t width = attention_width(t->a->shape);

	for (size_t i = 0; i < t->n; i++) {
		t->state[i] = (struct kernel_softmax){ -INFINITY, 0 };
		memset(t->out + i * NN_HEAD, 0, width * sizeof(*t->out));
	}
	for (size_t base = t->least / KERNEL_KEYS * KERNEL_KEYS; base < t->most; base += KERNEL_KEYS) {
		attention_tile_block(t, base);
		for (size_t i = 0; i < t->n; i++)
			t->a->kernels->join(&t->state[i], t->out + i * NN_HEAD, &t->block_state[i], t->block + i * NN_HEAD, width);
	}
	for (size_t i = 0; i < t->n; i++)
		attention_line_end(t->a, t->kv, t->line + i, &t->state[i], t->out + i * NN_HEAD);
}

/* memory.c - what is kept of a picture: keys and values of every block, made once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/connectors/gated_cross_attention/gated.h"

void memory_free(struct memory *m)
{
	while (m) {
		struct memory *next = m->next;

		keys_fini(&m->keys);
		free(m->rows);
		free(m->features);
		free(m);
		m = next;
	}
}

/* Room for a picture's keys and values. */
static int memory_room(const struct gated *g, struct memory *m, uint32_t rows)
{
	const size_t values = (size_t)g->n_blocks * 2 * rows * g->n_heads * g->head_dim;

	m->bytes += sizeof(*m);
	if (g->at_once) {
		m->keys.rows = rows;
		m->rows = malloc((values + 1) * sizeof(float));
		m->bytes += values * sizeof(float);
		return m->rows ? 0 : -ENOMEM;
	}
	const int error = keys_init(&m->keys, g, rows);

	m->bytes += keys_bytes(&m->keys, g);
	return error;
}

/* k and v of a block to where they are kept. */
static void memory_keep(struct nn *c, const struct gated *g, struct memory *m, uint32_t block, struct nn_tensor k, struct nn_tensor v)
{
	const size_t inner = (size_t)g->n_heads * g->head_dim;

	if (!g->at_once) {
		keys_write(c, g, &m->keys, block, 0, k, v);
		return;
	}
	for (size_t i = 0; k.data && v.data && i < k.rows; i++) {
		float *to = m->rows + (size_t)block * 2 * k.rows * inner;

		memcpy(to + i * inner, k.data + i * k.stride, inner * sizeof(*to));
		memcpy(to + (k.rows + i) * inner, v.data + i * v.stride, inner * sizeof(*to));
	}
}

/* x (rows, media_dim), resampled features or themselves, to the keys and values of all blocks. */
static void memory_fill(struct nn *c, const struct gated *g, struct memory *m, struct nn_tensor x)
{
	for (uint32_t i = 0; i < g->n_blocks && !nn_stopped(c); i++) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const struct block *b = &g->blocks[i];
		struct nn_tensor k = nn_gemm(c, x, b->k, NULL), v = nn_gemm(c, x, b->v, NULL);

		if (b->k_norm.w)
			nn_rms_norm_heads(c, k, g->n_heads, b->k_norm.w, g->norm_eps);
		memory_keep(c, g, m, i, k, v);
		nn_arena_release(c->arena, mark);
	}
}

static int memory_failed(struct percept_call *call, int error)
{
	return percept_fail(call, error, error == -ECANCELED ? "The connection was cancelled." :
			    error == -ENOMEM ? "Memory for this item is out." : "The item's keys and values were not made.");
}

static void memory_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x)
{
	if (call->host->observe && x.data && !c->error && x.stride == x.cols)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

/* A memory of features (layout->items * tokens, dim) as picture number `time`. */
static int memory_compute(struct percept_call *call, const struct gated *g, const float *features, const struct percept_layout *layout,
			  uint32_t time, struct memory **memory)
{
	const uint32_t rows = g->resamples ? g->perceiver.n_latents : layout->items * layout->tokens;
	struct memory *m = calloc(1, sizeof(*m));
	struct nn_arena *arena = nn_arena_new(0);
	struct nn c = { .error = -ENOMEM };

	if (m && arena && !memory_room(g, m, rows)) {
		nn_begin(&c, call, arena);
		struct nn_tensor x = nn_view((float *)features, (size_t)layout->items * layout->tokens, layout->dim);

		if (g->resamples)
			x = perceiver_forward(&c, call, &g->perceiver, x, layout->items, time);
		memory_observe(&c, call, "projected", x);
		memory_fill(&c, g, m, x);
		m->time = time;
		m->layout = *layout;
	}
	nn_arena_free(arena);
	if (c.error) {
		memory_free(m);
		return memory_failed(call, c.error);
	}
	*memory = m;
	return 0;
}

/* Why the features are not of this model; NULL: they are. */
static const char *memory_fault(const struct gated *g, const struct percept_layout *l, char text[256])
{
	if (g->resamples)
		return perceiver_fault(&g->perceiver, l, text);
	if (l->dim == g->in_dim && l->items && l->tokens && (uint64_t)l->items * l->tokens <= GATED_ROWS_MAX)
		return NULL;
	snprintf(text, 256, "The cross-attention takes features of %u values, and was given %u pieces of %u rows of %u.", g->in_dim,
		 l->items, l->tokens, l->dim);
	return text;
}

int memory_make(struct percept_call *call, struct gated *g, const struct percept_features *f, struct memory **memory)
{
	const size_t n = (size_t)f->layout.items * f->layout.tokens * f->layout.dim;
	char text[256];
	const char *fault = memory_fault(g, &f->layout, text);

	if (fault)
		return percept_fail(call, -EINVAL, "%s", fault);
	const int error = memory_compute(call, g, f->data, &f->layout, 0, memory);

	if (error || !g->perceiver.n_times)
		return error;
	(*memory)->features = malloc(n * sizeof(float));
	if (!(*memory)->features) {
		memory_free(*memory);
		return memory_failed(call, -ENOMEM);
	}
	memcpy((*memory)->features, f->data, n * sizeof(float));
	(*memory)->bytes += n * sizeof(float);
	return 0;
}

int memory_at(struct percept_call *call, struct gated *g, struct memory *m, uint32_t time, struct memory **found)
{
	struct memory *other = m;

	*found = m;
	if (!m->features)
		return 0;
	if (time >= g->perceiver.n_times)
		return percept_fail(call, -EINVAL, "This model was trained for at most %u pictures in a prompt.", g->perceiver.n_times);
	while (other && other->time != time)
		other = other->next;
	if (!other) {
		const int error = memory_compute(call, g, m->features, &m->layout, time, &other);

		if (error)
			return error;
		other->next = m->next;
		m->next = other;
	}
	*found = other;
	return 0;
}

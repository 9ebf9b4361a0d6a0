/* mixture.c - mixtures of experts: which rows go to which experts, and the weighted sum of what these give. */
#include "plugins/decoders/causal/model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "plugins/decoders/causal/names.h"

enum { MIXTURE_MAX = 4096 };

int model_mixture(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct mixture *x = &m->mixture;

	*x = (struct mixture){ .groups = 1, .groups_used = 1, .scale = 1, .d_ff = m->shape.d_ff };
	x->n = (uint32_t)nn_config_int(config, "num_local_experts|num_experts|n_routed_experts|expert_count", 0, 0, MIXTURE_MAX,
				       error);
	x->used = model_int(config, "num_experts_per_tok|expert_used_count", 2, MIXTURE_MAX, error);
	x->d_ff = model_int(config, "moe_intermediate_size|expert_feed_forward_length", m->shape.d_ff, MODEL_DIM_MAX, error);
	if (!error->code && x->n && x->used > x->n)
		return nn_fail(error, -EINVAL, "config.json: a row cannot go to %u of %u experts.", x->used, x->n);
	return error->code;
}

/* The matrix of expert `e`: its own tensor, or its part of the tensor of all. */
static const struct nn_weight *mixture_matrix(struct model *m, const char *name, uint32_t layer, uint32_t e, size_t rows,
					      size_t cols)
{
	char full[NN_NAMES_MAX];

	names_tensor(m, name, layer, e, full);
	if (!m->gguf) {
		struct nn_weight *own = nn_load(&m->body, rows, cols, "%s", full);

		return own ? model_pack(m, own) : NULL;
	}
	const struct nn_weight *all = nn_load(&m->body, m->mixture.n, rows * cols, "%s", full);

	return all ? model_pack(m, nn_weight_rows(m->checkpoint, all, e, 1, cols)) : NULL;
}

static void mixture_shared(struct model *m, struct layer *layer, uint32_t i)
{
	const uint32_t d = m->shape.d_model, ff = m->mixture.shared_ff;

	layer->shared.gate = model_matrix(m, ff, d, "ffn_gate_shexp.weight", i);
	layer->shared.up = model_matrix(m, ff, d, "ffn_up_shexp.weight", i);
	layer->shared.down = model_matrix(m, d, ff, "ffn_down_shexp.weight", i);
	layer->shared_gate = model_vector_maybe(m, d, "ffn_gate_inp_shexp.weight", i);
}

void block_mixture(struct model *m, struct layer *layer, uint32_t i)
{
	const struct mixture *x = &m->mixture;
	const uint32_t d = m->shape.d_model;

	/* Some layers of a mixture have none. */
	if (!model_weight_maybe(m, x->n, d, "ffn_gate_inp.weight", i)) {
		block_mlp(m, layer, i);
		return;
	}
	layer->router = model_matrix(m, x->n, d, "ffn_gate_inp.weight", i);
	layer->experts = nn_checkpoint_alloc(m->checkpoint, x->n * sizeof(*layer->experts));
	if (!layer->experts) {
		nn_fail(m->body.error, -ENOMEM, "Memory is out.");
		return;
	}
	memset(layer->experts, 0, x->n * sizeof(*layer->experts));
	for (uint32_t e = 0; e < x->n && !m->body.error->code; e++) {
		layer->experts[e].gate = mixture_matrix(m, "ffn_gate_exps.weight", i, e, x->d_ff, d);
		layer->experts[e].up = mixture_matrix(m, "ffn_up_exps.weight", i, e, x->d_ff, d);
		layer->experts[e].down = mixture_matrix(m, "ffn_down_exps.weight", i, e, d, x->d_ff);
	}
	if (x->shared_ff)
		mixture_shared(m, layer, i);
}

/* The best of p [n] that is not yet taken; NULL taken: of all. Of equal ones the first. */
static uint32_t mixture_best(const float *p, const float *taken, uint32_t n)
{
	uint32_t best = n;

	for (uint32_t i = 0; i < n; i++)
		if (!(taken[i] >= 0) && (best == n || p[i] > p[best]))
			best = i;
	return best == n ? 0 : best;
}

/* DeepSeek-V2, 2.1.2: experts outside the best groups have probability 0. mark is scratch [n]. */
static void mixture_group(const struct mixture *x, float *p, float *mark)
{
	const uint32_t size = x->n / x->groups;
	float best[MIXTURE_MAX];

	for (uint32_t g = 0; g < x->groups; g++) {
		best[g] = p[g * size];
		mark[g] = -1;
		for (uint32_t i = 1; i < size; i++)
			best[g] = p[g * size + i] > best[g] ? p[g * size + i] : best[g];
	}
	for (uint32_t k = 0; k < x->groups_used; k++)
		mark[mixture_best(best, mark, x->groups)] = 1;
	for (uint32_t g = 0; g < x->groups; g++)
		for (uint32_t i = 0; mark[g] < 0 && i < size; i++)
			p[g * size + i] = 0;
}

/* p [n]: a row's probabilities to its experts' weights, -1 for those that it does not go to. */
static void mixture_choose(const struct mixture *x, float *p)
{
	float weight[MIXTURE_MAX], sum = 0;

	if (x->groups > 1)
		mixture_group(x, p, weight);
	for (uint32_t i = 0; i < x->n; i++)
		weight[i] = -1;
	for (uint32_t k = 0; k < x->used; k++) {
		const uint32_t e = mixture_best(p, weight, x->n);

		weight[e] = p[e];
		sum += p[e];
	}
	for (uint32_t i = 0; i < x->n; i++)
		p[i] = weight[i] < 0 ? -1 : weight[i] * x->scale / (x->normed && sum > 0 ? sum : 1);
}

/* y += weight of the row * what an expert gives for the rows that go to it. */
static void mixture_expert(struct nn *c, const struct model *m, const struct feed_forward *f, struct nn_tensor x,
			   struct nn_tensor weights, uint32_t e, struct nn_tensor y)
{
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);
	uint32_t *rows = nn_memory(c, x.rows, sizeof(*rows)), n = 0;

	for (uint32_t t = 0; rows && t < x.rows; t++)
		if (weights.data[t * weights.stride + e] >= 0)
			rows[n++] = t;
	if (n) {
		struct nn_tensor part = nn_new(c, n, x.cols);

		for (uint32_t i = 0; part.data && i < n; i++)
			memcpy(part.data + i * part.stride, x.data + rows[i] * x.stride, x.cols * sizeof(float));
		part = feed_forward(c, m, f, part);
		for (uint32_t i = 0; part.data && i < n; i++) {
			const float weight = weights.data[rows[i] * weights.stride + e];

			for (size_t k = 0; k < y.cols; k++)
				y.data[rows[i] * y.stride + k] += weight * part.data[i * part.stride + k];
		}
	}
	nn_arena_release(c->arena, mark);
}

/* y += shared(x), times sigmoid(gate . x) where there is a gate (Qwen2-MoE). */
static void mixture_add_shared(struct nn *c, const struct model *m, const struct layer *layer, struct nn_tensor x,
			       struct nn_tensor y)
{
	struct nn_tensor all = feed_forward(c, m, &layer->shared, x), gate = nn_new(c, x.rows, 1);

	for (size_t t = 0; layer->shared_gate && !c->error && t < x.rows; t++) {
		float sum = 0;

		for (size_t k = 0; k < x.cols; k++)
			sum += x.data[t * x.stride + k] * layer->shared_gate[k];
		gate.data[t * gate.stride] = sum;
	}
	if (layer->shared_gate)
		nn_activate(c, gate, NN_SIGMOID);
	for (size_t t = 0; layer->shared_gate && !c->error && t < x.rows; t++)
		for (size_t k = 0; k < all.cols; k++)
			all.data[t * all.stride + k] *= gate.data[t * gate.stride];
	nn_add_to(c, y, all);
}

/* Experts add in their own order, so that a row's sum does not depend on the other rows. */
struct nn_tensor mixture_layer(struct nn *c, const struct model *m, const struct layer *layer, struct nn_tensor x)
{
	if (!layer->router)
		return feed_forward_layer(c, m, layer, x);
	struct nn_tensor weights = nn_linear(c, x, layer->router, NULL), y = nn_new(c, x.rows, x.cols);

	nn_softmax(c, weights);
	for (size_t t = 0; !c->error && t < x.rows; t++) {
		mixture_choose(&m->mixture, weights.data + t * weights.stride);
		memset(y.data + t * y.stride, 0, y.cols * sizeof(float));
	}
	for (uint32_t e = 0; e < m->mixture.n && !nn_stopped(c); e++)
		mixture_expert(c, m, &layer->experts[e], x, weights, e, y);
	if (layer->shared.up)
		mixture_add_shared(c, m, layer, x, y);
	return y;
}

/* experts.c - what a decoder's layer computes of pictures' rows in place of its own weights. */
#include "plugins/connectors/visual_expert/visual_expert.h"

#include <errno.h>

#include "sdk/nn/part.h"

typedef struct nn_tensor experts_forward(struct nn *c, const struct visual_expert *v, const struct expert_layer *l, struct nn_tensor x);

/* (n, q + k + v), not rotated. */
static struct nn_tensor experts_qkv(struct nn *c, const struct visual_expert *v, const struct expert_layer *l, struct nn_tensor x)
{
	(void)v;
	return nn_linear(c, x, l->qkv, l->qkv_bias);
}

static struct nn_tensor experts_out(struct nn *c, const struct visual_expert *v, const struct expert_layer *l, struct nn_tensor x)
{
	(void)v;
	return nn_linear(c, x, l->out, NULL);
}

/* Shazeer 2020: down(activate(gate x) * (up x)). */
static struct nn_tensor experts_mlp(struct nn *c, const struct visual_expert *v, const struct expert_layer *l, struct nn_tensor x)
{
	struct nn_tensor y[2];

	nn_linear_all(c, x, 2, (const struct nn_weight *const[]){ l->gate, l->up }, NULL, y);
	return nn_linear(c, nn_gate(c, y[0], y[1], v->activation), l->down, NULL);
}

int experts_project(struct percept_call *call, void *state, uint32_t layer, enum percept_project what, const struct percept_row *rows,
		    const uint32_t *index, uint32_t n, const float *x, float *y)
{
	static const struct {
		experts_forward *forward;
		const char *name;
	} parts[] = {
		[PERCEPT_PROJECT_QKV] = { experts_qkv, "attention" },
		[PERCEPT_PROJECT_OUT] = { experts_out, "attention" },
		[PERCEPT_PROJECT_MLP] = { experts_mlp, "feed-forward part" },
	};
	const struct visual_expert *v = state;
	struct nn c;

	(void)rows;
	(void)index;
	if (layer >= v->n_layers || what < PERCEPT_PROJECT_QKV || what > PERCEPT_PROJECT_MLP)
		return percept_fail(call, -EINVAL, "The visual expert has %u layers and was asked for projection %d of layer %u.", v->n_layers,
				    (int)what, layer);
	nn_arena_reset(v->arena);
	nn_begin(&c, call, v->arena);
	struct nn_tensor out = parts[what].forward(&c, v, &v->layers[layer],
						   nn_view((float *)x, n, what == PERCEPT_PROJECT_OUT ? v->out_dim : v->d_model));

	nn_part_copy(&c, out, y);
	if (!c.error)
		return 0;
	return percept_fail(call, c.error, "The visual expert's %s of layer %u %s.", parts[what].name, layer,
			    c.error == -ECANCELED ? "was cancelled" : "failed: memory is out");
}

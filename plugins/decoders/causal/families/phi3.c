/* phi3.c - Phi-3 (Abdin 2024): LLaMA with q, k, v in one matrix and gate and up in another, the gate's half first. */
#include "plugins/decoders/causal/families/families.h"

static int phi3_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	return model_windows(m, config, 0, error);
}

static void phi3_load(struct model *m, struct layer *layer, uint32_t i)
{
	const struct shape *s = &m->shape;
	const struct nn_weight *both = model_weight(m, 2 * (size_t)s->d_ff, s->d_model, "ffn_up.weight", i);

	block_norms(m, layer, i);
	block_attention_fused(m, layer, i);
	layer->mlp.gate = model_rows(m, both, 0, s->d_ff);
	layer->mlp.up = model_rows(m, both, s->d_ff, s->d_ff);
	layer->mlp.down = model_matrix(m, s->d_model, s->d_ff, "ffn_down.weight", i);
}

static const char *const types[] = { "phi3", NULL };
static const char *const classes[] = { "Phi3ForCausalLM", "Phi3Model", NULL };
const struct family family_phi3 = {
	.name = "phi3", .types = types, .classes = classes, .configure = phi3_configure, .load = phi3_load,
	.mlp = feed_forward_layer,
};

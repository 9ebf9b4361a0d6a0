/* idefics.c - Idefics' layers: in front of each cross_layer_interval-th of the decoder's, like them but for their attention. */
#include <errno.h>

#include "plugins/connectors/gated_cross_attention/gated.h"

static uint32_t idefics_number(struct nn_loader *l, const cJSON *config, const char *name, int64_t fallback, int64_t most)
{
	return (uint32_t)nn_config_int(config, name, fallback, 1, most, l->error);
}

static int idefics_configure(struct gated *g, struct nn_loader *l, const cJSON *config)
{
	const cJSON *vision = nn_config_object(config, "vision_config");
	const char *activation = nn_config_string(config, "hidden_act", "silu");
	const int act = nn_activation_named(activation);
	const uint32_t interval = idefics_number(l, config, "cross_layer_interval", 1, GATED_LAYERS_MAX);

	g->d_model = idefics_number(l, config, "hidden_size", 4096, GATED_DIM_MAX);
	g->d_ff = idefics_number(l, config, "intermediate_size", 11008, GATED_DIM_MAX);
	g->n_layers = g->n_at = idefics_number(l, config, "num_hidden_layers", 32, GATED_LAYERS_MAX);
	g->n_heads = idefics_number(l, config, "num_attention_heads", 32, GATED_DIM_MAX);
	g->media_dim = idefics_number(l, vision, "embed_dim|hidden_size", 768, GATED_DIM_MAX);
	g->norm_eps = (float)nn_config_real(config, "rms_norm_eps", 1e-6, l->error);
	g->resamples = nn_config_bool(config, "use_resampler", 0, l->error);
	if (l->error->code)
		return l->error->code;
	if (act < 0)
		return nn_fail(l->error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", activation);
	if (g->d_model % g->n_heads)
		return nn_fail(l->error, -EINVAL, "config.json: %u values cannot be divided into %u attention heads.", g->d_model, g->n_heads);
	if (g->n_layers % interval)
		return nn_fail(l->error, -EINVAL, "config.json: %u layers are not a multiple of cross_layer_interval, %u.", g->n_layers,
			       interval);
	g->activation = (enum nn_activation)act;
	g->head_dim = g->d_model / g->n_heads;
	for (uint32_t i = 0; i < g->n_layers; i += interval)
		g->at[i] = ++g->n_blocks;
	return 0;
}

static void idefics_load(struct gated *g, struct nn_loader *l, struct block *b, uint32_t layer)
{
	const cJSON *config = nn_checkpoint_config(l->checkpoint);
	const uint32_t i = g->at[layer] - 1;
	const size_t d = g->d_model;

	b->norm = gated_norm(g, l, d, "gated_cross_attn_layers.%u.input_layernorm", i);
	b->q = gated_matrix(g, l, d, d, 0, "gated_cross_attn_layers.%u.cross_attn.q_proj", i);
	b->k = gated_matrix(g, l, d, g->media_dim, 1, "gated_cross_attn_layers.%u.cross_attn.k_proj", i);
	b->v = gated_matrix(g, l, d, g->media_dim, 1, "gated_cross_attn_layers.%u.cross_attn.v_proj", i);
	b->out = gated_matrix(g, l, d, d, 0, "gated_cross_attn_layers.%u.cross_attn.o_proj", i);
	if (nn_config_bool(config, "qk_layer_norms", 0, l->error)) {
		b->q_norm = gated_norm(g, l, g->head_dim, "gated_cross_attn_layers.%u.cross_attn.q_layer_norm", i);
		b->k_norm = gated_norm(g, l, g->head_dim, "gated_cross_attn_layers.%u.cross_attn.k_layer_norm", i);
	}
	b->feed = gated_norm(g, l, d, "gated_cross_attn_layers.%u.post_attention_layernorm", i);
	b->gate = gated_matrix(g, l, g->d_ff, d, 0, "gated_cross_attn_layers.%u.mlp.gate_proj", i);
	b->up = gated_matrix(g, l, g->d_ff, d, 0, "gated_cross_attn_layers.%u.mlp.up_proj", i);
	b->down = gated_matrix(g, l, d, g->d_ff, 0, "gated_cross_attn_layers.%u.mlp.down_proj", i);
	b->attention_gate = gated_gate(g, l, "gated_cross_attn_layers.%u.alpha_cross_attn", i);
	b->feed_gate = gated_gate(g, l, "gated_cross_attn_layers.%u.alpha_dense", i);
}

const struct gated_kind gated_idefics = {
	.name = "idefics", .rms = 1, .activation = NN_SILU, .configure = idefics_configure, .load = idefics_load,
	.before = "<fake_token_around_image>", .marker = "<image>", .after = "<fake_token_around_image>",
};

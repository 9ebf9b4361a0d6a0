/* opt.c - OPT (Zhang 2022): LayerNorm before or behind, learned positions that begin at row 2, ReLU, biases; words may be
 * narrower than the blocks. */
#include <errno.h>

#include "plugins/decoders/causal/families/families.h"

enum { OPT_POSITIONS = 2 }; /* rows of the table before the first position's */

static int opt_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	struct shape *s = &m->shape;
	const int before = nn_config_bool(config, "do_layer_norm_before", 1, error);

	s->layer_norm = 1;
	s->rope_dim = 0;
	s->norm_eps = 1e-5f;
	s->d_ff = model_int(config, "ffn_dim", 4 * (int64_t)s->d_model, MODEL_DIM_MAX, error);
	s->word_dim = model_int(config, "word_embed_proj_dim", s->d_model, MODEL_DIM_MAX, error);
	s->attention_bias = s->mlp_bias = nn_config_bool(config, "enable_bias", 1, error);
	s->norm_after = !before;
	s->norm_ones = !nn_config_bool(config, "layer_norm_elementwise_affine", 1, error);
	s->last_norm = before && !nn_config_bool(config, "_remove_final_layer_norm", 0, error);
	if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(config, "activation_function")))
		s->activation = NN_RELU;
	return error->code;
}

static int opt_positions(struct model *m, const cJSON *config, struct nn_error *error)
{
	const struct shape *s = &m->shape;
	const struct nn_weight *all = model_weight(m, (size_t)s->context + OPT_POSITIONS, s->d_model, "position_embd.weight", 0);

	(void)config;
	if (!all)
		return error->code;
	m->positions = nn_weight_rows(m->checkpoint, all, OPT_POSITIONS, s->context, 0);
	if (!m->positions)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	m->weight_bytes += m->positions->bytes;
	if (s->word_dim == s->d_model)
		return 0;
	m->project_in = model_matrix(m, s->d_model, s->word_dim, "token_embd_proj.weight", 0);
	m->project_out = model_matrix(m, s->word_dim, s->d_model, "output_proj.weight", 0);
	return error->code;
}

static void opt_load(struct model *m, struct layer *layer, uint32_t i)
{
	const struct shape *s = &m->shape;

	*(s->norm_after ? &layer->attention_sum : &layer->attention_norm) = model_norm(m, s->d_model, "attn_norm", i);
	*(s->norm_after ? &layer->mlp_sum : &layer->mlp_norm) = model_norm(m, s->d_model, "ffn_norm", i);
	block_attention(m, layer, i);
	block_mlp_plain(m, layer, i);
}

static const char *const types[] = { "opt", NULL };
static const char *const classes[] = { "OPTForCausalLM", "OPTModel", NULL };
const struct family family_opt = {
	.name = "opt", .types = types, .classes = classes, .configure = opt_configure,
	.positions = opt_positions, .load = opt_load, .mlp = feed_forward_layer,
};

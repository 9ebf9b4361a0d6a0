/* llama.c - LLaMA, LLaMA 2 and 3, Vicuna (Touvron 2023): gated feed-forward, rotary positions, grouped key-value heads. */
#include "plugins/decoders/causal/families/families.h"

static void llama_load(struct model *m, struct layer *layer, struct nn_loader *l, uint32_t i)
{
	const struct shape *s = &m->shape;

	layer->attention_norm = model_vector(m, l, s->d_model, "layers.%u.input_layernorm.weight", i);
	layer->mlp_norm = model_vector(m, l, s->d_model, "layers.%u.post_attention_layernorm.weight", i);
	layer->q = model_matrix(m, l, s->q_dim, s->d_model, "layers.%u.self_attn.q_proj.weight", i);
	layer->k = model_matrix(m, l, s->kv_dim, s->d_model, "layers.%u.self_attn.k_proj.weight", i);
	layer->v = model_matrix(m, l, s->kv_dim, s->d_model, "layers.%u.self_attn.v_proj.weight", i);
	layer->o = model_matrix(m, l, s->d_model, s->q_dim, "layers.%u.self_attn.o_proj.weight", i);
	layer->gate = model_matrix(m, l, s->d_ff, s->d_model, "layers.%u.mlp.gate_proj.weight", i);
	layer->up = model_matrix(m, l, s->d_ff, s->d_model, "layers.%u.mlp.up_proj.weight", i);
	layer->down = model_matrix(m, l, s->d_model, s->d_ff, "layers.%u.mlp.down_proj.weight", i);
	if (s->attention_bias) {
		layer->q_bias = model_vector(m, l, s->q_dim, "layers.%u.self_attn.q_proj.bias", i);
		layer->k_bias = model_vector(m, l, s->kv_dim, "layers.%u.self_attn.k_proj.bias", i);
		layer->v_bias = model_vector(m, l, s->kv_dim, "layers.%u.self_attn.v_proj.bias", i);
		layer->o_bias = model_vector(m, l, s->d_model, "layers.%u.self_attn.o_proj.bias", i);
	}
	if (s->mlp_bias) {
		layer->gate_bias = model_vector(m, l, s->d_ff, "layers.%u.mlp.gate_proj.bias", i);
		layer->up_bias = model_vector(m, l, s->d_ff, "layers.%u.mlp.up_proj.bias", i);
		layer->down_bias = model_vector(m, l, s->d_model, "layers.%u.mlp.down_proj.bias", i);
	}
}

/* Shazeer 2020: down(activate(gate x) * (up x)). */
static struct nn_tensor llama_mlp(struct nn *c, const struct model *m, const struct layer *layer, struct nn_tensor x)
{
	struct nn_tensor gate = nn_linear(c, x, layer->gate, layer->gate_bias);
	struct nn_tensor up = nn_linear(c, x, layer->up, layer->up_bias);

	return nn_linear(c, nn_gate(c, gate, up, m->shape.activation), layer->down, layer->down_bias);
}

static const char *const types[] = { "llama", "llava_llama", "llava", NULL };
static const char *const classes[] = { "LlamaForCausalLM", "LlamaModel", "LlavaLlamaForCausalLM", NULL };
static const char *const body[] = { "model.", "language_model.model.", "model.language_model.", "language_model.", "", NULL };
static const char *const head[] = { "", "language_model.", "model.", NULL };
const struct family family_llama = {
	.name = "llama", .types = types, .classes = classes, .body = body, .head = head,
	.load = llama_load, .mlp = llama_mlp,
};

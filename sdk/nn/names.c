/* names.c - what a language model's tensors are called in GGUF files and in Hugging Face's. */
#include "sdk/nn/names.h"

#include <stdio.h>
#include <string.h>

/* LLaMA's names, which most families share. */
static const struct nn_tensor_name names_common[] = {
	{ "token_embd", "embed_tokens" },
	{ "output_norm", "norm" },
	{ "output", "lm_head" },
	{ "attn_norm", "layers.%u.input_layernorm" },
	{ "attn_q", "layers.%u.self_attn.q_proj" },
	{ "attn_k", "layers.%u.self_attn.k_proj" },
	{ "attn_v", "layers.%u.self_attn.v_proj" },
	{ "attn_qkv", "layers.%u.self_attn.qkv_proj" },
	{ "attn_output", "layers.%u.self_attn.o_proj" },
	{ "attn_q_norm", "layers.%u.self_attn.q_norm" },
	{ "attn_k_norm", "layers.%u.self_attn.k_norm" },
	{ "ffn_norm", "layers.%u.post_attention_layernorm" },
	{ "ffn_gate", "layers.%u.mlp.gate_proj" },
	{ "ffn_up", "layers.%u.mlp.up_proj" },
	{ "ffn_down", "layers.%u.mlp.down_proj" },
	{ "ffn_gate_inp", "layers.%u.mlp.gate" },
	{ "ffn_gate_exps", "layers.%u.mlp.experts.%u.gate_proj" },
	{ "ffn_up_exps", "layers.%u.mlp.experts.%u.up_proj" },
	{ "ffn_down_exps", "layers.%u.mlp.experts.%u.down_proj" },
	{ "ffn_gate_inp_shexp", "layers.%u.mlp.shared_expert_gate" },
	{ "ffn_gate_shexp", "layers.%u.mlp.shared_expert.gate_proj" },
	{ "ffn_up_shexp", "layers.%u.mlp.shared_expert.up_proj" },
	{ "ffn_down_shexp", "layers.%u.mlp.shared_expert.down_proj" },
	{ NULL, NULL },
};
/* The experts for the rows of media are a connector's to read. */
static const struct nn_tensor_name names_cogvlm[] = {
	{ "attn_qkv", "layers.%u.self_attn.language_expert_query_key_value" },
	{ "attn_output", "layers.%u.self_attn.language_expert_dense" },
	{ "ffn_gate", "layers.%u.mlp.language_mlp.gate_proj" },
	{ "ffn_up", "layers.%u.mlp.language_mlp.up_proj" },
	{ "ffn_down", "layers.%u.mlp.language_mlp.down_proj" },
	{ "vis_attn_qkv", "layers.%u.self_attn.vision_expert_query_key_value" },
	{ "vis_attn_output", "layers.%u.self_attn.vision_expert_dense" },
	{ "vis_gate", "layers.%u.mlp.vision_mlp.gate_proj" },
	{ "vis_up", "layers.%u.mlp.vision_mlp.up_proj" },
	{ "vis_down", "layers.%u.mlp.vision_mlp.down_proj" },
	{ NULL, NULL },
};
static const struct nn_tensor_name names_deepseek2[] = {
	{ "attn_q_a", "layers.%u.self_attn.q_a_proj" },
	{ "attn_q_a_norm", "layers.%u.self_attn.q_a_layernorm" },
	{ "attn_q_b", "layers.%u.self_attn.q_b_proj" },
	{ "attn_kv_a_mqa", "layers.%u.self_attn.kv_a_proj_with_mqa" },
	{ "attn_kv_a_norm", "layers.%u.self_attn.kv_a_layernorm" },
	{ "attn_kv_b", "layers.%u.self_attn.kv_b_proj" },
	{ "attn_k_b", "layers.%u.self_attn.k_b_proj" },
	{ "attn_v_b", "layers.%u.self_attn.v_b_proj" },
	{ "ffn_gate_shexp", "layers.%u.mlp.shared_experts.gate_proj" },
	{ "ffn_up_shexp", "layers.%u.mlp.shared_experts.up_proj" },
	{ "ffn_down_shexp", "layers.%u.mlp.shared_experts.down_proj" },
	{ NULL, NULL },
};
static const struct nn_tensor_name names_gemma[] = {
	{ "post_attention_norm", "layers.%u.post_attention_layernorm" },
	{ "ffn_norm", "layers.%u.pre_feedforward_layernorm" },
	{ "post_ffw_norm", "layers.%u.post_feedforward_layernorm" },
	{ NULL, NULL },
};
static const struct nn_tensor_name names_gpt2[] = {
	{ "token_embd", "wte" },
	{ "position_embd", "wpe" },
	{ "output_norm", "ln_f" },
	{ "attn_norm", "h.%u.ln_1" },
	{ "attn_qkv", "h.%u.attn.c_attn" },
	{ "attn_output", "h.%u.attn.c_proj" },
	{ "ffn_norm", "h.%u.ln_2" },
	{ "ffn_up", "h.%u.mlp.c_fc" },
	{ "ffn_down", "h.%u.mlp.c_proj" },
	{ NULL, NULL },
};
static const struct nn_tensor_name names_gpt_neox[] = {
	{ "token_embd", "embed_in" },
	{ "output_norm", "final_layer_norm" },
	{ "output", "embed_out" },
	{ "attn_norm", "layers.%u.input_layernorm" },
	{ "attn_qkv", "layers.%u.attention.query_key_value" },
	{ "attn_output", "layers.%u.attention.dense" },
	{ "ffn_norm", "layers.%u.post_attention_layernorm" },
	{ "ffn_up", "layers.%u.mlp.dense_h_to_4h" },
	{ "ffn_down", "layers.%u.mlp.dense_4h_to_h" },
	{ NULL, NULL },
};
static const struct nn_tensor_name names_mixtral[] = {
	{ "ffn_gate_inp", "layers.%u.block_sparse_moe.gate" },
	{ "ffn_gate_exps", "layers.%u.block_sparse_moe.experts.%u.w1" },
	{ "ffn_up_exps", "layers.%u.block_sparse_moe.experts.%u.w3" },
	{ "ffn_down_exps", "layers.%u.block_sparse_moe.experts.%u.w2" },
	{ NULL, NULL },
};
static const struct nn_tensor_name names_mpt[] = {
	{ "token_embd", "wte" },
	{ "position_embd", "wpe" },
	{ "output_norm", "norm_f" },
	{ "attn_norm", "blocks.%u.norm_1" },
	{ "attn_qkv", "blocks.%u.attn.Wqkv" },
	{ "attn_q_norm", "blocks.%u.attn.q_ln" },
	{ "attn_k_norm", "blocks.%u.attn.k_ln" },
	{ "attn_output", "blocks.%u.attn.out_proj" },
	{ "ffn_norm", "blocks.%u.norm_2" },
	{ "ffn_up", "blocks.%u.ffn.up_proj" },
	{ "ffn_down", "blocks.%u.ffn.down_proj" },
	{ NULL, NULL },
};
/* MPT as it was called first. */
static const struct nn_tensor_name names_mosaic_gpt[] = {
	{ "token_embd", "wte" },
	{ "position_embd", "wpe" },
	{ "output_norm", "ln_f" },
	{ "attn_norm", "blocks.%u.ln_1" },
	{ "attn_qkv", "blocks.%u.attn.Wqkv" },
	{ "attn_q_norm", "blocks.%u.attn.q_ln" },
	{ "attn_k_norm", "blocks.%u.attn.k_ln" },
	{ "attn_output", "blocks.%u.attn.out_proj" },
	{ "ffn_norm", "blocks.%u.ln_2" },
	{ "ffn_up", "blocks.%u.mlp.mlp_up" },
	{ "ffn_down", "blocks.%u.mlp.mlp_down" },
	{ NULL, NULL },
};
static const struct nn_tensor_name names_opt[] = {
	{ "token_embd", "decoder.embed_tokens" },
	{ "token_embd_proj", "decoder.project_in" },
	{ "position_embd", "decoder.embed_positions" },
	{ "output_norm", "decoder.final_layer_norm" },
	{ "output_proj", "decoder.project_out" },
	{ "attn_norm", "decoder.layers.%u.self_attn_layer_norm" },
	{ "attn_q", "decoder.layers.%u.self_attn.q_proj" },
	{ "attn_k", "decoder.layers.%u.self_attn.k_proj" },
	{ "attn_v", "decoder.layers.%u.self_attn.v_proj" },
	{ "attn_output", "decoder.layers.%u.self_attn.out_proj" },
	{ "ffn_norm", "decoder.layers.%u.final_layer_norm" },
	{ "ffn_up", "decoder.layers.%u.fc1" },
	{ "ffn_down", "decoder.layers.%u.fc2" },
	{ NULL, NULL },
};
static const struct nn_tensor_name names_phi3[] = {
	{ "ffn_up", "layers.%u.mlp.gate_up_proj" },
	{ NULL, NULL },
};
static const struct nn_tensor_name names_qwen[] = {
	{ "token_embd", "wte" },
	{ "output_norm", "ln_f" },
	{ "attn_norm", "h.%u.ln_1" },
	{ "attn_qkv", "h.%u.attn.c_attn" },
	{ "attn_output", "h.%u.attn.c_proj" },
	{ "ffn_norm", "h.%u.ln_2" },
	{ "ffn_gate", "h.%u.mlp.w2" },
	{ "ffn_up", "h.%u.mlp.w1" },
	{ "ffn_down", "h.%u.mlp.c_proj" },
	{ NULL, NULL },
};

static const struct {
	const char *family;
	const struct nn_tensor_name *names;
} names_families[] = {
	{ "cogvlm", names_cogvlm },
	{ "deepseek_v2", names_deepseek2 },
	{ "gemma2", names_gemma },
	{ "gemma3", names_gemma },
	{ "gpt2", names_gpt2 },
	{ "gpt_neox", names_gpt_neox },
	{ "mixtral", names_mixtral },
	{ "mosaic_gpt", names_mosaic_gpt },
	{ "mpt", names_mpt },
	{ "opt", names_opt },
	{ "phi3", names_phi3 },
	{ "qwen", names_qwen },
};

static const struct nn_tensor_name *names_own(const char *family)
{
	for (size_t i = 0; i < sizeof(names_families) / sizeof(names_families[0]); i++)
		if (!strcmp(names_families[i].family, family))
			return names_families[i].names;
	return NULL;
}

static const struct nn_tensor_name *names_find(const struct nn_tensor_name *list, const char *gguf, size_t n)
{
	for (; list && list->gguf; list++)
		if (strlen(list->gguf) == n && !memcmp(list->gguf, gguf, n))
			return list;
	return NULL;
}

const struct nn_tensor_name *nn_names_find(const char *family, const char *gguf, size_t n)
{
	const struct nn_tensor_name *name = names_find(names_own(family), gguf, n);

	return name ? name : names_find(names_common, gguf, n);
}

const struct nn_tensor_name *nn_names_at(const char *family, size_t i)
{
	const struct nn_tensor_name *own = names_own(family);

	for (const struct nn_tensor_name *name = own; name && name->gguf; name++)
		if (!i--)
			return name;
	for (const struct nn_tensor_name *name = names_common; name->gguf; name++)
		if (!names_find(own, name->gguf, strlen(name->gguf)) && !i--)
			return name;
	return NULL;
}

void nn_names_write(const char *hf, uint32_t layer, uint32_t expert, const char *suffix, char out[NN_NAMES_MAX])
{
	char base[NN_NAMES_MAX];

	/* The tables hold at most two %u: the layer and the expert. */
	snprintf(base, sizeof(base), hf, layer, expert);
	snprintf(out, NN_NAMES_MAX, "%.*s%s", NN_NAMES_MAX - 32, base, suffix);
}

/* names.c - what tensors are called in both kinds of files. */
#include "plugins/decoders/causal/model.h"

#include <stdio.h>
#include <string.h>

#include "plugins/decoders/causal/names.h"

/* LLaMA's names, which most families share. */
static const struct tensor_name names[] = {
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

static const char *names_find(const struct tensor_name *list, const char *gguf, size_t n)
{
	for (; list && list->gguf; list++)
		if (strlen(list->gguf) == n && !memcmp(list->gguf, gguf, n))
			return list->hf;
	return NULL;
}

void names_tensor(const struct model *m, const char *name, uint32_t layer, uint32_t expert, char out[NAMES_MAX])
{
	const char *suffix = strrchr(name, '.');
	const size_t n = suffix ? (size_t)(suffix - name) : strlen(name);
	const char *hf = names_find(m->family->names, name, n);

	hf = hf ? hf : names_find(names, name, n);
	suffix = suffix ? suffix : "";
	if (m->gguf) {
		/* What the other files have once for each layer lies in a block. */
		if (hf && strchr(hf, '%'))
			snprintf(out, NAMES_MAX, "blk.%u.%s", layer, name);
		else
			snprintf(out, NAMES_MAX, "%s", name);
		return;
	}
	char base[NAMES_MAX];

	/* The tables hold at most two %u: the layer and the expert. */
	snprintf(base, sizeof(base), hf ? hf : "%u.", layer, expert);
	snprintf(out, NAMES_MAX, "%.*s%s", NAMES_MAX - 32, base, suffix);
}

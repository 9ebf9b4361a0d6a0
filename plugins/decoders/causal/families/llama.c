/* llama.c - LLaMA, LLaMA 2 and 3, Vicuna, SmolLM2, and what Idefics has between its other layers (Touvron 2023): gated feed-forward, rotary positions, grouped key-value
 * heads. */
#include "plugins/decoders/causal/families/families.h"

int llama_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	/* GGUF's rows of q and k lie so that neighbours rotate together. */
	m->shape.rope_interleaved = m->gguf;
	/* Its files name Mixtral so, too. */
	if (model_mixture(m, config, error))
		return error->code;
	m->mixture.normed = 1;
	return 0;
}

void llama_load(struct model *m, struct layer *layer, uint32_t i)
{
	block_norms(m, layer, i);
	block_attention(m, layer, i);
	if (m->mixture.n)
		block_mixture(m, layer, i);
	else
		block_mlp(m, layer, i);
}

static const char *const types[] = { "llama", "llava_llama", "llava", "mobilevlm", "smollm", "idefics", NULL };
static const char *const classes[] = { "LlamaForCausalLM", "LlamaModel", "LlavaLlamaForCausalLM", "IdeficsForVisionText2Text", NULL };
const struct family family_llama = {
	.name = "llama", .types = types, .classes = classes, .configure = llama_configure, .load = llama_load,
	.mlp = mixture_layer,
};

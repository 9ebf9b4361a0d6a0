/* mistral.c - Mistral (Jiang 2023): LLaMA with sliding-window attention. */
#include "plugins/decoders/causal/families/families.h"

static int mistral_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	return llama_configure(m, config, error) || model_windows(m, config, 0, error) ? error->code : 0;
}

static const char *const types[] = { "mistral", "llava_mistral", NULL };
static const char *const classes[] = { "MistralForCausalLM", "MistralModel", NULL };
const struct family family_mistral = {
	.name = "mistral", .types = types, .classes = classes, .configure = mistral_configure, .load = llama_load,
	.mlp = mixture_layer,
};

/* mixtral.c - Mixtral (Jiang 2024): Mistral with experts; the chosen ones' weights sum to 1. */
#include "plugins/decoders/causal/families/families.h"

static int mixtral_configure(struct model *m, const cJSON *config, struct nn_error *error)
{
	return llama_configure(m, config, error) || model_windows(m, config, 0, error) ? error->code : 0;
}

static const char *const types[] = { "mixtral", NULL };
static const char *const classes[] = { "MixtralForCausalLM", "MixtralModel", NULL };
const struct family family_mixtral = {
	.name = "mixtral", .types = types, .classes = classes, .configure = mixtral_configure,
	.load = llama_load, .mlp = mixture_layer,
};

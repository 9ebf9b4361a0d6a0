/* families.c - which family a configuration is of. */
#include "plugins/decoders/causal/families/families.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct family *const families[] = {
	&family_llama,	&family_mistral,   &family_mixtral, &family_qwen,   &family_qwen2, &family_qwen2_moe, &family_qwen3,
	&family_qwen3_moe, &family_gemma, &family_gemma2, &family_gemma3,  &family_phi3,   &family_gpt2, &family_gpt_neox,  &family_mpt, &family_mosaic_gpt, &family_opt,
	&family_deepseek2, &family_qwen2_vl, &family_mllama, &family_fused,
};
enum { FAMILIES = sizeof(families) / sizeof(families[0]) };

static int family_listed(const char *const *names, const char *name)
{
	for (size_t i = 0; names[i]; i++) {
		if (!strcmp(names[i], name))
			return 1;
	}
	return 0;
}

static const char *family_class(const cJSON *config)
{
	const cJSON *classes = cJSON_GetObjectItemCaseSensitive(config, "architectures");
	const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(classes, 0));

	return name ? name : "";
}

const struct family *family_find(const cJSON *config, struct nn_error *error)
{
	const char *type = nn_config_string(config, "model_type", ""), *class = family_class(config);
	char known[256] = "";

	/* A bundle's text_config may leave out what is LLaMA's default. */
	if (!*type && !*class)
		type = "llama";
	for (size_t i = 0; i < FAMILIES; i++) {
		if (family_listed(families[i]->types, type) || family_listed(families[i]->classes, class))
			return families[i];
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "", families[i]->name);
	}
	nn_fail(error, -ENOTSUP, "config.json names the language model \"%.64s\"; the causal decoder knows: %s.",
		*type ? type : class, known);
	return NULL;
}

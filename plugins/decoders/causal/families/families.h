/* families.h - the families that there are. */
#ifndef CAUSAL_FAMILIES_H
#define CAUSAL_FAMILIES_H

#include "plugins/decoders/causal/model.h"

extern const struct family family_llama, family_mistral, family_mixtral, family_qwen, family_qwen2, family_qwen2_moe,
	family_qwen3, family_qwen3_moe, family_gemma, family_gemma2, family_gemma3, family_phi3, family_gpt2, family_mpt, family_mosaic_gpt, family_opt,
	family_deepseek2, family_qwen2_vl, family_mllama, family_fused, family_gpt_neox;
/* Shared by families that are LLaMA but for a detail. */
int llama_configure(struct model *m, const cJSON *config, struct nn_error *error);
void llama_load(struct model *m, struct layer *layer, uint32_t i);
/* Qwen2's, of which there are others. */
int qwen2_configure(struct model *m, const cJSON *config, struct nn_error *error);
void qwen2_load(struct model *m, struct layer *layer, uint32_t i);

#endif

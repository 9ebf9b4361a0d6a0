/* siglip.c - the plugin siglip (Zhai 2023): CLIP's towers without class token and mask, pooled by a learned query. */
#include "plugins/encoders/clip/clip.h"

const struct clip_kind clip_kind = {
	.name = "siglip", .probe = 1, .pool = POOL_PROBE, .names = &clip_names, .patch = 16, .vision = { 768, 3072, 12, 12, 1e-6, "gelu_pytorch_tanh" },
	.text = { 768, 3072, 12, 12, 1e-6, "gelu_pytorch_tanh" }, .vocab = 32000, .context = 64, .end = 1,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "siglip", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "SigLIP picture and text towers", .ops = &clip_encoder,
};

/* siglip.c - the plugin siglip (Zhai 2023): CLIP's towers without class token and mask, pooled by a learned query. */
#include "plugins/encoders/clip/clip.h"

static const struct clip_names siglip_names = {
	.positions = "embeddings.position_embedding.weight", .patches = "embeddings.patch_embedding", .post = "post_layernorm",
	.layers = {
		.layer = "encoder.layers.%u.", .norm1 = "layer_norm1", .norm2 = "layer_norm2", .q = "self_attn.q_proj",
		.k = "self_attn.k_proj", .v = "self_attn.v_proj", .out = "self_attn.out_proj", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2",
	},
};
const struct clip_kind clip_kind = {
	.name = "siglip", .probe = 1, .pool = POOL_PROBE, .names = &siglip_names,
	.text_names = &siglip_text_names, .patch = 16, .vision = { 768, 3072, 12, 12, 1e-6, "gelu_pytorch_tanh" },
	.text = { 768, 3072, 12, 12, 1e-6, "gelu_pytorch_tanh" }, .vocab = 32000, .context = 64, .end = 1,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "siglip", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "SigLIP picture and text towers", .ops = &clip_encoder,
};

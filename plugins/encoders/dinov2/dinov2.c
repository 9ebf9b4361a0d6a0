/* dinov2.c - the plugin dinov2: DINOv2 (Oquab 2023): a class token, and factors for what each half of a layer adds. */
#include "plugins/encoders/clip/clip.h"

static const struct clip_names names = {
	.class_token = "embeddings.cls_token", .positions = "embeddings.position_embeddings",
	.patches = "embeddings.patch_embeddings.projection", .post = "layernorm",
	.layers = {
		.layer = "encoder.layer.%u.", .norm1 = "norm1", .norm2 = "norm2",
		.q = "attention.attention.query", .k = "attention.attention.key", .v = "attention.attention.value",
		.out = "attention.output.dense", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2",
		.scale1 = "layer_scale1.lambda1", .scale2 = "layer_scale2.lambda1",
	},
};
const struct clip_kind clip_kind = {
	.name = "dinov2", .class_token = 1, .interpolate = 1, .pool = POOL_ROW, .names = &names, .patch = 14,
	.vision = { 768, 3072, 12, 12, 1e-6, "gelu" }, .text = { 768, 3072, 12, 12, 1e-6, "gelu" },
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "dinov2", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "DINOv2 picture towers", .ops = &clip_encoder,
};

/* plugin.c - the plugin clip (Radford 2021). */
#include "plugins/encoders/clip/clip.h"
#include "sdk/nn/llava.h"

const struct clip_kind clip_kind = {
	.name = "clip", .class_token = 1, .pool = POOL_CLASS, .names = &clip_names,
	.text_names = &clip_text_names, .patch = 32, .vision = { 768, 3072, 12, 12, 1e-5, "quick_gelu" },
	.text = { 512, 2048, 12, 8, 1e-5, "quick_gelu" }, .vocab = 49408, .context = 77, .end = 49407,
	.translate = nn_llava_config,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "clip", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "CLIP picture and text towers", .ops = &clip_encoder,
};

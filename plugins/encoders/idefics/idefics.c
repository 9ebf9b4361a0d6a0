/* idefics.c - the plugin idefics: the picture tower of Idefics (Laurencon 2023), an OpenCLIP ViT whose last block's rows, the class token's
 * too, are read as they are. */
#include "plugins/encoders/clip/clip.h"

const struct clip_kind clip_kind = {
	.name = "idefics", .class_token = 1, .last = 1, .bare = 1, .pool = POOL_ROW, .names = &clip_names, .patch = 14,
	.vision = { 768, 5120, 32, 16, 1e-5, "gelu" }, .text = { 512, 2048, 12, 8, 1e-5, "gelu" },
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "idefics", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Idefics' picture tower", .ops = &clip_encoder,
};

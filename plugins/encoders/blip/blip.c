/* blip.c - the plugin blip: the picture tower of BLIP and BLIP-2 (Li 2023), an EVA-CLIP g/14 there: q, k and v in one matrix, a class
 * token, and all rows normed behind the last block. */
#include "plugins/encoders/clip/clip.h"

static int blip_configure(struct vision *v, struct nn_loader *loader, const cJSON *config, struct nn_error *error)
{
	(void)loader;
	if (!nn_config_bool(config, "qkv_bias", 1, error))
		v->tower.bare = TOWER_Q | TOWER_K | TOWER_V;
	/* The reference norms the class token's row twice. */
	v->names.fc = v->names.post;
	return error->code;
}

const struct clip_kind clip_kind = {
	.name = "blip", .class_token = 1, .last = 1, .pool = POOL_ROW, .names = &blip_names, .patch = 14,
	.vision = { 1408, 6144, 39, 16, 1e-6, "gelu" }, .text = { 768, 3072, 12, 12, 1e-12, "gelu" }, .configure = blip_configure,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "blip", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "BLIP and BLIP-2 picture towers", .ops = &clip_encoder,
};

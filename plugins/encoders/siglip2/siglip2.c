/* siglip2.c - the plugin siglip2: SigLIP 2 with NaFlex (Tschannen 2025): SigLIP's towers over pictures that keep their shape; the
 * position table is resized for each. */
#include <errno.h>

#include "plugins/encoders/clip/clip.h"

static const struct clip_names names = {
	.positions = "embeddings.position_embedding.weight", .patches = "embeddings.patch_embedding", .post = "post_layernorm",
	.layers = {
		.layer = "encoder.layers.%u.", .norm1 = "layer_norm1", .norm2 = "layer_norm2", .q = "self_attn.q_proj",
		.k = "self_attn.k_proj", .v = "self_attn.v_proj", .out = "self_attn.out_proj", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2",
	},
};

static int siglip2_configure(struct vision *v, struct nn_loader *loader, const cJSON *config, struct nn_error *error)
{
	const uint32_t patches = (uint32_t)nn_config_int(config, "num_patches", 256, 1, VISION_TOKENS_MAX, error);

	(void)loader;
	v->side = 1;
	while (v->side * v->side < patches)
		v->side++;
	if (v->side * v->side != patches || (uint64_t)v->side * v->patch > 1 << 14)
		return nn_fail(error, -EINVAL, "config.json: \"num_patches\" is %u, which is no square, or of pictures that are too large.",
			       patches);
	v->image_size = v->side * v->patch;
	v->flexible = v->channels_last = 1;
	return error->code;
}

const struct clip_kind clip_kind = {
	.name = "siglip2", .interpolate = 1, .resize = VISION_LINEAR, .probe = 1, .pool = POOL_PROBE, .names = &names,
	.text_names = &siglip_text_names, .patch = 16, .vision = { 768, 3072, 12, 12, 1e-6, "gelu_pytorch_tanh" },
	.text = { 768, 3072, 12, 12, 1e-6, "gelu_pytorch_tanh" }, .vocab = 256000, .context = 64, .end = 1,
	.configure = siglip2_configure,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "siglip2", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "SigLIP 2 picture and text towers, NaFlex", .ops = &clip_encoder,
};

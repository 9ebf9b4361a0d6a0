/* idefics3.c - the plugin idefics3: the picture tower of Idefics3 and SmolVLM (Laurençon 2024), a SigLIP without a head, whose
 * positions are fractions of a picture's sides, and whose rows are normed behind the last block. */
#include "plugins/encoders/clip/clip.h"

static const struct clip_names names = {
	.positions = "embeddings.position_embedding.weight", .patches = "embeddings.patch_embedding", .post = "post_layernorm",
	.layers = {
		.layer = "encoder.layers.%u.", .norm1 = "layer_norm1", .norm2 = "layer_norm2", .q = "self_attn.q_proj",
		.k = "self_attn.k_proj", .v = "self_attn.v_proj", .out = "self_attn.out_proj", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2",
	},
};

static int idefics3_configure(struct vision *v, struct nn_loader *loader, const cJSON *config, struct nn_error *error)
{
	(void)loader, (void)config;
	v->pools = 0;
	return error->code;
}

const struct clip_kind clip_kind = {
	.name = "idefics3", .interpolate = 1, .fractions = 1, .last = 1, .pool = POOL_NONE, .names = &names, .patch = 32,
	.vision = { 1152, 3072, 12, 16, 1e-6, "gelu_pytorch_tanh" }, .text = { 768, 3072, 12, 12, 1e-6, "gelu_pytorch_tanh" },
	.configure = idefics3_configure,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "idefics3", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Picture towers of Idefics3 and SmolVLM", .ops = &clip_encoder,
};

/* pixtral.c - the plugin pixtral: the picture towers of Pixtral and Mistral 3 (Agrawal 2024): any size and shape, rotary positions by
 * rows and columns, RMS norms, gated layers, no bias. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <math.h>

static const struct clip_names names = {
	.patches = "patch_conv", .pre = "ln_pre",
	.layers = {
		.layer = "transformer.layers.%u.", .norm1 = "attention_norm", .norm2 = "ffn_norm", .q = "attention.q_proj",
		.k = "attention.k_proj", .v = "attention.v_proj", .out = "attention.o_proj", .gate = "feed_forward.gate_proj",
		.fc1 = "feed_forward.up_proj", .fc2 = "feed_forward.down_proj",
	},
};

static int pixtral_configure(struct vision *v, struct nn_loader *l, const cJSON *config, struct nn_error *error)
{
	const cJSON *rope = nn_config_object(config, "rope_parameters");
	const double theta = nn_config_real(rope ? rope : config, "rope_theta", 10000, error);
	const int64_t merge = nn_config_int(nn_checkpoint_config(l->checkpoint), "spatial_merge_size", 1, 1, 16, error);

	if (error->code)
		return error->code;
	if (!(theta > 0 && isfinite(theta)) || v->tower.d_model / v->tower.n_heads % 4)
		return nn_fail(error, -EINVAL, "config.json: heads of %u values cannot be turned by rows and columns, or \"rope_theta\" is "
			       "out of range.", v->tower.d_model / v->tower.n_heads);
	v->tower.rms = 1;
	v->tower.bare = TOWER_BIASES;
	v->turns = (struct turns){ .on = 1, .half = 1, .base = (float)theta, .between = 0.5f };
	v->merge = (uint32_t)merge;
	return 0;
}

const struct clip_kind clip_kind = {
	.name = "pixtral", .interpolate = 1, .last = 1, .pool = POOL_NONE, .names = &names, .patch = 16,
	.vision = { 1024, 4096, 24, 16, 1e-5, "gelu" }, .text = { 1024, 4096, 24, 16, 1e-5, "gelu" }, .configure = pixtral_configure,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "pixtral", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Picture towers of Pixtral and Mistral 3", .ops = &clip_encoder,
};

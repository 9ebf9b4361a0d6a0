/* internvl.c - the plugin internvl: InternVL's ViTs (Chen 2023): a class token, layer scale, layer or RMS norms, for the largest
 * also of q and k. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <string.h>

static const struct clip_names names = {
	.class_token = "embeddings.cls_token", .positions = "embeddings.position_embeddings",
	.patches = "embeddings.patch_embeddings.projection", .post = "layernorm",
	.layers = {
		.layer = "encoder.layer.%u.", .norm1 = "layernorm_before", .norm2 = "layernorm_after", .q = "attention.q_proj",
		.k = "attention.k_proj", .v = "attention.v_proj", .out = "attention.projection_layer", .fc1 = "mlp.fc1",
		.fc2 = "mlp.fc2", .scale1 = "lambda_1", .scale2 = "lambda_2",
	},
};

static int internvl_configure(struct vision *v, struct nn_loader *loader, const cJSON *config, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(loader->checkpoint);
	const char *norm = nn_config_string(config, "norm_type", "layer_norm");
	const int bundle = !strcmp(nn_config_string(root, "model_type", ""), "internvl");

	v->pools = 0;
	v->tower.rms = !strcmp(norm, "rms_norm");
	v->tower.rms_qk = 1;
	if (!v->tower.rms && strcmp(norm, "layer_norm"))
		return nn_fail(error, -ENOTSUP, "config.json: the norm \"%.64s\" is not known here.", norm);
	if (!nn_config_bool(config, "attention_bias", 0, error))
		v->tower.bare |= TOWER_Q | TOWER_K | TOWER_V;
	if (nn_config_bool(config, "use_qk_norm", 0, error)) {
		v->names.layers.q_norm = "attention.q_norm";
		v->names.layers.k_norm = "attention.k_norm";
	}
	if (!nn_config_bool(config, "use_absolute_position_embeddings", 1, error))
		v->names.positions = NULL;
	/* Where the head takes a mean, the last rows are as the blocks leave them. */
	if (nn_config_bool(config, "use_mean_pooling", 1, error))
		v->names.post = NULL;
	else if (v->tower.rms)
		return nn_fail(error, -ENOTSUP, "config.json: RMS norms with a layer norm behind the last block are not supported.");
	if (bundle && !nn_config_string(root, "vision_feature_select_strategy", NULL))
		v->choice.keep_class = 0;
	return error->code;
}

const struct clip_kind clip_kind = {
	.name = "internvl", .class_token = 1, .interpolate = 1, .last = 1, .pool = POOL_NONE, .names = &names, .patch = 14,
	.vision = { 1024, 4096, 24, 16, 1e-6, "gelu" }, .text = { 768, 3072, 12, 12, 1e-6, "gelu" }, .configure = internvl_configure,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "internvl", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "InternVL's picture towers", .ops = &clip_encoder,
};

/* dinov2.c - the plugin dinov2: DINOv2 (Oquab 2023): a class token, registers (Darcet 2023), factors for what each half of a layer
 * adds, and SwiGLU in the largest. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <string.h>

static const struct clip_names names = {
	.class_token = "embeddings.cls_token", .registers = "embeddings.register_tokens", .positions = "embeddings.position_embeddings",
	.patches = "embeddings.patch_embeddings.projection", .post = "layernorm",
	.layers = {
		.layer = "encoder.layer.%u.", .norm1 = "norm1", .norm2 = "norm2",
		.q = "attention.attention.query", .k = "attention.attention.key", .v = "attention.attention.value",
		.out = "attention.output.dense", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2",
		.scale1 = "layer_scale1.lambda1", .scale2 = "layer_scale2.lambda1",
	},
};

/* SwiGLU keeps two thirds of the width, rounded up to whole eights. Published files hold gate and up in one matrix. */
static int dinov2_gate(struct vision *v, struct nn_loader *l, struct nn_error *error)
{
	struct tower_names *m = &v->names.layers;
	const uint32_t ff = v->tower.d_ff * 2 / 3;

	v->tower.d_ff = (ff + 7) / 8 * 8;
	v->tower.activation = NN_SILU;
	m->gate = m->fc1 = "mlp.weights_in";
	m->fc2 = "mlp.weights_out";
	if (nn_load_maybe(l, 0, 0, "encoder.layer.0.mlp.gate_proj.weight")) {
		m->gate = "mlp.gate_proj";
		m->fc1 = "mlp.up_proj";
		m->fc2 = "mlp.down_proj";
	}
	return error->code;
}

static int dinov2_configure(struct vision *v, struct nn_loader *l, const cJSON *config, struct nn_error *error)
{
	if (!nn_config_bool(config, "qkv_bias", 1, error))
		v->tower.bare = TOWER_Q | TOWER_K | TOWER_V;
	/* Models with registers resize their positions with antialiasing, and keep positions for class token and patches only. */
	v->bare_registers = 1;
	v->resize = strcmp(nn_config_string(config, "model_type", ""), "dinov2_with_registers") ? VISION_CUBIC : VISION_SMOOTH;
	if (v->resize == VISION_SMOOTH && !cJSON_HasObjectItem(config, "num_register_tokens"))
		v->n_registers = 4;
	if (nn_config_bool(config, "use_swiglu_ffn", 0, error))
		return dinov2_gate(v, l, error);
	return error->code;
}

const struct clip_kind clip_kind = {
	.name = "dinov2", .class_token = 1, .interpolate = 1, .pool = POOL_ROW, .names = &names, .patch = 14,
	.vision = { 768, 3072, 12, 12, 1e-6, "gelu" }, .text = { 768, 3072, 12, 12, 1e-6, "gelu" }, .configure = dinov2_configure,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "dinov2", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "DINOv2 picture towers", .ops = &clip_encoder,
};

/* vit.c - the plugin vit: ViT (Dosovitskiy 2020), in Hugging Face's files, timm's and OpenCLIP's. */
#include "plugins/encoders/vit/vit.h"

#include "plugins/encoders/clip/foreign.h"

static const struct clip_names names = {
	.class_token = "embeddings.cls_token", .positions = "embeddings.position_embeddings",
	.patches = "embeddings.patch_embeddings.projection", .post = "layernorm",
	.layers = {
		.layer = "encoder.layer.%u.", .norm1 = "layernorm_before", .norm2 = "layernorm_after",
		.q = "attention.attention.query", .k = "attention.attention.key", .v = "attention.attention.value",
		.out = "attention.output.dense", .fc1 = "intermediate.dense", .fc2 = "output.dense",
	},
};
static int vit_configure(struct vision *v, struct nn_loader *loader, const cJSON *config, struct nn_error *error)
{
	const cJSON *timm = nn_config_object(config, "arguments");

	if (timm)
		return timm_configure(v, timm, error);
	if (!nn_config_bool(config, "qkv_bias", 1, error))
		v->tower.bare = TOWER_Q | TOWER_K | TOWER_V;
	/* Classifiers' files have no pooler. */
	if (!nn_load_maybe(loader, 0, 0, "pooler.dense.weight"))
		v->pool = POOL_ROW;
	return error->code;
}

const struct clip_kind clip_kind = {
	.name = "vit", .class_token = 1, .interpolate = 0, .pool = POOL_DENSE, .names = &names, .patch = 16,
	.vision = { 768, 3072, 12, 12, 1e-12, "gelu" }, .text = { 512, 2048, 12, 8, 1e-5, "gelu" }, .vocab = 49408, .context = 77,
	.end = 49407, .text_names = &openclip_text_names, .translate = timm_translate, .configure = vit_configure,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "vit", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "ViT picture towers, of timm and in OpenCLIP too", .ops = &clip_encoder,
};

/* internvl.c - the plugin internvl: InternVL's ViTs (Chen 2023): a class token, layer scale, layer or RMS norms, for the largest
 * also of q and k. Files of transformers, and those of InternVL's own code. */
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

static const struct clip_names own_names = {
	.class_token = "embeddings.class_embedding", .positions = "embeddings.position_embedding", .patches = "embeddings.patch_embedding",
	.layers = {
		.layer = "encoder.layers.%u.", .norm1 = "norm1", .norm2 = "norm2", .q = "attn.qkv", .k = "attn.qkv", .v = "attn.qkv",
		.out = "attn.proj", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2", .scale1 = "ls1", .scale2 = "ls2",
	},
};

/* A value under another name; where it is not there `fallback`, a JSON text. */
static void internvl_put(cJSON *to, const char *name, const cJSON *from, const char *own, const char *fallback)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(from, own);

	cJSON_AddItemToObject(to, name, value ? cJSON_Duplicate(value, 1) : cJSON_Parse(fallback));
}

/* The own code prepares pictures by itself, whatever preprocessor_config.json says. */
static void internvl_processor(cJSON *made, const cJSON *root, const cJSON *size)
{
	cJSON *p = cJSON_AddObjectToObject(made, "preprocessor_config"), *sides = cJSON_AddObjectToObject(p, "size");
	static const double mean[] = { 0.485, 0.456, 0.406 }, std[] = { 0.229, 0.224, 0.225 };

	cJSON_AddStringToObject(p, "image_processor_type", "GotOcr2ImageProcessor");
	internvl_put(p, "crop_to_patches", root, "dynamic_image_size", "true");
	internvl_put(p, "min_patches", root, "min_dynamic_patch", "1");
	internvl_put(p, "max_patches", root, "max_dynamic_patch", "12");
	cJSON_AddItemToObject(sides, "height", cJSON_Duplicate(size, 1));
	cJSON_AddItemToObject(sides, "width", cJSON_Duplicate(size, 1));
	cJSON_AddItemToObject(p, "image_mean", cJSON_CreateDoubleArray(mean, 3));
	cJSON_AddItemToObject(p, "image_std", cJSON_CreateDoubleArray(std, 3));
}

static cJSON *internvl_translate(struct nn_checkpoint *cp, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(cp), *own = nn_config_object(root, "vision_config");
	const int alone = !strcmp(nn_config_string(root, "model_type", ""), "intern_vit_6b");
	const cJSON *from = alone ? root : own, *size = cJSON_GetObjectItemCaseSensitive(from, "image_size");

	if (!alone && strcmp(nn_config_string(root, "model_type", ""), "internvl_chat"))
		return NULL;
	cJSON *made = cJSON_CreateObject(), *tower = cJSON_Duplicate(from, 1);

	if (!made || !tower || !cJSON_AddItemToObject(made, "vision_config", tower)) {
		cJSON_Delete(made);
		nn_fail(error, from ? -ENOMEM : -EINVAL, from ? "Memory is out." : "config.json has no \"vision_config\".");
		return NULL;
	}
	internvl_put(tower, "attention_bias", from, "qkv_bias", "true");
	internvl_put(tower, "use_qk_norm", from, "qk_normalization", "true");
	cJSON_AddTrueToObject(tower, "own_names");
	internvl_put(made, "vision_feature_layer", root, "select_layer", "-1");
	cJSON_AddStringToObject(made, "vision_feature_select_strategy", "default");
	if (!alone)
		internvl_processor(made, root, size);
	return made;
}

static int internvl_configure(struct vision *v, struct nn_loader *loader, const cJSON *config, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(loader->checkpoint);
	const char *norm = nn_config_string(config, "norm_type", "layer_norm");
	const int bundle = !strcmp(nn_config_string(root, "model_type", ""), "internvl");

	const int own = nn_config_bool(config, "own_names", 0, error);

	v->pools = 0;
	if (own)
		v->names = own_names;
	v->tower.rms = !strcmp(norm, "rms_norm");
	v->tower.rms_qk = 1;
	if (!v->tower.rms && strcmp(norm, "layer_norm"))
		return nn_fail(error, -ENOTSUP, "config.json: the norm \"%.64s\" is not known here.", norm);
	if (!nn_config_bool(config, "attention_bias", 0, error))
		v->tower.bare |= TOWER_Q | TOWER_K | TOWER_V;
	if (nn_config_bool(config, "use_qk_norm", 0, error)) {
		v->names.layers.q_norm = own ? "attn.q_norm" : "attention.q_norm";
		v->names.layers.k_norm = own ? "attn.k_norm" : "attention.k_norm";
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
	.translate = internvl_translate,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "internvl", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "InternVL's picture towers", .ops = &clip_encoder,
};

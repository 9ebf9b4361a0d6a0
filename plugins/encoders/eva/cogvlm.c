/* cogvlm.c - the picture tower of CogVLM (Wang 2023): EVA-02 E/14, whose norms are of what attention and feed-forward parts give, under the
 * names of CogVLM's checkpoints. The features are the last block's patches. */
#include <errno.h>
#include <string.h>

#include "plugins/encoders/eva/eva.h"

static const struct clip_names names = {
	.class_token = "patch_embedding.cls_embedding", .positions = "patch_embedding.position_embedding.weight",
	.patches = "patch_embedding.proj",
	.layers = {
		.layer = "transformer.layers.%u.", .norm1 = "input_layernorm", .norm2 = "post_attention_layernorm",
		.q = "attention.query_key_value", .k = "attention.query_key_value", .v = "attention.query_key_value",
		.out = "attention.dense", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2",
	},
};

int eva_is_cogvlm(const cJSON *root)
{
	return !strcmp(nn_config_type(root), "cogvlm");
}

/* Keys that are called otherwise there, and what the published checkpoints have where a configuration is silent. */
static int cogvlm_vision(cJSON *to, const cJSON *from, struct nn_error *error)
{
	static const struct {
		const char *name, *other;
		int fallback, max;
	} sizes[] = {
		{ "hidden_size", "hidden_size", 1792, 1 << 18 }, { "intermediate_size", "intermediate_size", 15360, 1 << 24 },
		{ "num_hidden_layers", "num_hidden_layers", 63, 1024 }, { "num_attention_heads", "num_heads|num_attention_heads", 16, 1 << 18 },
		{ "num_channels", "in_channels|num_channels", 3, 1024 }, { "image_size", "image_size", 490, 1 << 14 },
		{ "patch_size", "patch_size", 14, 1 << 14 },
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes) && !error->code; i++)
		cJSON_AddNumberToObject(to, sizes[i].name,
					(double)nn_config_int(from, sizes[i].other, sizes[i].fallback, 1, sizes[i].max, error));
	cJSON_AddNumberToObject(to, "layer_norm_eps", nn_config_real(from, "layer_norm_eps", 1e-6, error));
	cJSON_AddStringToObject(to, "hidden_act", nn_config_string(from, "hidden_act", "gelu"));
	return error->code;
}

/* The checkpoints' own code squashes pictures to a square; a file beside the weights may say otherwise. */
static void cogvlm_processor(cJSON *made, const struct nn_checkpoint *cp, const cJSON *tower)
{
	static const double mean[] = { 0.48145466, 0.4578275, 0.40821073 }, std[] = { 0.26862954, 0.26130258, 0.27577711 };
	const cJSON *side = cJSON_GetObjectItemCaseSensitive(tower, "image_size");
	struct nn_error ignored = { 0 };
	cJSON *file = nn_checkpoint_gguf(cp) ? NULL : nn_config_file(nn_checkpoint_path(cp), "preprocessor_config.json", &ignored);

	if (!file && !nn_checkpoint_gguf(cp)) {
		cJSON *to = cJSON_AddObjectToObject(made, "preprocessor_config"), *size = cJSON_AddObjectToObject(to, "size");

		cJSON_AddStringToObject(to, "image_processor_type", "BlipImageProcessor");
		cJSON_AddNumberToObject(to, "resample", NN_BICUBIC);
		cJSON_AddNumberToObject(size, "height", cJSON_GetNumberValue(side));
		cJSON_AddNumberToObject(size, "width", cJSON_GetNumberValue(side));
		cJSON_AddItemToObject(to, "image_mean", cJSON_CreateDoubleArray(mean, 3));
		cJSON_AddItemToObject(to, "image_std", cJSON_CreateDoubleArray(std, 3));
	}
	cJSON_Delete(file);
}

cJSON *eva_cogvlm_translate(struct nn_checkpoint *cp, struct nn_error *error)
{
	const cJSON *from = nn_config_object(nn_checkpoint_config(cp), "vision_config");
	cJSON *made = cJSON_CreateObject(), *tower = cJSON_AddObjectToObject(made, "vision_config");

	if (!from)
		nn_fail(error, -EINVAL, "%s: config.json has no \"vision_config\" that tells of a picture tower.", nn_checkpoint_path(cp));
	else if (!tower || !cJSON_AddNumberToObject(made, "vision_feature_layer", -1) ||
		 !cJSON_AddStringToObject(made, "vision_feature_select_strategy", "default"))
		nn_fail(error, -ENOMEM, "Memory is out.");
	if (!error->code && !cogvlm_vision(tower, from, error)) {
		cogvlm_processor(made, cp, tower);
		return made;
	}
	cJSON_Delete(made);
	return NULL;
}

void eva_cogvlm_configure(struct vision *v)
{
	v->names = names;
	v->pool = POOL_NONE;
	v->tower.post = 1;
}

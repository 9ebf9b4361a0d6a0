/* timm.c - ViTs under timm's names, alone or as OpenCLIP's trunk: SigLIP's of all sizes (Zhai 2023) among them. */
#include <errno.h>
#include <string.h>

#include "plugins/encoders/clip/foreign.h"
#include "plugins/encoders/vit/vit.h"

static const struct clip_names timm_names = {
	.class_token = "cls_token", .registers = "reg_token", .positions = "pos_embed", .patches = "patch_embed.proj", .post = "norm",
	.heads = 1,
	.layers = {
		.layer = "blocks.%u.", .norm1 = "norm1", .norm2 = "norm2", .q = "attn.qkv", .k = "attn.qkv", .v = "attn.qkv",
		.out = "attn.proj", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2",
	},
};

#define SIGLIP "\"class_token\":false,\"global_pool\":\"map\","
#define BASE "\"embed_dim\":768,\"depth\":12,\"num_heads\":12"
#define LARGE "\"embed_dim\":1024,\"depth\":24,\"num_heads\":16"
#define SO400M "\"embed_dim\":1152,\"depth\":27,\"num_heads\":16,\"mlp_ratio\":3.7362"
#define GIANT "\"patch_size\":16,\"embed_dim\":1536,\"depth\":40,\"num_heads\":16"
#define TANH ",\"act_layer\":\"gelu_tanh\""

/* timm's models by name, with the arguments that its functions give. */
static const char *const timm_known[][2] = {
	{ "vit_base_patch32_siglip_256", "{" SIGLIP BASE TANH ",\"patch_size\":32,\"img_size\":256}" },
	{ "vit_base_patch16_siglip_224", "{" SIGLIP BASE "}" },
	{ "vit_base_patch16_siglip_256", "{" SIGLIP BASE ",\"img_size\":256}" },
	{ "vit_base_patch16_siglip_384", "{" SIGLIP BASE ",\"img_size\":384}" },
	{ "vit_base_patch16_siglip_512", "{" SIGLIP BASE ",\"img_size\":512}" },
	{ "vit_large_patch16_siglip_256", "{" SIGLIP LARGE ",\"img_size\":256}" },
	{ "vit_large_patch16_siglip_384", "{" SIGLIP LARGE ",\"img_size\":384}" },
	{ "vit_large_patch16_siglip_512", "{" SIGLIP LARGE TANH ",\"img_size\":512}" },
	{ "vit_so400m_patch14_siglip_224", "{" SIGLIP SO400M ",\"patch_size\":14}" },
	{ "vit_so400m_patch14_siglip_378", "{" SIGLIP SO400M ",\"patch_size\":14,\"img_size\":378}" },
	{ "vit_so400m_patch14_siglip_384", "{" SIGLIP SO400M ",\"patch_size\":14,\"img_size\":384}" },
	{ "vit_so400m_patch16_siglip_256", "{" SIGLIP SO400M TANH ",\"img_size\":256}" },
	{ "vit_so400m_patch16_siglip_384", "{" SIGLIP SO400M TANH ",\"img_size\":384}" },
	{ "vit_so400m_patch16_siglip_512", "{" SIGLIP SO400M TANH ",\"img_size\":512}" },
	{ "vit_giantopt_patch16_siglip_256", "{" SIGLIP GIANT TANH ",\"img_size\":256}" },
	{ "vit_giantopt_patch16_siglip_384", "{" SIGLIP GIANT TANH ",\"img_size\":384}" },
	{ NULL, NULL },
};

/* What timm's ViT can be told, and this plugin cannot do. */
static int timm_unknown(const cJSON *args, struct nn_error *error)
{
	static const char *const keys[] = { "block_fn", "embed_layer", "mlp_layer", "norm_layer", "scale_attn_norm", "scale_mlp_norm",
					    "qk_norm", "pre_norm", "pool_include_prefix", "attn_layer", "embed_norm_layer" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(args, keys[i]);

		if (value && !cJSON_IsNull(value) && !cJSON_IsFalse(value))
			return nn_fail(error, -ENOTSUP, "config.json: \"%s\" is not supported of timm's ViTs.", keys[i]);
	}
	return error->code;
}

/* Hugging Face's keys of timm's arguments, which stay beside them. 0 or error->code. */
static int timm_vision(cJSON *to, const cJSON *args, struct nn_error *error)
{
	const int64_t width = nn_config_int(args, "embed_dim", 768, 1, 1 << 18, error);
	const double ff = (double)width * nn_config_real(args, "mlp_ratio", 4, error);
	const char *act = nn_config_string(args, "act_layer", "gelu");
	static const char *const sizes[][2] = { { "image_size", "img_size" }, { "patch_size", "patch_size" },
						{ "num_hidden_layers", "depth" }, { "num_attention_heads", "num_heads" },
						{ "num_register_tokens", "reg_tokens" }, { "num_channels", "in_chans" } };

	if (timm_unknown(args, error))
		return error->code;
	if (!(ff >= 1 && ff <= 1 << 24))
		return nn_fail(error, -EINVAL, "config.json: \"mlp_ratio\" is out of range.");
	cJSON_AddNumberToObject(to, "hidden_size", (double)width);
	cJSON_AddNumberToObject(to, "intermediate_size", (double)(int64_t)ff);
	cJSON_AddNumberToObject(to, "layer_norm_eps", 1e-6);
	cJSON_AddStringToObject(to, "hidden_act", strcmp(act, "gelu_tanh") ? act : "gelu_pytorch_tanh");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(args, sizes[i][1]);

		if (value)
			cJSON_AddItemToObject(to, sizes[i][0], cJSON_Duplicate(value, 1));
	}
	return 0;
}

cJSON *timm_translate(struct nn_checkpoint *cp, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(cp), *vision = nn_config_object(foreign_openclip(root), "vision_cfg");
	const char *pool = vision ? nn_config_string(vision, "timm_pool", "avg") : nn_config_string(root, "global_pool", NULL);
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(vision, "image_size");

	if (cJSON_HasObjectItem(root, "model_type"))
		return NULL;
	cJSON *args = foreign_timm_arguments(cp, root, timm_known, error);

	if (!args)
		return NULL;
	cJSON *made = cJSON_CreateObject(), *to = cJSON_AddObjectToObject(made, "vision_config");

	if (pool && (*pool || !vision)) {
		cJSON_DeleteItemFromObjectCaseSensitive(args, "global_pool");
		cJSON_AddStringToObject(args, "global_pool", pool);
	}
	if (size) {
		cJSON_DeleteItemFromObjectCaseSensitive(args, "img_size");
		cJSON_AddItemToObject(args, "img_size", cJSON_Duplicate(size, 1));
	}
	if (!timm_vision(to, args, error))
		foreign_timm_rest(made, root, error);
	cJSON_AddItemToObject(to, "arguments", args);
	if (!error->code)
		return made;
	cJSON_Delete(made);
	return NULL;
}

int timm_configure(struct vision *v, const cJSON *args, struct nn_error *error)
{
	static const struct {
		const char *name;
		enum clip_pool pool;
	} pools[] = { { "token", POOL_ROW }, { "avg", POOL_MEAN }, { "map", POOL_PROBE }, { "", POOL_NONE } };
	const char *name = nn_config_string(args, "global_pool", "token");
	const int fc = nn_config_bool(args, "fc_norm|use_fc_norm", !strcmp(name, "avg"), error);
	size_t i = 0;

	while (i < sizeof(pools) / sizeof(*pools) && strcmp(pools[i].name, name))
		i++;
	if (i == sizeof(pools) / sizeof(*pools))
		return nn_fail(error, -ENOTSUP, "config.json: the global_pool \"%.64s\" is not supported.", name);
	v->names = timm_names;
	v->pool = pools[i].pool;
	v->resize = VISION_SMOOTH;
	v->no_class = !nn_config_bool(args, "class_token", 1, error);
	v->bare_prefix = nn_config_bool(args, "no_embed_class", 0, error);
	if (v->pool == POOL_ROW && v->no_class)
		return nn_fail(error, -EINVAL, "config.json: the global_pool is \"token\", and there is no class token.");
	if (!nn_config_bool(args, "qkv_bias", 1, error))
		v->tower.bare = TOWER_Q | TOWER_K | TOWER_V;
	if (nn_config_real(args, "init_values", 0, error) != 0) {
		v->names.layers.scale1 = "ls1.gamma";
		v->names.layers.scale2 = "ls2.gamma";
	}
	if (fc) {
		v->names.fc = "fc_norm";
		v->names.post = nn_config_bool(args, "final_norm", 0, error) ? "norm" : NULL;
	}
	return error->code;
}

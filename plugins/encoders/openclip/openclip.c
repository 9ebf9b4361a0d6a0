/* openclip.c - the plugin openclip: OpenCLIP's own ViTs and text towers (Cherti 2022), from open_clip_config.json and
 * open_clip_model.safetensors. */
#include "plugins/encoders/clip/foreign.h"

#include <errno.h>
#include <string.h>

#include "plugins/encoders/clip/clip.h"

static const struct clip_names names = {
	.class_token = "class_embedding", .positions = "positional_embedding", .patches = "conv1", .pre = "ln_pre", .post = "ln_post",
	.turned = "proj",
};

/* The numbers of the picture tower. 0 or error->code. */
static int openclip_vision(cJSON *made, const cJSON *model, struct nn_error *error)
{
	static const char *const kept[] = { "image_size", "patch_size", "no_ln_pre", "pool_type", "final_ln_after_pool", "attentional_pool",
					    "attn_pooler_heads" };
	const cJSON *vision = nn_config_object(model, "vision_cfg");
	const char *timm = nn_config_string(vision, "timm_model_name", NULL);
	const uint32_t width = (uint32_t)nn_config_int(vision, "width", 768, 1, 1 << 18, error);
	const int64_t head = nn_config_int(vision, "head_width", 64, 1, 1 << 18, error);
	cJSON *to = cJSON_AddObjectToObject(made, "vision_config");

	if (timm)
		return nn_fail(error, -ENOTSUP, "open_clip_config.json: the picture tower is timm's \"%.64s\"; of those the plugins eva and "
			       "convnext take some.", timm);
	if (foreign_openclip_tower(to, vision, width, width / head, nn_config_bool(model, "quick_gelu", 0, error), error))
		return error->code;
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(vision, kept[i]);

		if (value)
			cJSON_AddItemToObject(to, kept[i], cJSON_Duplicate(value, 1));
	}
	return 0;
}

static cJSON *openclip_translate(struct nn_checkpoint *cp, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(cp), *model = foreign_openclip(root);
	cJSON *made = cJSON_CreateObject();

	if (!model)
		nn_fail(error, -EINVAL, "%s: open_clip_config.json with a \"model_cfg\" is missing.", nn_checkpoint_path(cp));
	else if (!openclip_vision(made, model, error))
		foreign_openclip_rest(made, root, error);
	if (!error->code)
		return made;
	cJSON_Delete(made);
	return NULL;
}

/* Pooling, and the norm before or behind it. */
static int openclip_pool(struct vision *v, const cJSON *config, struct nn_error *error)
{
	static const struct {
		const char *name;
		enum clip_pool pool;
	} pools[] = { { "tok", POOL_ROW }, { "avg", POOL_MEAN }, { "none", POOL_NONE } };
	const char *name = nn_config_string(config, "pool_type", "tok");
	const cJSON *attentional = cJSON_GetObjectItemCaseSensitive(config, "attentional_pool");
	size_t i = 0;

	while (i < sizeof(pools) / sizeof(*pools) && strcmp(pools[i].name, name))
		i++;
	if (i == sizeof(pools) / sizeof(*pools) || cJSON_IsString(attentional) || (cJSON_IsTrue(attentional) && pools[i].pool != POOL_ROW))
		return nn_fail(error, -ENOTSUP, "open_clip_config.json: the pool_type \"%.64s\"%s is not supported.", name,
			       attentional && !cJSON_IsFalse(attentional) ? " with this attentional_pool" : "");
	v->pool = pools[i].pool;
	if (cJSON_IsTrue(attentional)) {
		v->pool = POOL_QUERIES;
		v->queries.n_heads = (uint32_t)nn_config_int(config, "attn_pooler_heads", 8, 1, 1 << 12, error);
		v->names.post = NULL;
	} else if (nn_config_bool(config, "final_ln_after_pool", 0, error)) {
		v->names.fc = v->names.post;
		v->names.post = NULL;
	}
	return error->code;
}

static int openclip_configure(struct vision *v, struct nn_loader *loader, const cJSON *config, struct nn_error *error)
{
	(void)loader;
	foreign_openclip_layers(&v->names.layers, config);
	if (nn_config_bool(config, "no_ln_pre", 0, error))
		v->names.pre = NULL;
	return openclip_pool(v, config, error);
}

const struct clip_kind clip_kind = {
	.name = "openclip", .class_token = 1, .pool = POOL_ROW, .names = &names, .text_names = &openclip_text_names, .patch = 16,
	.vision = { 768, 3072, 12, 12, 1e-5, "gelu" }, .text = { 512, 2048, 12, 8, 1e-5, "gelu" }, .vocab = 49408, .context = 77,
	.end = 49407, .translate = openclip_translate, .configure = openclip_configure,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "openclip", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "OpenCLIP picture and text towers", .ops = &clip_encoder,
};

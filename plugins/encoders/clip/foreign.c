/* foreign.c - configurations of OpenCLIP and timm in the form of Hugging Face's. */
#include "plugins/encoders/clip/foreign.h"

#include <errno.h>
#include <string.h>

#include "plugins/encoders/clip/clip.h"

enum { FOREIGN_DIM_MAX = 1 << 18 };

static const char *const openclip_prefixes[] = { "", "text.", NULL };
static const struct tower_names openclip_layers = {
	.layer = "transformer.resblocks.%u.", .norm1 = "ln_1", .norm2 = "ln_2", .q = "attn.in_proj_", .k = "attn.in_proj_",
	.v = "attn.in_proj_", .out = "attn.out_proj", .fc1 = "mlp.c_fc", .fc2 = "mlp.c_proj",
};
const struct text_names openclip_text_names = {
	.tokens = "token_embedding.weight", .positions = "positional_embedding", .last = "ln_final",
	.projection = "text_projection", .turned = "text_projection", .prefixes = openclip_prefixes, .layers = &openclip_layers,
	.adapt = foreign_openclip_layers,
};

const cJSON *foreign_openclip(const cJSON *root)
{
	return nn_config_object(root, "model_cfg");
}

void foreign_openclip_layers(struct tower_names *names, const cJSON *config)
{
	struct nn_error none = { 0 };

	*names = openclip_layers;
	if (nn_config_bool(config, "qk_norm", 0, &none)) {
		names->q_norm = "attn.ln_q";
		names->k_norm = "attn.ln_k";
	}
	if (nn_config_bool(config, "scale_attn_inner", 0, &none))
		names->inner = "attn.ln_inner";
	if (nn_config_bool(config, "scale_fc", 0, &none))
		names->sub = "mlp.ln";
	if (nn_config_real(config, "ls_init_value", 0, &none) != 0) {
		names->scale1 = "ls_1.gamma";
		names->scale2 = "ls_2.gamma";
	}
}

/* What a flag of OpenCLIP's custom blocks asks for, and the blocks here have not. */
static int foreign_unknown(const cJSON *object, struct nn_error *error)
{
	static const char *const flags[] = { "scaled_cosine_attn", "scale_heads", "scale_attn" };

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		if (nn_config_bool(object, flags[i], 0, error))
			return nn_fail(error, -ENOTSUP, "open_clip_config.json: \"%s\" is not supported.", flags[i]);
	return error->code;
}

int foreign_openclip_tower(cJSON *made, const cJSON *object, uint32_t width, int64_t heads, int quick_gelu, struct nn_error *error)
{
	static const char *const kept[] = { "qk_norm", "scale_attn_inner", "scale_fc", "ls_init_value" };
	const cJSON *norm = nn_config_object(object, "norm_kwargs"), *act = nn_config_object(object, "act_kwargs");
	const int tanh = !strcmp(nn_config_string(act, "approximate", "none"), "tanh");
	const int64_t layers = nn_config_int(object, "layers", 12, 1, 1024, error);
	const double ff = width * nn_config_real(object, "mlp_ratio", 4, error), eps = nn_config_real(norm, "eps", 1e-5, error);

	if (foreign_unknown(object, error))
		return error->code;
	if (!(ff >= 1 && ff <= 1 << 24))
		return nn_fail(error, -EINVAL, "open_clip_config.json: \"mlp_ratio\" is out of range.");
	cJSON_AddNumberToObject(made, "hidden_size", width);
	cJSON_AddNumberToObject(made, "intermediate_size", (int)ff);
	cJSON_AddNumberToObject(made, "num_hidden_layers", (double)layers);
	cJSON_AddNumberToObject(made, "num_attention_heads", (double)heads);
	cJSON_AddNumberToObject(made, "layer_norm_eps", eps);
	cJSON_AddStringToObject(made, "hidden_act", quick_gelu ? "quick_gelu" : tanh ? "gelu_pytorch_tanh" : "gelu");
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, kept[i]);

		if (value)
			cJSON_AddItemToObject(made, kept[i], cJSON_Duplicate(value, 1));
	}
	return 0;
}

static int foreign_openclip_text(cJSON *made, const cJSON *model, struct nn_error *error)
{
	const cJSON *text = nn_config_object(model, "text_cfg");
	const uint32_t width = (uint32_t)nn_config_int(text, "width", 512, 1, FOREIGN_DIM_MAX, error);
	const int quick = nn_config_bool(model, "quick_gelu", 0, error), whole = nn_config_bool(text, "no_causal_mask", 0, error);

	/* Of other libraries' text towers, and of CoCa's with a class token of its own, the pictures are taken alone. */
	if (!text || nn_config_string(text, "hf_model_name", NULL) || nn_config_bool(text, "embed_cls", 0, error))
		return error->code;
	cJSON *to = cJSON_AddObjectToObject(made, "text_config");

	if (foreign_openclip_tower(to, text, width, nn_config_int(text, "heads", 8, 1, FOREIGN_DIM_MAX, error), quick, error))
		return error->code;
	cJSON_AddNumberToObject(to, "vocab_size", (double)nn_config_int(text, "vocab_size", 49408, 1, 1 << 24, error));
	cJSON_AddNumberToObject(to, "max_position_embeddings", (double)nn_config_int(text, "context_length", 77, 2, 1 << 16, error));
	cJSON_AddNumberToObject(to, "eos_token_id", (double)nn_config_int(text, "eos_id", 2, 0, 1 << 24, error));
	cJSON_AddNumberToObject(to, "pad_token_id", (double)nn_config_int(text, "pad_id", 0, 0, 1 << 24, error));
	cJSON_AddStringToObject(to, "pool", nn_config_string(text, "pool_type", "argmax"));
	cJSON_AddBoolToObject(to, "is_causal", !whole);
	return error->code;
}

/* A list of numbers, as the key is called over there and here. */
static void foreign_copy(cJSON *to, const char *name, const cJSON *from, const char *other)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(from, other);

	if (value && !cJSON_IsNull(value))
		cJSON_AddItemToObject(to, name, cJSON_Duplicate(value, 1));
}

/* The number of a resampling filter, as Pillow has them. */
static int foreign_filter(const char *name)
{
	return !strcmp(name, "bilinear") ? NN_BILINEAR : !strcmp(name, "nearest") ? NN_NEAREST : NN_BICUBIC;
}

/* OpenCLIP's evaluation transform: the shorter edge and a crop from the middle, or squashed to a square. */
static int foreign_openclip_processor(cJSON *made, const cJSON *root, struct nn_error *error)
{
	const cJSON *given = nn_config_object(root, "preprocess_cfg");
	const char *mode = nn_config_string(given, "resize_mode", "shortest");
	cJSON *to = cJSON_AddObjectToObject(made, "preprocessor_config");

	if (strcmp(mode, "shortest") && strcmp(mode, "squash"))
		return nn_fail(error, -ENOTSUP, "open_clip_config.json: the resize_mode \"%.64s\" is not supported.", mode);
	cJSON_AddStringToObject(to, "image_processor_type", strcmp(mode, "squash") ? "CLIPImageProcessor" : "BlipImageProcessor");
	cJSON_AddNumberToObject(to, "resample", foreign_filter(nn_config_string(given, "interpolation", "bicubic")));
	foreign_copy(to, "image_mean", given, "mean");
	foreign_copy(to, "image_std", given, "std");
	return 0;
}

int foreign_openclip_rest(cJSON *made, const cJSON *root, struct nn_error *error)
{
	if (foreign_openclip_text(made, foreign_openclip(root), error))
		return error->code;
	return foreign_openclip_processor(made, root, error);
}

static void foreign_timm_processor(cJSON *made, const cJSON *root)
{
	const cJSON *given = nn_config_object(root, "pretrained_cfg");
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(given, "input_size"), *side = cJSON_GetArrayItem(size, 1);
	const cJSON *part = cJSON_GetObjectItemCaseSensitive(given, "crop_pct");
	const double crop = cJSON_IsNumber(part) && part->valuedouble > 0.01 && part->valuedouble <= 1 ? part->valuedouble : 0.875;
	const int squash = !strcmp(nn_config_string(given, "crop_mode", "center"), "squash");

	if (!given)
		return;
	cJSON *to = cJSON_AddObjectToObject(made, "preprocessor_config");

	cJSON_AddStringToObject(to, "image_processor_type", squash ? "BlipImageProcessor" : "CLIPImageProcessor");
	cJSON_AddNumberToObject(to, "resample", foreign_filter(nn_config_string(given, "interpolation", "bicubic")));
	foreign_copy(to, "image_mean", given, "mean");
	foreign_copy(to, "image_std", given, "std");
	if (cJSON_IsNumber(side) && !squash && side->valuedouble >= 1 && side->valuedouble <= 1 << 14) {
		cJSON_AddNumberToObject(cJSON_AddObjectToObject(to, "size"), "shortest_edge", (int)(side->valuedouble / crop));
		cJSON_AddNumberToObject(to, "crop_size", side->valuedouble);
	}
}

int foreign_timm_rest(cJSON *made, const cJSON *root, struct nn_error *error)
{
	if (foreign_openclip(root))
		return foreign_openclip_rest(made, root, error);
	foreign_timm_processor(made, root);
	return error->code;
}

/* Each member of `from` into `to`, over what is there. */
static void foreign_merge(cJSON *to, const cJSON *from)
{
	for (const cJSON *item = cJSON_IsObject(from) ? from->child : NULL; item; item = item->next) {
		cJSON_DeleteItemFromObjectCaseSensitive(to, item->string);
		cJSON_AddItemToObject(to, item->string, cJSON_Duplicate(item, 1));
	}
}

/* What the table knows of a name, as JSON text. */
static cJSON *foreign_known(const char *const (*known)[2], const char *name)
{
	for (size_t i = 0; name && known[i][0]; i++)
		if (!strncmp(name, known[i][0], strlen(known[i][0])) && (!name[strlen(known[i][0])] || name[strlen(known[i][0])] == '.'))
			return cJSON_Parse(known[i][1]);
	return NULL;
}

cJSON *foreign_timm_arguments(const struct nn_checkpoint *cp, const cJSON *root, const char *const (*known)[2], struct nn_error *error)
{
	const cJSON *vision = nn_config_object(foreign_openclip(root), "vision_cfg");
	const char *name = vision ? nn_config_string(vision, "timm_model_name", NULL) : nn_config_string(root, "architecture", NULL);
	const cJSON *given = nn_config_object(root, "model_args|eva_args|convnext_args");
	cJSON *made = foreign_known(known, name), *beside = nn_config_file(nn_checkpoint_path(cp), "timm_model.json", error);

	if (!error->code && !made && !given && !beside)
		nn_fail(error, -ENOTSUP, "The timm model \"%.64s\" is not known here, and neither \"model_args\" in config.json nor "
			"timm_model.json describe it.", name ? name : "");
	if (error->code) {
		cJSON_Delete(made);
		cJSON_Delete(beside);
		return NULL;
	}
	made = made ? made : cJSON_CreateObject();
	foreign_merge(made, beside);
	foreign_merge(made, given);
	cJSON_Delete(beside);
	return made;
}

/* eva.c - the plugin eva: EVA-CLIP (Sun 2023): EVA-01 with q, k and v in one matrix and no bias of k; EVA-02 (Fang 2023) with rotary
 * positions, SwiGLU and norms inside; under timm's names, alone or as OpenCLIP's trunk; and as CogVLM has it (cogvlm.c). */
#include <errno.h>
#include <string.h>

#include "plugins/encoders/clip/foreign.h"
#include "plugins/encoders/eva/eva.h"

static const struct clip_names names = {
	.class_token = "cls_token", .registers = "reg_token", .positions = "pos_embed", .patches = "patch_embed.proj", .heads = 1,
	.layers = {
		.layer = "blocks.%u.", .norm1 = "norm1", .norm2 = "norm2", .q = "attn.qkv", .k = "attn.qkv", .v = "attn.qkv",
		.out = "attn.proj", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2", .q_bias = "attn.q_bias", .v_bias = "attn.v_bias",
	},
};

#define EVA02 "\"mlp_ratio\":2.6666666666666665,\"swiglu_mlp\":true,\"use_rot_pos_emb\":true,\"ref_feat_shape\":[16,16],"
#define EVA02_LARGE EVA02 "\"qkv_fused\":false,\"scale_mlp\":true,"
#define EVA02_CLIP EVA02_LARGE "\"scale_attn_inner\":true,\"global_pool\":\"token\","
#define EVA01_GIANT "\"patch_size\":14,\"embed_dim\":1408,\"depth\":40,\"num_heads\":16,\"mlp_ratio\":4.363636363636363"
#define EVA02_LARGE_SIZE "\"patch_size\":14,\"embed_dim\":1024,\"depth\":24,\"num_heads\":16"
#define EVA02_BASE_SIZE "\"embed_dim\":768,\"depth\":12,\"num_heads\":12"

/* timm's models by name, with the arguments that its functions give. */
static const char *const eva_known[][2] = {
	{ "eva_giant_patch14_224", "{" EVA01_GIANT "}" },
	{ "eva_giant_patch14_336", "{" EVA01_GIANT ",\"img_size\":336}" },
	{ "eva_giant_patch14_560", "{" EVA01_GIANT ",\"img_size\":560}" },
	{ "eva_giant_patch14_clip_224", "{" EVA01_GIANT ",\"global_pool\":\"token\"}" },
	{ "eva02_tiny_patch14_224", "{" EVA02 "\"patch_size\":14,\"embed_dim\":192,\"depth\":12,\"num_heads\":3}" },
	{ "eva02_tiny_patch14_336", "{" EVA02 "\"patch_size\":14,\"embed_dim\":192,\"depth\":12,\"num_heads\":3,\"img_size\":336}" },
	{ "eva02_small_patch14_224", "{" EVA02 "\"patch_size\":14,\"embed_dim\":384,\"depth\":12,\"num_heads\":6}" },
	{ "eva02_small_patch14_336", "{" EVA02 "\"patch_size\":14,\"embed_dim\":384,\"depth\":12,\"num_heads\":6,\"img_size\":336}" },
	{ "eva02_base_patch14_224", "{" EVA02_LARGE "\"patch_size\":14," EVA02_BASE_SIZE "}" },
	{ "eva02_base_patch14_448", "{" EVA02_LARGE "\"patch_size\":14," EVA02_BASE_SIZE ",\"img_size\":448}" },
	{ "eva02_large_patch14_224", "{" EVA02_LARGE EVA02_LARGE_SIZE "}" },
	{ "eva02_large_patch14_448", "{" EVA02_LARGE EVA02_LARGE_SIZE ",\"img_size\":448}" },
	{ "eva02_base_patch16_clip_224", "{" EVA02_CLIP "\"patch_size\":16," EVA02_BASE_SIZE "}" },
	{ "eva02_large_patch14_clip_224", "{" EVA02_CLIP EVA02_LARGE_SIZE "}" },
	{ "eva02_large_patch14_clip_336", "{" EVA02_CLIP EVA02_LARGE_SIZE ",\"img_size\":336}" },
	{ "eva02_enormous_patch14_clip_224",
	  "{\"patch_size\":14,\"embed_dim\":1792,\"depth\":64,\"num_heads\":16,\"mlp_ratio\":8.571428571428571,\"use_post_norm\":true,"
	  "\"global_pool\":\"token\"}" },
	{ NULL, NULL },
};

/* What timm's EVA can be told, and this plugin cannot do: the key, and the value that is no matter. */
static int eva_unknown(const cJSON *args, struct nn_error *error)
{
	static const struct {
		const char *key, *fine;
	} strings[] = { { "attn_type", "eva" }, { "rope_type", "cat" } };
	static const char *const flags[] = { "gated_attn", "attn_only_layer_scale", "num_kv_heads", "attn_head_dim" };

	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++)
		if (strcmp(nn_config_string(args, strings[i].key, strings[i].fine), strings[i].fine))
			return nn_fail(error, -ENOTSUP, "config.json: \"%s\" is not supported but as \"%s\".", strings[i].key,
				       strings[i].fine);
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(args, flags[i]);

		if (value && !cJSON_IsNull(value) && !cJSON_IsFalse(value))
			return nn_fail(error, -ENOTSUP, "config.json: \"%s\" is not supported.", flags[i]);
	}
	return 0;
}

/* Hugging Face's keys of timm's arguments, which stay beside them. */
static int eva_vision(cJSON *to, const cJSON *args, struct nn_error *error)
{
	const int64_t width = nn_config_int(args, "embed_dim", 768, 1, 1 << 18, error);
	const double ff = (double)width * nn_config_real(args, "mlp_ratio", 4, error);
	const int gated = nn_config_bool(args, "swiglu_mlp", 0, error);
	const int64_t align = nn_config_int(args, "swiglu_align_to", 0, 0, 1 << 16, error);
	static const char *const sizes[][2] = { { "image_size", "img_size" }, { "patch_size", "patch_size" },
						{ "num_hidden_layers", "depth" }, { "num_attention_heads", "num_heads" },
						{ "num_register_tokens", "num_reg_tokens" }, { "num_channels", "in_chans" } };

	if (eva_unknown(args, error) || error->code)
		return error->code;
	if (!(ff >= 1 && ff <= 1 << 24))
		return nn_fail(error, -EINVAL, "config.json: \"mlp_ratio\" is out of range.");
	cJSON_AddNumberToObject(to, "hidden_size", (double)width);
	cJSON_AddNumberToObject(to, "intermediate_size", (double)(gated && align ? ((int64_t)ff + align - 1) / align * align : (int64_t)ff));
	cJSON_AddStringToObject(to, "hidden_act", gated ? "silu" : "gelu");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(args, sizes[i][1]);

		if (value)
			cJSON_AddItemToObject(to, sizes[i][0], cJSON_Duplicate(value, 1));
	}
	return 0;
}

/* Over the arguments: what OpenCLIP asks of its trunk, and a picture size that config.json gives beside them. */
static void eva_override(cJSON *args, const cJSON *root)
{
	const cJSON *vision = nn_config_object(foreign_openclip(root), "vision_cfg");
	const char *pool = vision ? nn_config_string(vision, "timm_pool", "avg") : nn_config_string(root, "global_pool", NULL);
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(vision, "image_size");

	if (pool && (*pool || !vision)) {
		cJSON_DeleteItemFromObjectCaseSensitive(args, "global_pool");
		cJSON_AddStringToObject(args, "global_pool", pool);
	}
	if (size && !cJSON_HasObjectItem(args, "img_size"))
		cJSON_AddItemToObject(args, "img_size", cJSON_Duplicate(size, 1));
}

static cJSON *eva_translate(struct nn_checkpoint *cp, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(cp);

	if (eva_is_cogvlm(root))
		return eva_cogvlm_translate(cp, error);
	cJSON *args = foreign_timm_arguments(cp, root, eva_known, error);

	if (!args)
		return NULL;
	cJSON *made = cJSON_CreateObject(), *to = cJSON_AddObjectToObject(made, "vision_config");

	eva_override(args, root);
	if (!eva_vision(to, args, error))
		foreign_timm_rest(made, root, error);
	cJSON_AddItemToObject(to, "arguments", args);
	if (!error->code)
		return made;
	cJSON_Delete(made);
	return NULL;
}

/* Where queries and keys are turned. */
static int eva_turns(struct vision *v, const cJSON *args, struct nn_error *error)
{
	const cJSON *shape = cJSON_GetObjectItemCaseSensitive(args, "ref_feat_shape");
	const cJSON *down = cJSON_IsArray(shape) ? cJSON_GetArrayItem(shape, 0) : shape;
	const cJSON *across = cJSON_IsArray(shape) ? cJSON_GetArrayItem(shape, 1) : shape;
	struct turns *t = &v->turns;

	t->on = 1;
	t->half = nn_config_bool(args, "rope_rotate_half", 0, error);
	t->across = !strcmp(nn_config_string(args, "rope_grid_indexing", "ij"), "xy");
	t->base = (float)nn_config_real(args, "rope_temperature", 10000, error);
	t->offset = (float)nn_config_real(args, "rope_grid_offset", 0, error);
	if (shape && !cJSON_IsNull(shape)) {
		if (!cJSON_IsNumber(down) || !cJSON_IsNumber(across) || !(down->valuedouble >= 1 && down->valuedouble <= 1 << 16) ||
		    !(across->valuedouble >= 1 && across->valuedouble <= 1 << 16))
			return nn_fail(error, -EINVAL, "config.json: \"ref_feat_shape\" must be one or two numbers of patches.");
		t->rows = (uint32_t)down->valuedouble;
		t->cols = (uint32_t)across->valuedouble;
	}
	if (!error->code && (!(t->base > 0) || v->tower.d_model / v->tower.n_heads % 4))
		return nn_fail(error, -EINVAL, "config.json: \"rope_temperature\" must be above 0, and heads be of whole fours of columns.");
	return error->code;
}

/* Pooling, and the norms behind the blocks and behind it. */
static int eva_pool(struct vision *v, const cJSON *args, struct nn_error *error)
{
	const char *pool = nn_config_string(args, "global_pool", "avg");
	const int mean = !strcmp(pool, "avg"), token = !strcmp(pool, "token");
	const int fc = nn_config_bool(args, "use_fc_norm", mean, error);

	if (!mean && !token && *pool)
		return nn_fail(error, -ENOTSUP, "config.json: the global_pool \"%.64s\" is not supported.", pool);
	if (token && v->no_class)
		return nn_fail(error, -EINVAL, "config.json: the global_pool is \"token\", and there is no class token.");
	v->pool = mean ? POOL_MEAN : token ? POOL_ROW : POOL_NONE;
	v->names.fc = fc ? "fc_norm" : NULL;
	v->names.post = nn_config_bool(args, "use_post_transformer_norm", !fc, error) ? "norm" : NULL;
	return error->code;
}

/* Names of the layers' parts. */
static void eva_layers(struct vision *v, const cJSON *args, struct nn_error *error)
{
	struct tower_names *m = &v->names.layers;
	const int gated = nn_config_bool(args, "swiglu_mlp", 0, error), sub = nn_config_bool(args, "scale_mlp", 0, error);

	v->tower.bare = nn_config_bool(args, "qkv_bias", 1, error) ? TOWER_K : TOWER_Q | TOWER_K | TOWER_V;
	v->tower.post = nn_config_bool(args, "use_post_norm", 0, error);
	if (!nn_config_bool(args, "qkv_fused", 1, error)) {
		m->q = "attn.q_proj", m->k = "attn.k_proj", m->v = "attn.v_proj";
		m->q_bias = m->v_bias = NULL;
	}
	if (nn_config_bool(args, "scale_attn_inner", 0, error))
		m->inner = "attn.norm";
	if (nn_config_bool(args, "qk_norm", 0, error))
		m->q_norm = "attn.q_norm", m->k_norm = "attn.k_norm";
	if (gated && (sub || nn_config_int(args, "swiglu_align_to", 0, 0, 1 << 16, error)))
		m->gate = "mlp.fc1_g", m->fc1 = "mlp.fc1_x";
	else if (gated)
		m->gate = m->fc1;
	if (sub)
		m->sub = "mlp.norm";
	if (nn_config_real(args, "init_values", 0, error) != 0)
		m->scale1 = "gamma_1", m->scale2 = "gamma_2";
}

static int eva_configure(struct vision *v, struct nn_loader *loader, const cJSON *config, struct nn_error *error)
{
	const cJSON *args = nn_config_object(config, "arguments");

	if (eva_is_cogvlm(nn_checkpoint_config(loader->checkpoint))) {
		eva_cogvlm_configure(v);
		return 0;
	}
	v->no_class = !nn_config_bool(args, "class_token", 1, error);
	v->bare_prefix = nn_config_bool(args, "no_embed_class", 0, error);
	if (!nn_config_bool(args, "use_abs_pos_emb", 1, error))
		v->names.positions = NULL;
	if (nn_config_bool(args, "use_pre_transformer_norm", 0, error))
		v->names.pre = "norm_pre";
	eva_layers(v, args, error);
	if (nn_config_bool(args, "use_rot_pos_emb", 0, error) && eva_turns(v, args, error))
		return error->code;
	return eva_pool(v, args, error);
}

const struct clip_kind clip_kind = {
	.name = "eva", .class_token = 1, .resize = VISION_SMOOTH, .pool = POOL_ROW, .names = &names, .text_names = &openclip_text_names,
	.patch = 16, .vision = { 768, 3072, 12, 12, 1e-6, "gelu" }, .text = { 512, 2048, 12, 8, 1e-5, "gelu" }, .vocab = 49408,
	.context = 77, .end = 49407, .translate = eva_translate, .configure = eva_configure,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "eva", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "EVA-CLIP picture towers, EVA-01 and EVA-02", .ops = &clip_encoder,
};

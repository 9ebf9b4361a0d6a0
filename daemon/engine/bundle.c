/* bundle.c - which parts a model holds: a directory by its config.json, or a GGUF file. A new kind of bundle is a row here. */
#include "daemon/engine/bundle.h"

#include <stdio.h>
#include <string.h>

#include "daemon/engine/bundle-named.h"
#include "daemon/engine/bundle-pair.h"
#include "daemon/engine/json-file.h"
#include "sdk/nn/checkpoint.h"
#include "sdk/nn/gguf.h"

#define BUNDLE_PARTS 4

/* plugin "?vision_config", "?text_config": by the table below, from that member's model_type. */
static const struct bundle {
	const char *model_type;
	struct {
		const char *role, *plugin;
	} parts[BUNDLE_PARTS];
} bundles[] = {
	{"llava", {{"decoder", "causal"}, {"image.encoder", "?vision_config"}, {"image.connector", "mlp"}}},
	{"qwen2_vl", {{"decoder", "causal"}, {"image.encoder", "qwen2vl"}, {"image.connector", "merger"}}},
	{"qwen2_5_vl", {{"decoder", "causal"}, {"image.encoder", "qwen2vl"}, {"image.connector", "merger"}}},
	{"idefics", {{"decoder", "causal"}, {"image.encoder", "idefics"}, {"image.connector", "gated_cross_attention"}}},
	{"openflamingo", {{"image.connector", "gated_cross_attention"}}},
	{"idefics3", {{"decoder", "causal"}, {"image.encoder", "idefics3"}, {"image.connector", "grid"}}},
	{"smolvlm", {{"decoder", "causal"}, {"image.encoder", "idefics3"}, {"image.connector", "grid"}}},
	{"gemma3", {{"decoder", "causal"}, {"image.encoder", "siglip"}, {"image.connector", "grid"}}},
	{"paligemma", {{"decoder", "causal"}, {"image.encoder", "siglip"}, {"image.connector", "mlp"}}},
	{"internvl", {{"decoder", "causal"}, {"image.encoder", "internvl"}, {"image.connector", "grid"}}},
	{"cogvlm", {{"decoder", "causal"}, {"image.encoder", "eva"}, {"image.connector", "visual_expert"}}},
	{"idefics_vision", {{"image.encoder", "idefics"}}},
	{"internvl_chat", {{"decoder", "causal"}, {"image.encoder", "internvl"}, {"image.connector", "grid"}}},
	{"intern_vit_6b", {{"image.encoder", "internvl"}}},
	{"idefics3_vision", {{"image.encoder", "idefics3"}}},
	{"smolvlm_vision", {{"image.encoder", "idefics3"}}},
	{"internvl_vision", {{"image.encoder", "internvl"}}},
	{"blip-2", {{"decoder", "?text_config"}, {"image.encoder", "blip"}, {"image.connector", "qformer"}}},
	{"instructblip", {{"decoder", "?text_config"}, {"image.encoder", "blip"}, {"image.connector", "qformer"}}},
	{"llava_llama", {{"decoder", "causal"}, {"image.encoder", "clip"}, {"image.connector", "mlp"}}},
	{"llava_mistral", {{"decoder", "causal"}, {"image.encoder", "clip"}, {"image.connector", "mlp"}}},
	{"mobilevlm", {{"decoder", "causal"}, {"image.encoder", "clip"}, {"image.connector", "ldp"}}},
	{"llava_next", {{"decoder", "causal"}, {"image.encoder", "?vision_config"}, {"image.connector", "mlp"}}},
	{"mllama", {{"decoder", "causal"}, {"image.encoder", "mllama"}, {"image.connector", "cross_attention"}}},
	{"mllama_vision_model", {{"image.encoder", "mllama"}}},
	{"mistral3", {{"decoder", "causal"}, {"image.encoder", "?vision_config"}, {"image.connector", "mlp"}}},
	{"vipllava", {{"decoder", "causal"}, {"image.encoder", "?vision_config"}, {"image.connector", "mlp"}}},
	{"clip_vision_model", {{"image.encoder", "clip"}}},
	{"clip", {{"image.encoder", "clip"}}},
	{"siglip", {{"image.encoder", "siglip"}}},
	{"dinov2", {{"image.encoder", "dinov2"}}},
	{"dinov2_with_registers", {{"image.encoder", "dinov2"}}},
	{"vit", {{"image.encoder", "vit"}}},
	{"blip_vision_model", {{"image.encoder", "blip"}}},
	{"blip_2_vision_model", {{"image.encoder", "blip"}}},
	{"instructblip_vision_model", {{"image.encoder", "blip"}}},
	{"eva", {{"image.encoder", "eva"}}},
	{"convnext", {{"image.encoder", "convnext"}}},
	{"convnextv2", {{"image.encoder", "convnext"}}},
	{"vit_", {{"image.encoder", "vit"}}},
	{"siglip2", {{"image.encoder", "siglip2"}}},
	{"siglip2_vision_model", {{"image.encoder", "siglip2"}}},
	{"open_clip", {{"image.encoder", "openclip"}}},
	{"siglip_vision_model", {{"image.encoder", "siglip"}}},
	{"mosaic_gpt", {{"decoder", "causal"}}},
	{"t5", {{"decoder", "t5"}}},
	{"mt5", {{"decoder", "t5"}}},
	{"umt5", {{"decoder", "t5"}}},
	{NULL, {{NULL, NULL}}},
};
/* Any other text model: the decoder itself knows its families and says so if it lacks one. */
static const struct bundle bundle_text = {"text", {{"decoder", "causal"}}};

static const struct {
	const char *model_type, *plugin;
} bundle_members[] = {
	{"clip_vision_model", "clip"},
	{"siglip_vision_model", "siglip"},
	{"idefics_vision", "idefics"},
	{"idefics3_vision", "idefics3"},
	{"smolvlm_vision", "idefics3"},
	{"internvl_vision", "internvl"},
	{"dinov2", "dinov2"},
	{"dinov2_with_registers", "dinov2"},
	{"vit", "vit"},
	{"convnext", "convnext"},
	{"convnextv2", "convnext"},
	{"siglip2_vision_model", "siglip2"},
	{"pixtral", "pixtral"},
	{"blip_vision_model", "blip"},
	{"blip_2_vision_model", "blip"},
	{"instructblip_vision_model", "blip"},
	{"t5", "t5"},
	{NULL, NULL},
};

static const char *bundle_text_of(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return text ? text : "";
}

static const char *bundle_member(const cJSON *config, const char *member)
{
	const char *type = bundle_text_of(cJSON_GetObjectItemCaseSensitive(config, member), "model_type");

	for (size_t i = 0; bundle_members[i].plugin; i++)
		if (strcmp(bundle_members[i].model_type, type) == 0)
			return bundle_members[i].plugin;
	return strcmp(member, "text_config") == 0 ? "causal" : "clip";
}

/* The model_type; of OpenCLIP's and timm's files, which have none, the family of the picture tower. */
static const char *bundle_type(const cJSON *config)
{
	static const char *const families[] = {"eva", "convnext", "vit_"};
	const cJSON *open_clip = cJSON_GetObjectItemCaseSensitive(config, "model_cfg");
	const cJSON *tower = cJSON_GetObjectItemCaseSensitive(open_clip, "vision_cfg");
	const char *type = nn_config_type(config);
	const char *timm = open_clip ? bundle_text_of(tower, "timm_model_name") : bundle_text_of(config, "architecture");

	if (type[0])
		return type;
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (strncmp(timm, families[i], strlen(families[i])) == 0)
			return families[i];
	return open_clip && !timm[0] ? "open_clip" : timm;
}

static const struct bundle *bundle_find(const cJSON *config)
{
	const char *type = bundle_type(config);
	const char *architecture =
		cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(config, "architectures"), 0));

	for (const struct bundle *b = bundles; b->model_type; b++)
		if (strcmp(b->model_type, type) == 0)
			return b;
	if (strcmp(type, "llama") == 0 || (architecture && strstr(architecture, "ForCausalLM")))
		return &bundle_text;
	return NULL;
}

static cJSON *bundle_role(const cJSON *parts, const char *role)
{
	cJSON *part;

	cJSON_ArrayForEach(part, parts)
		if (strcmp(bundle_text_of(part, "role"), role) == 0)
			return part;
	return NULL;
}

/* The bundle's own parts, as far as nothing overrides them. A GGUF file that has a configuration is a picture tower's. */
static void bundle_fill(const struct bundle *bundle, const cJSON *config, const char *model, cJSON *all)
{
	for (size_t i = 0; i < BUNDLE_PARTS && bundle->parts[i].role; i++) {
		const char *plugin = bundle->parts[i].plugin;
		cJSON *part = bundle_role(all, bundle->parts[i].role);

		if (config && nn_gguf_is_path(model) && strcmp(bundle->parts[i].role, "decoder") == 0)
			continue;
		if (part && bundle_text_of(part, "model")[0] == 0) {
			cJSON_DeleteItemFromObjectCaseSensitive(part, "model");
			cJSON_AddStringToObject(part, "model", model);
		}
		if (part)
			continue;
		part = cJSON_CreateObject();
		cJSON_AddStringToObject(part, "role", bundle->parts[i].role);
		cJSON_AddStringToObject(part, "plugin", plugin[0] == '?' ? bundle_member(config, plugin + 1) : plugin);
		cJSON_AddStringToObject(part, "model", model);
		cJSON_AddItemToArray(all, part);
	}
}

/* A GGUF file holds a text model: of the architecture that it names. */
static const struct bundle *bundle_gguf(const char *model)
{
	struct nn_error why = {0};
	struct nn_gguf_file file;
	const struct bundle *found = &bundle_text;
	const struct nn_gguf_value *value = nn_gguf_open(&file, model, &why) ? NULL : nn_gguf_value(&file.g, "general.architecture");

	if (value && value->type == NN_GGUF_STRING && !value->is_array) {
		const unsigned char *at = value->data;
		const struct nn_gguf_text name = nn_gguf_next_text(&at);

		for (const struct bundle *b = bundles; b->model_type; b++)
			if (strcmp(b->parts[0].role, "decoder") == 0 && !b->parts[1].role && strlen(b->model_type) == name.n &&
			    memcmp(b->model_type, name.bytes, name.n) == 0)
				found = b;
	}
	nn_gguf_close(&file);
	return found;
}

static const struct bundle *bundle_of(const char *model, const cJSON *config)
{
	if (config)
		return bundle_find(config);
	return nn_gguf_is_path(model) ? bundle_gguf(model) : NULL;
}

/* A model's configuration, to delete; NULL: it has none. */
static cJSON *bundle_config(const char *model)
{
	cJSON *config = json_file_read(model, "config.json");

	return config ? config : json_file_read(model, "open_clip_config.json");
}

static const char *bundle_plugin(const char *model, const char *role)
{
	cJSON *config = bundle_config(model);
	const struct bundle *bundle = bundle_of(model, config);
	const char *plugin = NULL;

	for (size_t i = 0; bundle && i < BUNDLE_PARTS && bundle->parts[i].role; i++)
		if (strcmp(bundle->parts[i].role, role) == 0)
			plugin = bundle->parts[i].plugin;
	if (plugin && plugin[0] == '?')
		plugin = bundle_member(config, plugin + 1);
	cJSON_Delete(config);
	return plugin;
}

/* The parts that one model holds. 0 or *error. */
static int bundle_add(const char *model, cJSON *all, struct wire_error *error)
{
	cJSON *config = bundle_config(model);
	const struct bundle *bundle = bundle_of(model, config);

	if (bundle) {
		const int r = bundle_named_add(model, config, all, bundle_plugin, error);

		if (r == 0)
			bundle_fill(bundle, config, model, all);
		cJSON_Delete(config);
		return r;
	}
	if (config)
		wire_error_set(error, WIRE_MODEL, "%s is a model of type \"%.64s\", which is none of the bundles that are known.",
			       model, bundle_type(config));
	else
		wire_error_set(error, WIRE_MODEL, "%s/config.json is missing or is no JSON: a model is a directory with that file or with "
			       "GGUF files, or a .gguf file.", model);
	wire_error_string(error, "file", model);
	wire_error_string(error, "reason", config ? "unknown model_type" : "no config.json");
	cJSON_Delete(config);
	return error->code;
}

/* Plugins that take from the language model's file, too, and the option that names it. */
static const struct {
	const char *plugin, *option;
} bundle_both[] = {
	{"visual_expert", "experts"},
};

/* Of a pair: parts that are of both of its files. */
static void bundle_name_text(const struct bundle_pair *pair, const cJSON *all)
{
	cJSON *part;

	cJSON_ArrayForEach(part, all)
		for (size_t i = 0; i < sizeof(bundle_both) / sizeof(bundle_both[0]); i++) {
			cJSON *options = cJSON_GetObjectItemCaseSensitive(part, "options");

			if (strcmp(bundle_text_of(part, "plugin"), bundle_both[i].plugin) != 0 ||
			    strcmp(bundle_text_of(part, "model"), pair->tower) != 0)
				continue;
			options = options ? options : cJSON_AddObjectToObject(part, "options");
			if (!cJSON_HasObjectItem(options, bundle_both[i].option))
				cJSON_AddStringToObject(options, bundle_both[i].option, pair->text);
		}
}

cJSON *bundle_parts(const char *model, const char *mmproj, const cJSON *parts, struct wire_error *error)
{
	cJSON *all = cJSON_IsArray(parts) ? cJSON_Duplicate(parts, 1) : cJSON_CreateArray();
	struct bundle_pair pair;
	int r = bundle_pair_find(&pair, model, mmproj, error);

	/* The tower first: its parts are not the other model's. */
	if (r == 0 && pair.tower)
		r = bundle_add(pair.tower, all, error);
	if (r == 0 && (pair.text || (model && !pair.tower)))
		r = bundle_add(pair.text ? pair.text : model, all, error);
	if (r == 0 && pair.tower && pair.text)
		bundle_name_text(&pair, all);
	bundle_pair_fini(&pair);
	if (r == 0)
		return all;
	cJSON_Delete(all);
	return NULL;
}

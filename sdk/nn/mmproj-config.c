/* mmproj-config.c - a picture tower's GGUF values as config.json and preprocessor_config.json would have them. */
#include "sdk/nn/mmproj.h"

#include <stddef.h>
#include <string.h>

enum { CONFIG_PIXELS_MOST = 1 << 28 };

enum member_type { MEMBER_COUNT, MEMBER_REAL, MEMBER_TEXT, MEMBER_FLAG, MEMBER_FIXED, MEMBER_NUMBER, MEMBER_TRUE };

/* One member of an object: a field of struct nn_mmproj, or what is always so. */
struct member {
	const char *name;
	enum member_type type;
	size_t offset;
	const char *text; /* of MEMBER_FIXED */
	double number;    /* of MEMBER_NUMBER */
};
#define COUNT(name, field) { name, MEMBER_COUNT, offsetof(struct nn_mmproj, field), NULL, 0 }
#define REAL(name, field) { name, MEMBER_REAL, offsetof(struct nn_mmproj, field), NULL, 0 }
#define TEXT(name, field) { name, MEMBER_TEXT, offsetof(struct nn_mmproj, field), NULL, 0 }
#define FLAG(name, field) { name, MEMBER_FLAG, offsetof(struct nn_mmproj, field), NULL, 0 }
#define FIXED(name, text) { name, MEMBER_FIXED, 0, text, 0 }
#define NUMBER(name, number) { name, MEMBER_NUMBER, 0, NULL, number }
#define TRUE(name) { name, MEMBER_TRUE, 0, NULL, 0 }
#define END { NULL, MEMBER_FIXED, 0, NULL, 0 }

static const struct member tower_clip[] = {
	TEXT("model_type", tower_type), COUNT("hidden_size", width), COUNT("intermediate_size", d_ff),
	COUNT("num_hidden_layers", layers), COUNT("num_attention_heads", heads), COUNT("image_size", image_size),
	COUNT("patch_size", patch_size), REAL("layer_norm_eps", eps), TEXT("hidden_act", activation), END,
};
static const struct member tower_qwen2vl[] = {
	TEXT("model_type", tower_type), COUNT("embed_dim", width), COUNT("hidden_size", d_model), COUNT("depth", layers),
	COUNT("intermediate_size", d_ff), COUNT("num_heads", heads), COUNT("patch_size", patch_size), COUNT("spatial_merge_size", merge),
	NUMBER("temporal_patch_size", 2), NUMBER("in_channels", 3), TEXT("hidden_act", activation), END,
};
static const struct member tower_cogvlm[] = {
	TEXT("model_type", tower_type), COUNT("hidden_size", width), COUNT("intermediate_size", d_ff), COUNT("num_hidden_layers", layers),
	COUNT("num_heads", heads), COUNT("image_size", image_size), COUNT("patch_size", patch_size), REAL("layer_norm_eps", eps),
	NUMBER("in_channels", 3), TEXT("hidden_act", activation), END,
};
static const struct member tower_qwen25vl[] = {
	TEXT("model_type", tower_type), COUNT("hidden_size", width), COUNT("out_hidden_size", d_model), COUNT("depth", layers),
	COUNT("intermediate_size", d_ff), COUNT("num_heads", heads), COUNT("patch_size", patch_size),
	COUNT("spatial_merge_size", merge), COUNT("window_size", window), NUMBER("temporal_patch_size", 2), NUMBER("in_channels", 3),
	TEXT("hidden_act", activation), END,
};
static const struct member tower_internvl[] = {
	TEXT("model_type", tower_type), COUNT("hidden_size", width), COUNT("intermediate_size", d_ff),
	COUNT("num_hidden_layers", layers), COUNT("num_attention_heads", heads), COUNT("image_size", image_size),
	COUNT("patch_size", patch_size), REAL("layer_norm_eps", eps), TEXT("hidden_act", activation), TEXT("norm_type", norm),
	FLAG("attention_bias", qkv_bias), FLAG("use_qk_norm", qk_norms), FLAG("use_mean_pooling", mean_pooled), END,
};
static const struct member tower_pixtral[] = {
	TEXT("model_type", tower_type), COUNT("hidden_size", width), COUNT("intermediate_size", d_ff),
	COUNT("num_hidden_layers", layers), COUNT("num_attention_heads", heads), COUNT("image_size", image_size),
	COUNT("patch_size", patch_size), REAL("layer_norm_eps", eps), TEXT("hidden_act", activation),
	REAL("rope_parameters.rope_theta", theta), END,
};

static const struct member root_llava[] = {
	FIXED("projector_hidden_act", "gelu"), FIXED("image_token", "<image>"), END,
};
static const struct member root_gemma3[] = {
	FIXED("image_token", "<image_soft_token>"), FIXED("boi_token", "<start_of_image>"), FIXED("eoi_token", "<end_of_image>"), END,
};
static const struct member root_idefics3[] = {
	COUNT("scale_factor", scale), FIXED("image_token", "<image>"), END,
};
static const struct member root_cogvlm[] = {
	END,
};
static const struct member root_internvl[] = {
	REAL("downsample_ratio", ratio), FIXED("projector_hidden_act", "gelu"), NUMBER("vision_feature_layer", -1),
	FIXED("vision_feature_select_strategy", "default"), FIXED("image_token", "<IMG_CONTEXT>"), END,
};
static const struct member root_pixtral[] = {
	COUNT("spatial_merge_size", merge), REAL("text_config.rms_norm_eps", eps), FIXED("projector_hidden_act", "gelu"),
	NUMBER("vision_feature_layer", -1), FIXED("vision_feature_select_strategy", "full"), FIXED("image_token", "[IMG]"), END,
};
static const struct member root_qwen[] = {
	FIXED("image_token", "<|image_pad|>"), END,
};

static const struct member processor_clip[] = {
	FIXED("image_processor_type", "CLIPImageProcessor"), NUMBER("resample", 3), COUNT("size.shortest_edge", image_size),
	COUNT("crop_size.height", image_size), COUNT("crop_size.width", image_size), END,
};
static const struct member processor_pad[] = {
	FIXED("image_processor_type", "LlavaImageProcessor"), NUMBER("resample", 3), COUNT("size.shortest_edge", image_size),
	COUNT("crop_size.height", image_size), COUNT("crop_size.width", image_size), TRUE("do_pad"), END,
};
static const struct member processor_next[] = {
	FIXED("image_processor_type", "LlavaNextImageProcessor"), NUMBER("resample", 3), COUNT("size.shortest_edge", image_size),
	COUNT("crop_size.height", image_size), COUNT("crop_size.width", image_size), END,
};
static const struct member processor_siglip[] = {
	FIXED("image_processor_type", "SiglipImageProcessor"), NUMBER("resample", 3), COUNT("size.height", image_size),
	COUNT("size.width", image_size), END,
};
static const struct member processor_cogvlm[] = {
	FIXED("image_processor_type", "BlipImageProcessor"), NUMBER("resample", 3), COUNT("size.height", image_size),
	COUNT("size.width", image_size), END,
};
static const struct member processor_gemma3[] = {
	FIXED("image_processor_type", "Gemma3ImageProcessor"), NUMBER("resample", 2), COUNT("size.height", image_size),
	COUNT("size.width", image_size), END,
};
static const struct member processor_idefics3[] = {
	FIXED("image_processor_type", "Idefics3ImageProcessor"), NUMBER("resample", 1), COUNT("size.longest_edge", preproc_size),
	COUNT("max_image_size.longest_edge", image_size), END,
};
static const struct member processor_internvl[] = {
	FIXED("image_processor_type", "GotOcr2ImageProcessor"), NUMBER("resample", 3), COUNT("size.height", image_size),
	COUNT("size.width", image_size), TRUE("crop_to_patches"), COUNT("min_patches", tiles_least), COUNT("max_patches", tiles_most), END,
};
static const struct member processor_pixtral[] = {
	FIXED("image_processor_type", "PixtralImageProcessor"), NUMBER("resample", 3), COUNT("size.longest_edge", preproc_size),
	COUNT("patch_size.height", patch_size), COUNT("patch_size.width", patch_size), END,
};
static const struct member processor_qwen[] = {
	FIXED("image_processor_type", "Qwen2VLImageProcessor"), NUMBER("resample", 3), COUNT("size.shortest_edge", min_pixels),
	COUNT("size.longest_edge", max_pixels), COUNT("min_pixels", min_pixels), COUNT("max_pixels", max_pixels),
	COUNT("patch_size", patch_size), COUNT("merge_size", merge), NUMBER("temporal_patch_size", 2), END,
};

/* By model_type of config.json, and of the tower where that counts. */
static const struct config_kind {
	const char *model_type, *tower_type; /* tower_type NULL: any */
	int pads;
	const struct member *root, *tower, *processor;
} config_kinds[] = {
	{ "llava", "pixtral", 0, root_pixtral, tower_pixtral, processor_pixtral },
	{ "mistral3", NULL, 0, root_pixtral, tower_pixtral, processor_pixtral },
	{ "internvl", NULL, 0, root_internvl, tower_internvl, processor_internvl },
	{ "mobilevlm", NULL, 1, root_llava, tower_clip, processor_pad },
	{ "mobilevlm", NULL, 0, root_llava, tower_clip, processor_clip },
	{ "llava", "siglip_vision_model", 0, root_llava, tower_clip, processor_siglip },
	{ "llava", NULL, 1, root_llava, tower_clip, processor_pad },
	{ "llava", NULL, 0, root_llava, tower_clip, processor_clip },
	{ "llava_next", NULL, 0, root_llava, tower_clip, processor_next },
	{ "gemma3", NULL, 0, root_gemma3, tower_clip, processor_gemma3 },
	{ "idefics3", NULL, 0, root_idefics3, tower_clip, processor_idefics3 },
	{ "qwen2_vl", NULL, 0, root_qwen, tower_qwen2vl, processor_qwen },
	{ "cogvlm", NULL, 0, root_cogvlm, tower_cogvlm, processor_cogvlm },
	{ "qwen2_5_vl", NULL, 0, root_qwen, tower_qwen25vl, processor_qwen },
};

static const struct config_kind *config_kind(const struct nn_mmproj *m)
{
	for (size_t i = 0; i < sizeof(config_kinds) / sizeof(config_kinds[0]); i++) {
		const struct config_kind *k = &config_kinds[i];

		if (!strcmp(k->model_type, m->model_type) && (!k->tower_type || !strcmp(k->tower_type, m->tower_type)) &&
		    (!k->pads || m->pads))
			return k;
	}
	return NULL;
}

/* Pixels that become so many tokens of Qwen2-VL's. */
static uint32_t config_pixels(const struct nn_mmproj *m, uint64_t tokens)
{
	const uint64_t side = (uint64_t)m->patch_size * m->merge, pixels = tokens * side * side;

	return pixels < CONFIG_PIXELS_MOST ? (uint32_t)pixels : CONFIG_PIXELS_MOST;
}

/* What the families have where their files are silent. */
static struct nn_mmproj config_complete(const struct nn_mmproj *given)
{
	struct nn_mmproj m = *given;

	if (!m.scale)
		m.scale = strcmp(m.model_type, "gemma3") ? 2 : 4;
	m.ratio = 1.0 / m.scale;
	m.merge = m.merge ? m.merge : strcmp(m.tower_type, "pixtral") ? 2 : 1;
	m.tiles_least = m.tiles_least ? m.tiles_least : 1;
	m.tiles_most = m.tiles_most ? m.tiles_most : 12;
	m.window = m.window ? m.window : 112;
	m.preproc_size = m.preproc_size ? m.preproc_size : m.image_size;
	m.min_pixels = m.min_pixels ? m.min_pixels : config_pixels(&m, 4);
	m.max_pixels = m.max_pixels ? m.max_pixels : config_pixels(&m, 16384);
	return m;
}

/* Puts `item` under "a" or, as "a.b", into an object of its own. Memory that is out is found at the end. */
static void config_put(cJSON *object, const char *name, cJSON *item)
{
	const char *dot = strchr(name, '.');
	char outer[64] = "";

	if (dot && (size_t)(dot - name) < sizeof(outer)) {
		memcpy(outer, name, (size_t)(dot - name));
		cJSON *inner = cJSON_GetObjectItemCaseSensitive(object, outer);

		object = inner ? inner : cJSON_AddObjectToObject(object, outer);
		name = dot + 1;
	}
	if (!item || !cJSON_AddItemToObject(object, name, item))
		cJSON_Delete(item);
}

static void config_add(cJSON *object, const struct nn_mmproj *m, const struct member *list)
{
	for (; list->name; list++) {
		const void *field = (const char *)m + list->offset;
		cJSON *item = NULL;

		switch (list->type) {
		case MEMBER_COUNT: item = cJSON_CreateNumber(*(const uint32_t *)field); break;
		case MEMBER_REAL: item = cJSON_CreateNumber(*(const double *)field); break;
		case MEMBER_TEXT: item = cJSON_CreateString(*(const char *const *)field); break;
		case MEMBER_FLAG: item = cJSON_CreateBool(*(const int *)field); break;
		case MEMBER_FIXED: item = cJSON_CreateString(list->text); break;
		case MEMBER_NUMBER: item = cJSON_CreateNumber(list->number); break;
		case MEMBER_TRUE: item = cJSON_CreateTrue(); break;
		}
		config_put(object, list->name, item);
	}
}

/* The hidden states that are the features: what the file says; else all of a tower whose last layer was left out, and of a whole
 * one the last but one. */
static void config_features(cJSON *root, const struct nn_mmproj *m)
{
	const uint32_t kept = m->blocks < m->layers ? m->blocks : m->layers;
	cJSON *list = m->n_features > 1 ? cJSON_AddArrayToObject(root, "vision_feature_layer") : NULL;

	for (uint32_t i = 0; list && i < m->n_features; i++)
		cJSON_AddItemToArray(list, cJSON_CreateNumber(m->features[i]));
	if (m->n_features == 1)
		cJSON_AddNumberToObject(root, "vision_feature_layer", m->features[0]);
	else if (!m->n_features)
		cJSON_AddNumberToObject(root, "vision_feature_layer", m->llava && !m->whole ? (double)kept : -2);
	cJSON_AddStringToObject(root, "vision_feature_select_strategy", m->class_token ? "default" : "full");
}

static void config_points(cJSON *object, const struct nn_mmproj *m)
{
	cJSON *list = m->n_points ? cJSON_AddArrayToObject(object, "image_grid_pinpoints") : NULL;

	for (uint32_t i = 0; list && i + 1 < m->n_points; i += 2) {
		cJSON *pair = cJSON_CreateArray();

		cJSON_AddItemToArray(pair, cJSON_CreateNumber(m->points[i]));
		cJSON_AddItemToArray(pair, cJSON_CreateNumber(m->points[i + 1]));
		cJSON_AddItemToArray(list, pair);
	}
}

/* Qwen2.5-VL: each layer whose number from 1 the pattern divides sees all, the others their window. */
static void config_pattern(cJSON *tower, const struct nn_mmproj *m)
{
	cJSON *list = cJSON_AddArrayToObject(tower, "fullatt_block_indexes");

	for (uint32_t i = 0; i < m->layers; i++)
		if (!m->pattern || (i + 1) % m->pattern == 0)
			cJSON_AddItemToArray(list, cJSON_CreateNumber(i));
}

cJSON *nn_mmproj_config(const struct nn_mmproj *given)
{
	const struct nn_mmproj m = config_complete(given);
	const struct config_kind *kind = config_kind(&m);
	cJSON *root = kind ? cJSON_CreateObject() : NULL, *tower = root ? cJSON_AddObjectToObject(root, "vision_config") : NULL;

	if (!tower || !cJSON_AddStringToObject(root, "model_type", m.model_type)) {
		cJSON_Delete(root);
		return NULL;
	}
	config_add(root, &m, kind->root);
	config_add(tower, &m, kind->tower);
	cJSON_AddBoolToObject(tower, "vision_use_head", 0);
	if (kind->root == root_llava) {
		config_features(root, &m);
		config_points(root, &m);
	} else if (kind->tower == tower_qwen2vl) {
		cJSON_AddNumberToObject(tower, "mlp_ratio", (double)m.d_ff / m.width);
	} else if (kind->tower == tower_qwen25vl) {
		config_pattern(tower, &m);
	} else if (kind->root == root_gemma3) {
		const uint32_t side = m.image_size / m.patch_size / m.scale;

		cJSON_AddNumberToObject(root, "mm_tokens_per_image", (double)side * side);
	}
	return root;
}

cJSON *nn_mmproj_processor(const struct nn_mmproj *given)
{
	const struct nn_mmproj m = config_complete(given);
	const struct config_kind *kind = config_kind(&m);
	cJSON *root = kind ? cJSON_CreateObject() : NULL;

	if (!root)
		return NULL;
	config_add(root, &m, kind->processor);
	cJSON_AddItemToObject(root, "image_mean", cJSON_CreateDoubleArray(m.mean, 3));
	cJSON_AddItemToObject(root, "image_std", cJSON_CreateDoubleArray(m.std, 3));
	config_points(root, &m);
	return root;
}

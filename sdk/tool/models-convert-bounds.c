/* models-convert-bounds.c - what GGUF files of picture towers have no place for, by the projector. */
#include "sdk/tool/models-convert-mmproj.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static int mmproj_none(struct mmproj_writer *w, const char *what)
{
	return nn_fail(&w->c->error, -ENOTSUP, "%s: GGUF files have no %s.", w->c->path, what);
}

static int mmproj_state(struct mmproj_writer *w, const cJSON *item, uint32_t layers)
{
	const double x = cJSON_IsNumber(item) ? item->valuedouble : -1e9, state = x < 0 ? x + layers + 1 : x;
	if (!(state >= 0 && state <= layers) || w->n_states == MMPROJ_STATES)
		return nn_fail(&w->c->error, -EINVAL, "%s: config.json: \"vision_feature_layer\" is out of range.", w->c->path);
	w->states[w->n_states++] = (uint32_t)state;
	return 0;
}

/* LLaVA: layers behind the features are left out, as is a norm behind those. */
static int mmproj_llava(struct mmproj_writer *w)
{
	const cJSON *own = cJSON_GetObjectItemCaseSensitive(w->c->root, "mm_vision_select_layer");
	const cJSON *layer = w->c->own ? own : cJSON_GetObjectItemCaseSensitive(w->c->root, "vision_feature_layer");
	const int class = strcmp(nn_config_string(w->c->root, "mm_vision_select_feature", "patch"), "patch") != 0;
	const char *strategy = nn_config_string(w->c->root, "vision_feature_select_strategy", class ? "full" : "default");
	const char *tower = nn_config_string(w->tower, "model_type", "clip_vision_model");
	const cJSON usual = {.type = cJSON_Number, .valuedouble = -2};
	const uint32_t layers = w->layers;
	const int several = cJSON_IsArray(layer);
	if (w->c->own && strncmp(nn_config_string(w->c->root, "image_aspect_ratio", ""), "anyres", 6) == 0)
		return mmproj_none(w, "tiles as LLaVA's own code merges them");
	for (int i = 0; i < (several ? cJSON_GetArraySize(layer) : 1); i++)
		if (mmproj_state(w, several ? cJSON_GetArrayItem(layer, i) : layer ? layer : &usual, layers))
			return w->c->error.code;
	w->layers = 0;
	for (uint32_t i = 0; i < w->n_states; i++)
		w->layers = w->states[i] > w->layers ? w->states[i] : w->layers;
	if (strcmp(strategy, strcmp(tower, "clip_vision_model") == 0 ? "default" : "full") != 0 || !w->layers)
		return nn_fail(&w->c->error, -ENOTSUP, "%s: GGUF files have no features of the strategy \"%.32s\" of this tower.", w->c->path,
			       strategy);
	if (strcmp(nn_config_string(w->c->root, "projector_hidden_act", "gelu"), "gelu") != 0)
		return mmproj_none(w, "projector with another activation than gelu");
	return 0;
}

/* The features are the last rows, without the class token. */
static int mmproj_internvl(struct mmproj_writer *w)
{
	const cJSON *layer = cJSON_GetObjectItemCaseSensitive(w->c->root, "vision_feature_layer");
	if (strcmp(nn_config_string(w->c->root, "projector_hidden_act", "gelu"), "gelu") != 0)
		return mmproj_none(w, "projector with another activation than gelu");
	if (layer && !(cJSON_IsNumber(layer) && (layer->valuedouble == -1 || layer->valuedouble == w->layers)))
		return mmproj_none(w, "features of another layer of this tower than the last");
	if (strcmp(nn_config_string(w->c->root, "vision_feature_select_strategy", "default"), "default") != 0)
		return mmproj_none(w, "class token among the features");
	if (!nn_config_bool(w->tower, "use_absolute_position_embeddings", 1, &w->c->error))
		return mmproj_none(w, "such tower without positions");
	return w->c->error.code;
}

/* The norm in front of merged patches has the tower's epsilon there, and the language model's in the folder. */
static int mmproj_pixtral(struct mmproj_writer *w)
{
	const cJSON *text = nn_config_object(w->c->root, "text_config");
	const cJSON *layer = cJSON_GetObjectItemCaseSensitive(w->c->root, "vision_feature_layer");
	const double eps = nn_config_real(w->tower, "layer_norm_eps", w->kind->eps, &w->c->error);
	const double merged = nn_config_real(text, "rms_norm_eps", 1e-6, &w->c->error);
	if (strcmp(nn_config_string(w->c->root, "projector_hidden_act", "gelu"), "gelu") != 0)
		return mmproj_none(w, "projector with another activation than gelu");
	if (layer && !(cJSON_IsNumber(layer) && (layer->valuedouble == -1 || layer->valuedouble == w->layers)))
		return mmproj_none(w, "features of another layer of this tower than the last");
	if (!w->c->error.code && strcmp(w->kind->type, "mistral3") == 0 && fabs(eps - merged) > 1e-3 * eps)
		return mmproj_none(w, "norm of merged patches with an epsilon of its own: rms_norm_eps of text_config must be the tower's");
	return w->c->error.code;
}

int mmproj_bounds(struct mmproj_writer *w)
{
	static const struct {
		const char *projector;
		int (*check)(struct mmproj_writer *w);
	} checks[] = {{"mlp", mmproj_llava}, {"ldp", mmproj_llava}, {"ldpv2", mmproj_llava}, {"internvl", mmproj_internvl}, {"pixtral", mmproj_pixtral}};
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
		if (strcmp(checks[i].projector, w->kind->projector) == 0)
			return checks[i].check(w);
	return 0;
}

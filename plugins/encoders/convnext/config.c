/* config.c - ConvNeXt's numbers, from Hugging Face's configuration, timm's or OpenCLIP's. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "plugins/encoders/clip/foreign.h"
#include "plugins/encoders/convnext/convnext.h"

#define BASE "\"depths\":[3,3,27,3],"
#define V2 "\"use_grn\":true,\"ls_init_value\":null,"

/* timm's models by name, with the arguments that its functions give. */
static const char *const convnext_known[][2] = {
	{ "convnext_tiny", "{\"depths\":[3,3,9,3],\"dims\":[96,192,384,768]}" },
	{ "convnext_small", "{" BASE "\"dims\":[96,192,384,768]}" },
	{ "convnext_base", "{" BASE "\"dims\":[128,256,512,1024]}" },
	{ "convnext_large", "{" BASE "\"dims\":[192,384,768,1536]}" },
	{ "convnext_large_mlp", "{" BASE "\"dims\":[192,384,768,1536],\"head_hidden_size\":1536}" },
	{ "convnext_xlarge", "{" BASE "\"dims\":[256,512,1024,2048]}" },
	{ "convnext_xxlarge", "{\"depths\":[3,4,30,3],\"dims\":[384,768,1536,3072],\"norm_eps\":1e-5}" },
	{ "convnext_atto", "{\"depths\":[2,2,6,2],\"dims\":[40,80,160,320]}" },
	{ "convnext_femto", "{\"depths\":[2,2,6,2],\"dims\":[48,96,192,384]}" },
	{ "convnext_pico", "{\"depths\":[2,2,6,2],\"dims\":[64,128,256,512]}" },
	{ "convnext_nano", "{\"depths\":[2,2,8,2],\"dims\":[80,160,320,640]}" },
	{ "convnextv2_atto", "{" V2 "\"depths\":[2,2,6,2],\"dims\":[40,80,160,320]}" },
	{ "convnextv2_femto", "{" V2 "\"depths\":[2,2,6,2],\"dims\":[48,96,192,384]}" },
	{ "convnextv2_pico", "{" V2 "\"depths\":[2,2,6,2],\"dims\":[64,128,256,512]}" },
	{ "convnextv2_nano", "{" V2 "\"depths\":[2,2,8,2],\"dims\":[80,160,320,640]}" },
	{ "convnextv2_tiny", "{" V2 "\"depths\":[3,3,9,3],\"dims\":[96,192,384,768]}" },
	{ "convnextv2_small", "{" V2 BASE "\"dims\":[96,192,384,768]}" },
	{ "convnextv2_base", "{" V2 BASE "\"dims\":[128,256,512,1024]}" },
	{ "convnextv2_large", "{" V2 BASE "\"dims\":[192,384,768,1536]}" },
	{ "convnextv2_huge", "{" V2 BASE "\"dims\":[352,704,1408,2816]}" },
	{ NULL, NULL },
};

/* What timm's ConvNeXt can be told, and this plugin cannot do. */
static int convnext_unknown(const cJSON *args, struct nn_error *error)
{
	const char *norm = nn_config_string(args, "norm_layer", "layernorm");
	const cJSON *kernel = cJSON_GetObjectItemCaseSensitive(args, "kernel_sizes");

	if (strcmp(nn_config_string(args, "stem_type", "patch"), "patch"))
		return nn_fail(error, -ENOTSUP, "config.json: \"stem_type\" is not supported but as \"patch\".");
	if (strncmp(norm, "layernorm", 9))
		return nn_fail(error, -ENOTSUP, "config.json: the norm_layer \"%.64s\" is not supported.", norm);
	if (nn_config_int(args, "output_stride", 32, 1, 64, error) != 32 || !nn_config_bool(args, "conv_bias", 1, error))
		return nn_fail(error, -ENOTSUP, "config.json: \"output_stride\" must be 32, and \"conv_bias\" true.");
	if (kernel && !(cJSON_IsNumber(kernel) && kernel->valuedouble == CONVNEXT_SIDE))
		return nn_fail(error, -ENOTSUP, "config.json: \"kernel_sizes\" must be %d.", CONVNEXT_SIDE);
	return error->code;
}

static void convnext_copy(cJSON *to, const char *name, const cJSON *from, const char *other)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(from, other);

	if (value && !cJSON_IsNull(value))
		cJSON_AddItemToObject(to, name, cJSON_Duplicate(value, 1));
}

cJSON *convnext_translate(struct nn_checkpoint *cp, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(cp);

	if (cJSON_HasObjectItem(root, "model_type"))
		return NULL;
	cJSON *args = foreign_timm_arguments(cp, root, convnext_known, error), *made = args ? cJSON_CreateObject() : NULL;
	const double eps = nn_config_real(args, "norm_eps", 1e-6, error);
	const cJSON *scale = cJSON_GetObjectItemCaseSensitive(args, "ls_init_value");

	if (!error->code && !convnext_unknown(args, error)) {
		convnext_copy(made, "depths", args, "depths");
		convnext_copy(made, "hidden_sizes", args, "dims");
		convnext_copy(made, "patch_size", args, "patch_size");
		convnext_copy(made, "hidden_act", args, "act_layer");
		convnext_copy(made, "head_norm_first", args, "head_norm_first");
		convnext_copy(made, "image_size", nn_config_object(foreign_openclip(root), "vision_cfg"), "image_size");
		cJSON_AddNumberToObject(made, "norm_eps", eps);
		cJSON_AddNumberToObject(made, "layer_norm_eps", eps);
		cJSON_AddNumberToObject(made, "layer_scale_init_value", scale && cJSON_IsNull(scale) ? 0 : 1);
		cJSON_AddBoolToObject(made, "timm", 1);
		cJSON_AddBoolToObject(made, "use_grn", nn_config_bool(args, "use_grn", 0, error));
		foreign_timm_rest(made, root, error);
	}
	cJSON_Delete(args);
	if (!error->code)
		return made;
	cJSON_Delete(made);
	return NULL;
}

/* Four whole numbers. */
static void convnext_four(const cJSON *config, const char *name, const uint32_t fallback[CONVNEXT_STAGES], uint32_t most,
			  uint32_t out[CONVNEXT_STAGES], struct nn_error *error)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(config, name);

	for (int i = 0; i < CONVNEXT_STAGES; i++) {
		const cJSON *item = cJSON_GetArrayItem(list, i);

		out[i] = fallback[i];
		if (!list)
			continue;
		if (cJSON_GetArraySize(list) != CONVNEXT_STAGES || !cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) ||
		    !(item->valuedouble >= 1 && item->valuedouble <= most)) {
			nn_fail(error, -EINVAL, "config.json: \"%s\" must be %d whole numbers from 1 to %u.", name, CONVNEXT_STAGES, most);
			return;
		}
		out[i] = (uint32_t)item->valuedouble;
	}
}

int convnext_configure(struct convnext *k, const cJSON *root, struct nn_error *error)
{
	static const uint32_t depths[] = { 3, 3, 9, 3 }, dims[] = { 96, 192, 384, 768 };
	const cJSON *inner = nn_config_object(root, "vision_config"), *config = inner ? inner : root;
	const char *act = nn_config_string(config, "hidden_act", "gelu");
	const int activation = nn_activation_named(act);
	uint32_t n[CONVNEXT_STAGES], dim[CONVNEXT_STAGES];

	convnext_four(config, "depths", depths, CONVNEXT_BLOCKS, n, error);
	convnext_four(config, "hidden_sizes", dims, 1 << 16, dim, error);
	for (int i = 0; i < CONVNEXT_STAGES; i++) {
		k->stages[i].n_blocks = n[i];
		k->stages[i].dim = dim[i];
	}
	k->patch = (uint32_t)nn_config_int(config, "patch_size", 4, 1, 256, error);
	k->eps = (float)nn_config_real(config, "norm_eps", 1e-6, error);
	k->last_eps = (float)nn_config_real(config, "layer_norm_eps", 1e-12, error);
	k->scaled = nn_config_real(config, "layer_scale_init_value", 1e-6, error) > 0;
	k->responses = nn_config_bool(config, "use_grn", 0, error);
	if (!strcmp(nn_config_string(config, "model_type", ""), "convnextv2")) {
		k->responses = 1;
		k->scaled = 0;
	}
	k->own_norm = nn_config_bool(config, "head_norm_first", 0, error);
	if (!error->code && (nn_config_int(config, "num_stages", CONVNEXT_STAGES, 1, 64, error) != CONVNEXT_STAGES ||
			     nn_config_int(config, "num_channels", 3, 1, 1024, error) != 3))
		return nn_fail(error, -ENOTSUP, "config.json: a ConvNeXt has %d stages here, and pictures 3 channels.", CONVNEXT_STAGES);
	if (!error->code && activation < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", act);
	if (!error->code && !(k->eps >= 0 && k->last_eps >= 0))
		return nn_fail(error, -EINVAL, "config.json: \"layer_norm_eps\" is out of range.");
	k->activation = (enum nn_activation)activation;
	return error->code;
}

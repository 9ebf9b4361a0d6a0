/* vision-load.c - the picture tower: its numbers and weights. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { VISION_SIZE_MAX = 1 << 14, VISION_REGISTERS_MAX = 1 << 10 };

/* Published names, those of transformers 5, of other libraries, and bundles' ones. */
static const char *const vision_prefixes[] = {
	"vision_model.", "vision_tower.vision_model.", "vision_tower.", "model.vision_tower.vision_model.", "model.vision_tower.",
	"model.vision_tower.vision_tower.vision_model.", "model.vision_model.", "model.vision.", "vision.", "visual.trunk.", "visual.", "visual_encoder.", "",
	"vit.", "dinov2.", "dinov2_with_registers.", NULL,
};

static const char *const projection_prefixes[] = { "", "vision_tower.", "model.vision_tower.", "visual.", NULL };

/* Which layers a bundle's language model sees; NULL: it is no such bundle. */
static const cJSON *vision_bundle_layers(const cJSON *root)
{
	static const char *const names[] = { "vision_feature_layers", "vision_feature_layer", "mm_vision_select_layer" };
	const cJSON *value = NULL;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !value; i++)
		value = cJSON_GetObjectItemCaseSensitive(root, names[i]);
	return value;
}

/* One more layer whose rows are a feature map; as indices of lists, from the end where negative. */
static int vision_add_layer(struct vision *v, double layer, struct nn_error *error)
{
	const double n = v->tower.n_layers + 1;

	if (v->n_maps == VISION_MAPS_MAX)
		return nn_fail(error, -EINVAL, "config.json: more than %d feature layers are listed.", VISION_MAPS_MAX);
	if (!(layer >= -n && layer < n) || layer != (double)(int64_t)layer)
		return nn_fail(error, -EINVAL, "The feature layer %g is not one of the %u blocks of this picture tower.", layer,
			       v->tower.n_layers);
	const uint32_t index = (uint32_t)(layer < 0 ? layer + n : layer);

	v->layers[v->n_maps++] = index;
	v->last_layer = index > v->last_layer ? index : v->last_layer;
	return 0;
}

/* The option's layer; else the bundle's, which may be a list. */
static int vision_choose_layers(struct vision *v, const cJSON *root, struct nn_error *error)
{
	const cJSON *value = vision_bundle_layers(root), *layer;

	if (v->choice.has_layer || !value)
		return vision_add_layer(v, v->choice.has_layer ? (double)v->choice.layer : v->choice.last ? -1 : -2, error);
	if (cJSON_IsNumber(value))
		return vision_add_layer(v, value->valuedouble, error);
	if (!cJSON_IsArray(value) || !cJSON_GetArraySize(value))
		return nn_fail(error, -EINVAL, "config.json: %s must be a whole number or a list of them.", value->string);
	cJSON_ArrayForEach(layer, value)
		if (vision_add_layer(v, cJSON_IsNumber(layer) ? layer->valuedouble : 0.5, error))
			return error->code;
	return 0;
}

/* A side in pixels: a number, or two that are equal. */
static uint32_t vision_side(const cJSON *config, const char *name, uint32_t fallback, struct nn_error *error)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(config, name);
	const cJSON *first = cJSON_GetArrayItem(value, 0), *second = cJSON_GetArrayItem(value, 1);

	if (!cJSON_IsArray(value))
		return (uint32_t)nn_config_int(config, name, fallback, 1, VISION_SIZE_MAX, error);
	if (cJSON_GetArraySize(value) != 2 || !cJSON_IsNumber(first) || !cJSON_IsNumber(second) ||
	    first->valuedouble != second->valuedouble || !(first->valuedouble >= 1 && first->valuedouble <= VISION_SIZE_MAX)) {
		nn_fail(error, -ENOTSUP, "config.json: \"%s\" must be one number, or two that are equal, from 1 to %d.", name,
			VISION_SIZE_MAX);
		return fallback;
	}
	return (uint32_t)first->valuedouble;
}

static int vision_configure(struct vision *v, struct nn_loader *l, const cJSON *root)
{
	const cJSON *inner = nn_config_object(root, "vision_config"), *config = inner ? inner : root;

	v->names = *clip_kind.names;
	v->pool = clip_kind.pool;
	v->resize = clip_kind.resize;
	v->no_class = !clip_kind.class_token;
	if (tower_configure(&v->tower, config, &clip_kind.vision, l->error))
		return l->error->code;
	v->image_size = vision_side(config, "image_size", 224, l->error);
	v->patch = vision_side(config, "patch_size", clip_kind.patch, l->error);
	v->n_registers = (uint32_t)nn_config_int(config, "num_register_tokens", 0, 0, VISION_REGISTERS_MAX, l->error);
	if (nn_config_int(config, "num_channels", 3, 1, 1024, l->error) != 3 && !l->error->code)
		return nn_fail(l->error, -ENOTSUP, "config.json: a picture tower of other than 3 channels is not supported.");
	if (l->error->code)
		return l->error->code;
	v->side = v->image_size / v->patch;
	if (!v->side || (uint64_t)v->side * v->side > VISION_TOKENS_MAX)
		return nn_fail(l->error, -EINVAL, "config.json: pictures of %u pixels with patches of %u are out of range.",
			       v->image_size, v->patch);
	v->pools = v->pools && nn_config_bool(config, "vision_use_head", 1, l->error);
	if (clip_kind.configure && clip_kind.configure(v, l, config, l->error))
		return l->error->code;
	v->choice.keep_class = v->choice.keep_class && !v->no_class;
	return vision_choose_layers(v, root, l->error);
}

/* A tensor of exactly n values as f32; NULL where `name` is, or l->error. */
static const float *vision_table(struct vision *v, struct nn_loader *l, const char *name, size_t n)
{
	struct nn_weight *w = name ? nn_load(l, 0, 0, "%s", name) : NULL;

	if (!w)
		return NULL;
	if (w->rows * w->cols != n) {
		nn_fail(l->error, -EINVAL, "%s has %zu values instead of %zu.", name, w->rows * w->cols, n);
		return NULL;
	}
	const float *f = nn_weight_f32(l->checkpoint, w);

	if (!f)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	v->tower.weight_bytes += w->bytes;
	return f;
}

/* The rows in front of the patches, with their positions, and the patches' positions. */
static void vision_load_prefix(struct vision *v, struct nn_loader *l)
{
	const size_t d = v->tower.d_model, class = v->no_class ? 0 : 1, rows = class + v->n_registers;
	const size_t placed = v->bare_prefix ? 0 : v->bare_registers ? class : rows;
	const float *token = class ? vision_table(v, l, v->names.class_token, d) : NULL;
	const float *registers = v->n_registers ? vision_table(v, l, v->names.registers, v->n_registers * d) : NULL;
	const float *table = vision_table(v, l, v->names.positions, (placed + (size_t)v->side * v->side) * d);
	float *prefix = l->error->code ? NULL : nn_checkpoint_alloc(l->checkpoint, (rows + 1) * d * sizeof(float));

	if (!prefix) {
		nn_fail(l->error, -ENOMEM, "Memory is out.");
		return;
	}
	for (size_t i = 0; i < rows * d; i++)
		prefix[i] = (i < class * d ? token[i] : registers[i - class * d]) + (table && i < placed * d ? table[i] : 0);
	v->prefix = prefix;
	v->n_prefix = (uint32_t)rows;
	v->positions = table ? table + placed * d : NULL;
}

/* The patches' matrix with its columns as (channel, row, column), in f32. */
static struct nn_weight *vision_planes(const struct vision *v, struct nn_loader *l, struct nn_weight *w)
{
	const size_t area = (size_t)v->patch * v->patch;
	const float *from = w ? nn_weight_f32(l->checkpoint, w) : NULL;
	struct nn_weight *made = from ? nn_weight_rows(l->checkpoint, w, 0, w->rows, 0) : NULL;
	float *to = made ? nn_checkpoint_alloc(l->checkpoint, w->rows * w->cols * sizeof(*to)) : NULL;

	if (!to) {
		nn_fail(l->error, -ENOMEM, "Memory is out.");
		return NULL;
	}
	for (size_t i = 0; i < w->rows * w->cols; i++) {
		const size_t row = i / w->cols, at = i % w->cols;

		to[row * w->cols + at % 3 * area + at / 3] = from[i];
	}
	made->data = to;
	made->type = NN_F32;
	made->bytes = w->rows * w->cols * sizeof(*to);
	return made;
}

static int vision_load(struct vision *v, struct nn_loader *l)
{
	struct nn_loader p = { .checkpoint = l->checkpoint, .prefixes = projection_prefixes, .error = l->error };
	const size_t d = v->tower.d_model;

	vision_load_prefix(v, l);
	if (v->names.pre)
		v->pre = tower_norm(&v->tower, l, v->names.pre);
	struct nn_weight *patches = nn_load(l, d, (size_t)3 * v->patch * v->patch, "%s.weight", v->names.patches);

	if (v->channels_last && !l->error->code)
		patches = vision_planes(v, l, patches);
	nn_weight_pack(l->checkpoint, patches, l->error);
	v->patches = patches;
	v->tower.weight_bytes += patches ? patches->bytes : 0;
	v->patch_bias = nn_load_vector_maybe(l, d, "%s.bias", v->names.patches);
	v->tower.names = &v->names.layers;
	tower_load(&v->tower, l);
	if (v->names.post && (v->pools || v->choice.norm))
		v->post = tower_norm(&v->tower, l, v->names.post);
	if (v->pools)
		pool_load(v, l, &p);
	return l->error->code;
}

/* Of a translated configuration the part on preprocessing, else the directory's file. */
static int vision_processor(struct vision *v, struct nn_checkpoint *cp, const cJSON *root, struct nn_error *error)
{
	const cJSON *inner = nn_config_object(root, "preprocessor_config");
	char *text = inner ? cJSON_PrintUnformatted(inner) : NULL;

	if (inner && !text)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	if (text)
		nn_image_processor_parse(&v->processor, text, strlen(text), v->image_size, error);
	else
		nn_image_processor_load(&v->processor, nn_checkpoint_path(cp), v->image_size, error);
	cJSON_free(text);
	if (v->flexible && !v->processor.flex_patch && !error->code) {
		char own[128];

		snprintf(own, sizeof(own), "{\"image_processor_type\":\"Siglip2ImageProcessor\",\"patch_size\":%u}", v->patch);
		nn_image_processor_parse(&v->processor, own, strlen(own), 0, error);
	}
	if (v->flexible && !error->code && v->processor.flex_patch != v->patch)
		return nn_fail(error, -EINVAL, "preprocessor_config.json: patches of %u pixels are not config.json's, of %u.",
			       v->processor.flex_patch, v->patch);
	if (v->merge && !error->code && v->processor.native.patch != v->patch)
		return nn_fail(error, -EINVAL, "preprocessor_config.json: patches of %u pixels are not config.json's, of %u.",
			       v->processor.native.patch, v->patch);
	if (v->merge)
		v->processor.native.merge = v->merge;
	return error->code;
}

int vision_open(struct vision *v, struct nn_checkpoint *cp, const cJSON *root, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = cp, .prefixes = vision_prefixes, .error = error };

	/* A bundle with a language model has no use for a vector of the whole picture, and may lack what makes it. */
	v->pools = !vision_bundle_layers(root) && v->choice.last == clip_kind.last;
	if (vision_configure(v, &l, root) || vision_load(v, &l))
		return error->code;
	return vision_processor(v, cp, root, error);
}

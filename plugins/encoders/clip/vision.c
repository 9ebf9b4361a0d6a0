/* vision.c - the picture tower: patches, a class token, positions, blocks; a hidden state is the feature. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { VISION_SIZE_MAX = 1 << 14, VISION_TOKENS_MAX = 1 << 16 };

/* Published names, those of transformers 5, and bundles' ones. */
static const char *const vision_prefixes[] = {
	"vision_model.", "vision_tower.vision_model.", "vision_tower.", "model.vision_tower.vision_model.",
	"model.vision_tower.", "model.vision_tower.vision_tower.vision_model.", "", "vit.", "dinov2.", NULL,
};

static const char *const projection_prefixes[] = { "", "vision_tower.", "model.vision_tower.", NULL };

static int vision_layer(struct vision *v, const cJSON *root, struct nn_error *error)
{
	const cJSON *bundle = cJSON_GetObjectItemCaseSensitive(root, "vision_feature_layer");
	const int64_t n = v->tower.n_layers + 1;
	int64_t layer = v->choice.has_layer ? v->choice.layer : nn_config_int(root, "mm_vision_select_layer", -2, -4096, 4096, error);

	if (!v->choice.has_layer && cJSON_IsArray(bundle))
		return nn_fail(error, -ENOTSUP, "config.json: vision_feature_layer is a list, and this encoder gives one "
			       "layer; set the option layer.");
	if (!v->choice.has_layer && bundle)
		layer = nn_config_int(root, "vision_feature_layer", -2, -4096, 4096, error);
	if (error->code)
		return error->code;
	if (layer < -n || layer >= n)
		return nn_fail(error, -EINVAL, "The feature layer %lld is not one of the %u blocks of this picture tower.",
			       (long long)layer, v->tower.n_layers);
	v->layer = (uint32_t)(layer < 0 ? layer + n : layer);
	return 0;
}

static int vision_configure(struct vision *v, const cJSON *root, struct nn_error *error)
{
	const cJSON *inner = nn_config_object(root, "vision_config"), *config = inner ? inner : root;

	if (tower_configure(&v->tower, config, &clip_kind.vision, error))
		return error->code;
	v->image_size = (uint32_t)nn_config_int(config, "image_size", 224, 1, VISION_SIZE_MAX, error);
	v->patch = (uint32_t)nn_config_int(config, "patch_size", clip_kind.patch, 1, VISION_SIZE_MAX, error);
	if (nn_config_int(config, "num_channels", 3, 1, 1024, error) != 3 && !error->code)
		return nn_fail(error, -ENOTSUP, "config.json: a picture tower of other than 3 channels is not supported.");
	if (error->code)
		return error->code;
	v->side = v->image_size / v->patch;
	if (!v->side || (uint64_t)v->side * v->side > VISION_TOKENS_MAX)
		return nn_fail(error, -EINVAL, "config.json: pictures of %u pixels with patches of %u are out of range.",
			       v->image_size, v->patch);
	if (nn_config_bool(config, "use_swiglu_ffn", 0, error))
		return nn_fail(error, -ENOTSUP, "config.json: a picture tower with SwiGLU is not supported.");
	v->pools = v->pools && nn_config_bool(config, "vision_use_head", 1, error);
	return vision_layer(v, root, error);
}

static int vision_load(struct vision *v, struct nn_checkpoint *cp, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = cp, .prefixes = vision_prefixes, .error = error };
	struct nn_loader p = { .checkpoint = cp, .prefixes = projection_prefixes, .error = error };
	const struct clip_names *names = clip_kind.names;
	const size_t d = v->tower.d_model;
	const size_t first = clip_kind.class_token ? 1 : 0, n = first + (size_t)v->side * v->side;
	struct nn_weight *positions = nn_load(&l, 0, 0, "%s", names->positions);

	if (positions && positions->rows * positions->cols != n * d)
		return nn_fail(error, -EINVAL, "%s has %zu values instead of %zu x %zu.", names->positions,
			       positions->rows * positions->cols, n, d);
	v->positions = positions ? nn_weight_f32(cp, positions) : NULL;
	struct nn_weight *class = clip_kind.class_token ? nn_load(&l, 0, 0, "%s", names->class_token) : NULL;

	if (class && class->rows * class->cols != d)
		return nn_fail(error, -EINVAL, "%s has %zu values instead of %zu.", names->class_token, class->rows * class->cols, d);
	v->class_token = class ? nn_weight_f32(cp, class) : NULL;
	if (clip_kind.pre_norm)
		v->pre = tower_norm(&v->tower, &l, "pre_layrnorm");
	struct nn_weight *patches = nn_load(&l, d, (size_t)3 * v->patch * v->patch, "%s.weight", names->patches);

	nn_weight_pack(cp, patches, error);
	v->patches = patches;
	v->patch_bias = nn_load_vector_maybe(&l, d, "%s.bias", names->patches);
	v->tower.names = &names->layers;
	tower_load(&v->tower, &l);
	if (v->pools)
		pool_load(v, &l, &p);
	if (!error->code && (!v->positions || (clip_kind.class_token && !v->class_token)))
		nn_fail(error, -ENOMEM, "Memory is out.");
	v->tower.weight_bytes += error->code ? 0 : positions->bytes + v->patches->bytes;
	return error->code;
}

int vision_open(struct vision *v, struct nn_checkpoint *cp, const struct clip_choice *choice, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(cp);

	v->choice = *choice;
	/* A bundle with a language model has no use for a vector of the whole picture, and may lack what makes it. */
	v->pools = !(cJSON_GetObjectItemCaseSensitive(root, "vision_feature_layer") ||
		     cJSON_GetObjectItemCaseSensitive(root, "mm_vision_select_layer"));
	if (vision_configure(v, root, error) || vision_load(v, cp, error))
		return error->code;
	return nn_image_processor_load(&v->processor, nn_checkpoint_path(cp), v->image_size, error) ? error->code : 0;
}

/* What preprocessing makes of a picture's size: the crop, the exact size, or the shorter edge brought to a length. */
static void vision_size(const struct vision *v, const struct percept_media *m, uint32_t *width, uint32_t *height)
{
	const struct nn_image_processor *p = &v->processor;

	*width = m->width;
	*height = m->height;
	if (m->format == PERCEPT_F32_PIXELS)
		return;
	if (p->do_pad)
		*width = *height = *width > *height ? *width : *height;
	if (p->do_resize && p->shortest_edge) {
		const uint64_t edge = p->shortest_edge, w = *width, h = *height;

		*width = (uint32_t)(w <= h ? edge : edge * w / h);
		*height = (uint32_t)(w <= h ? edge * h / w : edge);
	} else if (p->do_resize) {
		*width = p->width;
		*height = p->height;
	}
	if (p->do_center_crop) {
		*width = p->crop_width;
		*height = p->crop_height;
	}
}

/* Whether a picture of that many pixels after preprocessing is taken. */
static int vision_takes(struct percept_call *call, const struct vision *v, uint32_t width, uint32_t height)
{
	if ((width != v->image_size || height != v->image_size) && !v->choice.interpolate)
		return percept_fail(call, -EINVAL, "The %s encoder takes pictures of %u x %u pixels and was given %u x %u; "
				    "the option interpolate lets it take others.", clip_kind.name, v->image_size, v->image_size, width, height);
	if (width < v->patch || height < v->patch ||
	    (uint64_t)(width / v->patch) * (height / v->patch) > VISION_TOKENS_MAX)
		return percept_fail(call, -EINVAL, "A picture of %u x %u pixels is out of the %s encoder's range.", width, height,
				    clip_kind.name);
	return 0;
}

static void vision_layout(const struct vision *v, const struct percept_media *m, uint32_t width, uint32_t height,
			  struct percept_layout *layout)
{
	const uint32_t rows = height / v->patch, cols = width / v->patch, extra = v->choice.keep_class ? 1 : 0;

	*layout = (struct percept_layout){ .size = sizeof(*layout), .items = 1, .tokens = rows * cols + extra,
					   .dim = v->tower.d_model, .rows = rows, .cols = cols, .grid_rows = 1,
					   .grid_cols = 1, .has_class = extra, .width = m->width, .height = m->height };
}

int vision_plan(struct percept_call *call, const struct vision *v, const struct percept_media *m, struct percept_layout *layout)
{
	const uint64_t pixels = (uint64_t)m->width * m->height;
	const uint64_t each = m->format == PERCEPT_F32_PIXELS ? 3 * sizeof(float) : 3;
	uint32_t width, height;

	if (m->modality != PERCEPT_IMAGE || (m->format != PERCEPT_U8_RGB && m->format != PERCEPT_F32_PIXELS))
		return percept_fail(call, -EINVAL, "The %s encoder takes pictures, as RGB or as prepared pixels.", clip_kind.name);
	if (m->frames != 1 || m->channels != 3 || !pixels || m->bytes / each < pixels)
		return percept_fail(call, -EINVAL, "The %s encoder takes one picture of three channels, and not an empty one.",
				    clip_kind.name);
	vision_size(v, m, &width, &height);
	int error = vision_takes(call, v, width, height);

	if (error)
		return error;
	vision_layout(v, m, width, height, layout);
	if (m->max_tokens && m->max_tokens < layout->tokens)
		return percept_fail(call, -EINVAL, "The %s encoder gives %u tokens a picture, and max_tokens is %u.",
				    clip_kind.name, layout->tokens, m->max_tokens);
	return 0;
}

/* (class token + rows * cols, d_model): the position table, resized where the picture is not of the model's size. */
static struct nn_tensor vision_positions(struct nn *c, const struct vision *v, uint32_t rows, uint32_t cols)
{
	const size_t d = v->tower.d_model, n = (size_t)rows * cols, first = v->class_token ? 1 : 0;
	struct nn_tensor table = nn_view((float *)v->positions, first + (size_t)v->side * v->side, d);

	if (rows == v->side && cols == v->side)
		return table;
	struct nn_tensor grid = nn_resize_grid(c, nn_rows(table, first, (size_t)v->side * v->side), v->side, v->side, rows, cols);

	if (!first)
		return grid;
	struct nn_tensor all = nn_new(c, 1 + n, d);

	for (size_t i = 0; all.data && grid.data && i <= n; i++)
		memcpy(all.data + i * all.stride, i ? grid.data + (i - 1) * grid.stride : table.data, d * sizeof(float));
	return all;
}

/* (class token + patches, d_model): with their positions, and normed where there is a class token. */
static struct nn_tensor vision_embed(struct nn *c, const struct vision *v, const float *pixels, uint32_t width, uint32_t height,
				     struct percept_call *call)
{
	const uint32_t rows = height / v->patch, cols = width / v->patch;
	const size_t d = v->tower.d_model, first = v->class_token ? 1 : 0;
	struct nn_tensor x = nn_new(c, first + (size_t)rows * cols, d);
	struct nn_tensor p = nn_gemm(c, nn_patches(c, pixels, height, width, v->patch), v->patches, v->patch_bias);

	tower_observe(c, call, "patch_embedding", p);
	for (size_t i = 0; x.data && p.data && i < x.rows; i++)
		memcpy(x.data + i * x.stride, i >= first ? p.data + (i - first) * p.stride : v->class_token, d * sizeof(float));
	nn_add_to(c, x, vision_positions(c, v, rows, cols));
	tower_observe(c, call, "embeddings", x);
	return clip_kind.pre_norm ? nn_layer_norm(c, x, v->pre.w, v->pre.b, v->tower.norm_eps) : x;
}

/* Rows of the feature into the call's arena. */
static int vision_keep(struct percept_call *call, const struct vision *v, struct nn_tensor x, struct percept_features *f)
{
	const size_t skip = v->class_token && !v->choice.keep_class ? 1 : 0, n = x.rows - skip;
	float *data = percept_alloc(call, n * x.cols * sizeof(float));

	if (!data)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		memcpy(data + i * x.cols, x.data + (i + skip) * x.stride, x.cols * sizeof(float));
	f->data = data;
	return 0;
}

/* The picture's vector into the call's arena. */
static void vision_pool(struct nn *c, struct percept_call *call, const struct vision *v, struct nn_tensor x,
			struct percept_features *f)
{
	struct nn_tensor y = pool_rows(c, call, v, x);
	float *pooled = c->error ? NULL : percept_alloc(call, y.cols * sizeof(float));

	if (!pooled) {
		c->error = c->error ? c->error : -ENOMEM;
		return;
	}
	memcpy(pooled, y.data, y.cols * sizeof(float));
	f->pooled = pooled;
	f->pooled_dim = y.cols;
}

static int vision_blocks(struct nn *c, struct percept_call *call, const struct vision *v, struct nn_tensor x,
			 struct percept_features *f)
{
	const uint32_t last = v->pools ? v->tower.n_layers : v->layer;
	char name[32];

	tower_observe(c, call, "pre_layrnorm", x);
	for (uint32_t i = 0; i <= last && !nn_stopped(c); i++) {
		if (i == v->layer && vision_keep(call, v, x, f))
			c->error = -ENOMEM;
		if (i + 1 == v->tower.n_layers)
			tower_observe(c, call, "layer_minus2", x);
		if (i == last)
			break;
		tower_layer(c, &v->tower, i, x, NULL, call);
		call->host->progress(call, i + 1, last);
		snprintf(name, sizeof(name), "after_layer%u", i);
		tower_observe(c, call, name, x);
	}
	if (v->pools && !c->error) {
		tower_observe(c, call, "final", x);
		vision_pool(c, call, v, x, f);
	}
	return c->error;
}

int vision_encode(struct percept_call *call, const struct vision *v, const struct percept_media *m, struct percept_features *f)
{
	struct percept_layout layout;
	struct nn_error why = { 0 };
	struct nn c;
	uint32_t width = m->width, height = m->height;
	int error = vision_plan(call, v, m, &layout);

	if (error)
		return error;
	struct nn_arena *arena = nn_arena_new(0);

	if (!arena)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	nn_begin(&c, call, arena);
	const float *pixels = m->data;

	if (m->format == PERCEPT_U8_RGB)
		pixels = nn_image_prepare(&c, &v->processor, m->data, m->width, m->height, &width, &height, &why);
	if (pixels && !(error = vision_takes(call, v, width, height))) {
		f->pooled = NULL, f->pooled_dim = 0, f->n_extra = 0, f->extra = NULL;
		vision_layout(v, m, width, height, &f->layout);
		if ((error = vision_blocks(&c, call, v, vision_embed(&c, v, pixels, width, height, call), f)))
			percept_fail(call, error, error == -ECANCELED ? "The encoding was cancelled." :
				     error == -ENOMEM ? "Memory for this picture is out." : "The picture tower failed.");
	} else if (!pixels) {
		error = why.code ? why.code : c.error ? c.error : -ENOMEM;
		percept_fail(call, error, "%s", why.code ? why.text : "The picture was not prepared.");
	}
	nn_arena_free(arena);
	return error;
}

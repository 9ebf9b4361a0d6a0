/* convnext.c - the plugin convnext: ConvNeXt (Liu 2022), alone and as CLIP's picture tower, under the names of Hugging Face, timm and
 * OpenCLIP, at any resolution. */
#include "plugins/encoders/convnext/convnext.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/encoders/clip/foreign.h"
#include "sdk/nn/compute.h"

enum { CONVNEXT_PIXELS_MAX = 1 << 25 };

static void convnext_close(void *encoder)
{
	struct convnext *k = encoder;

	text_close(k->text);
	convnext_unload(k);
	cJSON_Delete(k->config);
	nn_checkpoint_close(k->checkpoint);
	free(k);
}

/* Which hidden state is the feature: the option, what a bundle says, else the last. */
static int convnext_layer(struct convnext *k, const struct percept_open *open, const cJSON *root, struct nn_error *error)
{
	const struct percept_value *option = percept_option(open, "layer");
	const int64_t n = CONVNEXT_STAGES + 1, bundle = nn_config_int(root, "vision_feature_layer", -1, -4096, 4096, error);
	const int64_t layer = option ? option->integer : bundle;

	if (error->code)
		return error->code;
	if (layer < -n || layer >= n)
		return nn_fail(error, -EINVAL, "The feature layer %lld is not one of the %d stages of this picture tower.", (long long)layer,
			       CONVNEXT_STAGES);
	k->layer = (uint32_t)(layer < 0 ? layer + n : layer);
	return 0;
}

static int convnext_preprocess(struct convnext *k, const cJSON *root, struct nn_error *error)
{
	const cJSON *inner = nn_config_object(root, "preprocessor_config"), *tower = nn_config_object(root, "vision_config");
	const uint32_t size = (uint32_t)nn_config_int(tower ? tower : root, "image_size", 224, 1, 1 << 14, error);
	char *text = inner ? cJSON_PrintUnformatted(inner) : NULL;

	if (inner && !text)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	if (text)
		nn_image_processor_parse(&k->processor, text, strlen(text), size, error);
	else
		nn_image_processor_load(&k->processor, nn_checkpoint_path(k->checkpoint), size, error);
	cJSON_free(text);
	return error->code;
}

static int convnext_parts(struct convnext *k, const struct percept_open *open, struct nn_error *error)
{
	k->config = convnext_translate(k->checkpoint, error);
	if (error->code)
		return error->code;
	const cJSON *root = k->config ? k->config : nn_checkpoint_config(k->checkpoint);

	if (convnext_configure(k, root, error) || convnext_layer(k, open, root, error) || convnext_load(k, error))
		return error->code;
	return convnext_preprocess(k, root, error) ? error->code : text_open(&k->text, k->checkpoint, root, error);
}

static int convnext_open(struct percept_call *call, const struct percept_open *open, void **encoder)
{
	struct nn_error error = { 0 };
	struct convnext *k = open->model ? calloc(1, sizeof(*k)) : NULL;

	if (!k)
		return percept_fail(call, open->model ? -ENOMEM : -EINVAL, "The convnext encoder needs %s.", open->model ? "more memory" :
				    "a model: name a directory with its configuration and weights");
	k->checkpoint = nn_checkpoint_open(open->model, &error);
	if (k->checkpoint)
		nn_checkpoint_compute(k->checkpoint, nn_compute_option(open));
	if (!k->checkpoint || convnext_parts(k, open, &error)) {
		convnext_close(k);
		return percept_fail(call, error.code ? error.code : -EINVAL, "%s", error.text);
	}
	snprintf(k->identity, sizeof(k->identity), "convnext-1-%s-%016llx-layer%u-%s", nn_checkpoint_identity(k->checkpoint),
		 (unsigned long long)(k->processor.digest ^ clip_digest(k->config)), k->layer, nn_compute_name(nn_compute_option(open)));
	*encoder = k;
	return 0;
}

static uint32_t convnext_pooled_dim(const struct convnext *k)
{
	return head_dim(&k->head, k->stages[CONVNEXT_STAGES - 1].dim);
}

static int convnext_info(void *encoder, struct percept_encoder_info *info)
{
	const struct convnext *k = encoder;
	const struct nn_image_processor *p = &k->processor;
	const uint32_t side = p->do_center_crop ? p->crop_height : p->shortest_edge ? p->shortest_edge : p->height;
	const uint32_t places = side / convnext_stride(k, k->layer);

	*info = (struct percept_encoder_info){
		.size = sizeof(*info), .modalities = PERCEPT_IMAGE, .dim = convnext_dim(k, k->layer), .pooled_dim = convnext_pooled_dim(k),
		.max_tokens = places ? places * places : 1, .identity = k->identity,
		.weight_bytes = k->weight_bytes + (k->text ? k->text->tower.weight_bytes : 0),
	};
	return 0;
}

/* The prepared picture's size, in *t, and the layout. */
static int convnext_layout(struct percept_call *call, const struct convnext *k, const struct percept_media *m, struct nn_tiles *t,
			   struct percept_layout *layout)
{
	const uint64_t pixels = (uint64_t)m->width * m->height, each = m->format == PERCEPT_F32_PIXELS ? 3 * sizeof(float) : 3;
	const uint32_t least = convnext_stride(k, CONVNEXT_STAGES), stride = convnext_stride(k, k->layer);
	struct nn_error why = { 0 };

	if (m->modality != PERCEPT_IMAGE || (m->format != PERCEPT_U8_RGB && m->format != PERCEPT_F32_PIXELS) || m->frames != 1 ||
	    m->channels != 3 || !pixels || m->bytes / each < pixels)
		return percept_fail(call, -EINVAL, "The convnext encoder takes one picture of three channels, as RGB or as prepared pixels.");
	*t = (struct nn_tiles){ .n = 1, .width = m->width, .height = m->height };
	if (m->format == PERCEPT_U8_RGB && nn_tiles_plan(&k->processor, m->width, m->height, NULL, t, &why))
		return percept_fail(call, why.code ? why.code : -EINVAL, "%s", why.text);
	if (t->n != 1 || t->width < least || t->height < least || (uint64_t)t->width * t->height > CONVNEXT_PIXELS_MAX)
		return percept_fail(call, -EINVAL, "The convnext encoder takes pictures from %u x %u pixels on, and was given %u x %u.", least,
				    least, t->width, t->height);
	const uint32_t rows = t->height / stride, cols = t->width / stride;

	*layout = (struct percept_layout){ .size = sizeof(*layout), .items = 1, .tokens = rows * cols, .dim = convnext_dim(k, k->layer),
					   .rows = rows, .cols = cols, .grid_rows = 1, .grid_cols = 1, .width = m->width,
					   .height = m->height };
	if (m->max_tokens && m->max_tokens < layout->tokens)
		return percept_fail(call, -EINVAL, "The convnext encoder gives %u tokens a picture, and max_tokens is %u.", layout->tokens,
				    m->max_tokens);
	return 0;
}

static int convnext_plan(struct percept_call *call, void *encoder, const struct percept_media *media, struct percept_layout *layout)
{
	struct nn_tiles tiles;

	return convnext_layout(call, encoder, media, &tiles, layout);
}

/* What was computed, into the call's arena. */
static int convnext_give(struct percept_call *call, struct nn_tensor x, struct nn_tensor pooled, struct percept_features *f)
{
	float *data = percept_alloc(call, x.rows * x.cols * sizeof(float)), *vector = percept_alloc(call, pooled.cols * sizeof(float));

	if (!data || !vector)
		return percept_fail(call, -ENOMEM, "Memory for this picture is out.");
	for (size_t i = 0; i < x.rows; i++)
		memcpy(data + i * x.cols, x.data + i * x.stride, x.cols * sizeof(float));
	memcpy(vector, pooled.data, pooled.cols * sizeof(float));
	f->data = data;
	f->pooled = vector;
	f->pooled_dim = pooled.cols;
	return 0;
}

static int convnext_run(struct nn *c, struct percept_call *call, const struct convnext *k, const struct percept_media *m,
			struct nn_tiles *t, struct percept_features *f)
{
	struct nn_error why = { 0 };
	struct nn_tensor x, pooled;

	t->pixels = m->data;
	if (m->format == PERCEPT_U8_RGB && nn_tiles_prepare(c, &k->processor, m->data, m->width, m->height, NULL, t, &why))
		return percept_fail(call, c->error, "%s", why.code ? why.text : "The picture was not prepared.");
	x = convnext_forward(c, call, k, t->pixels, t->height, t->width, &pooled);
	if (c->error)
		return percept_fail(call, c->error, c->error == -ECANCELED ? "The encoding was cancelled." :
				    c->error == -ENOMEM ? "Memory for this picture is out." : "The picture tower failed.");
	return convnext_give(call, x, pooled, f);
}

static int convnext_encode(struct percept_call *call, void *encoder, const struct percept_media *m, struct percept_features *f)
{
	struct percept_layout layout;
	struct nn_tiles tiles;
	struct nn c;
	int error = convnext_layout(call, encoder, m, &tiles, &layout);
	struct nn_arena *arena = error ? NULL : nn_arena_new(0);

	if (error)
		return error;
	if (!arena)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	*f = (struct percept_features){ .size = sizeof(*f), .layout = layout };
	nn_begin(&c, call, arena);
	error = convnext_run(&c, call, encoder, m, &tiles, f);
	nn_arena_free(arena);
	return error;
}

static int convnext_encode_text(struct percept_call *call, void *encoder, const char *text, const float **pooled)
{
	const struct convnext *k = encoder;

	if (!k->text)
		return percept_fail(call, -ENOTSUP, "This model's files have no text tower.");
	return text_encode(call, k->text, text, pooled);
}

static const struct percept_option options[] = {
	{ .name = "layer", .type = PERCEPT_OPTION_INT, .min = -CONVNEXT_STAGES - 1, .max = CONVNEXT_STAGES,
	  .help = "hidden state that is the feature, 0 the stem's, -1 the last stage's; the bundle's, else -1" },
	NN_COMPUTE_OPTION,
};
static const struct percept_encoder convnext_encoder = {
	.size = sizeof(convnext_encoder), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = convnext_open,
	.close = convnext_close, .info = convnext_info, .plan = convnext_plan, .encode = convnext_encode,
	.encode_text = convnext_encode_text,
};
/* Of the text tower. */
const struct clip_kind clip_kind = {
	.name = "convnext", .names = &clip_names, .text_names = &openclip_text_names, .patch = 4,
	.vision = { 768, 3072, 12, 12, 1e-5, "gelu" }, .text = { 512, 2048, 12, 8, 1e-5, "gelu" }, .vocab = 49408, .context = 77,
	.end = 49407,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "convnext", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "ConvNeXt picture towers, and OpenCLIP's text towers beside them", .ops = &convnext_encoder,
};

/* clip.c - the encoder: a picture tower and a text tower, from their own checkpoints or a LLaVA bundle. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/compute.h"

const struct clip_names clip_names = {
	.class_token = "embeddings.class_embedding", .positions = "embeddings.position_embedding.weight",
	.patches = "embeddings.patch_embedding", .pre = "pre_layrnorm", .post = "post_layernorm", .projection = "visual_projection",
	.layers = {
		.layer = "encoder.layers.%u.", .norm1 = "layer_norm1", .norm2 = "layer_norm2", .q = "self_attn.q_proj",
		.k = "self_attn.k_proj", .v = "self_attn.v_proj", .out = "self_attn.out_proj", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2",
	},
};

const struct clip_names blip_names = {
	.class_token = "embeddings.class_embedding", .positions = "embeddings.position_embedding",
	.patches = "embeddings.patch_embedding", .post = "post_layernorm",
	.layers = {
		.layer = "encoder.layers.%u.", .norm1 = "layer_norm1", .norm2 = "layer_norm2", .q = "self_attn.qkv",
		.k = "self_attn.qkv", .v = "self_attn.qkv", .out = "self_attn.projection", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2",
	},
};

static void clip_close(void *encoder)
{
	struct clip *k = encoder;

	text_close(k->text);
	tower_fini(&k->vision.tower);
	cJSON_Delete(k->config);
	nn_checkpoint_close(k->checkpoint);
	free(k);
}

/* Bundles whose connector takes the last block's rows, normed, of any tower. */
static int clip_is_last(const cJSON *root)
{
	static const char *const types[] = { "gemma3", "paligemma" };
	const char *type = nn_config_string(root, "model_type", "");

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i], type))
			return 1;
	return clip_kind.last;
}

/* The options; where they are silent, the bundle's configuration; else as LLaVA has it. */
static struct clip_choice clip_choose(const struct percept_open *open, const cJSON *root)
{
	const struct percept_value *layer = percept_option(open, "layer"), *class = percept_option(open, "class_token");
	const struct percept_value *interpolate = percept_option(open, "interpolate"), *norm = percept_option(open, "norm");
	const char *strategy = nn_config_string(root, "vision_feature_select_strategy", NULL);
	const char *old = nn_config_string(root, "mm_vision_select_feature", "patch");
	struct clip_choice choice = { .last = clip_is_last(root) };

	choice.keep_class = strategy ? !strcmp(strategy, "full") : choice.last || !strcmp(old, "cls_patch");

	if (layer) {
		choice.has_layer = 1;
		choice.layer = layer->integer;
	}
	if (class)
		choice.keep_class = class->integer != 0;
	choice.keep_class &= clip_kind.class_token;
	choice.interpolate = clip_kind.interpolate || (interpolate && interpolate->integer);
	choice.norm = norm ? norm->integer != 0 : choice.last && !clip_kind.bare;
	return choice;
}

/* The parts, from the configuration of the files. 0 or error->code. */
static int clip_load(struct clip *k, const struct percept_open *open, struct nn_error *error)
{
	k->config = clip_kind.translate ? clip_kind.translate(k->checkpoint, error) : NULL;
	if (error->code)
		return error->code;
	const cJSON *root = k->config ? k->config : nn_checkpoint_config(k->checkpoint);

	k->vision.choice = clip_choose(open, root);
	if (vision_open(&k->vision, k->checkpoint, root, error))
		return error->code;
	return text_open(&k->text, k->checkpoint, root, error);
}

/* FNV-1a. */
uint64_t clip_digest(const cJSON *config)
{
	char *text = config ? cJSON_PrintUnformatted(config) : NULL;
	uint64_t h = 0xcbf29ce484222325u;

	for (const char *s = text; s && *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	cJSON_free(text);
	return h;
}

static int clip_open(struct percept_call *call, const struct percept_open *open, void **encoder)
{
	struct nn_error error = { 0 };

	if (!open->model)
		return percept_fail(call, -EINVAL, "The %s encoder needs a model: name a directory with config.json and "
				    "model.safetensors.", clip_kind.name);
	struct clip *k = calloc(1, sizeof(*k));

	if (!k)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	k->checkpoint = nn_checkpoint_open(open->model, &error);
	if (k->checkpoint)
		nn_checkpoint_compute(k->checkpoint, nn_compute_option(open));
	if (!k->checkpoint || clip_load(k, open, &error)) {
		clip_close(k);
		return percept_fail(call, error.code ? error.code : -EINVAL, "%s", error.text);
	}
	const struct vision *v = &k->vision;

	snprintf(k->identity, sizeof(k->identity), "%s-1-%s-%016llx-layer%u-maps%u-class%d-interpolate%d-norm%d-%s",
		 clip_kind.name, nn_checkpoint_identity(k->checkpoint), (unsigned long long)(v->processor.digest ^ clip_digest(k->config)), v->layers[0],
		 v->n_maps, v->choice.keep_class, v->choice.interpolate, v->choice.norm,
		 nn_compute_name(nn_compute_option(open)));
	*encoder = k;
	return 0;
}

static int clip_info(void *encoder, struct percept_encoder_info *info)
{
	const struct clip *k = encoder;
	const struct vision *v = &k->vision;
	const uint32_t d = v->tower.d_model;

	*info = (struct percept_encoder_info){
		.size = sizeof(*info), .modalities = PERCEPT_IMAGE, .dim = d,
		.pooled_dim = pool_dim(v),
		.max_tokens = picture_tokens_most(v), .details = nn_tiles_details(&v->processor), .identity = k->identity,
		.weight_bytes = v->tower.weight_bytes + (k->text ? k->text->tower.weight_bytes : 0), .n_extra = v->n_maps - 1,
	};
	return 0;
}

static int clip_plan(struct percept_call *call, void *encoder, const struct percept_media *media, struct percept_layout *layout)
{
	struct nn_tiles tiles;

	return picture_plan(call, &((const struct clip *)encoder)->vision, media, &tiles, layout);
}

static int clip_encode(struct percept_call *call, void *encoder, const struct percept_media *media,
		       struct percept_features *features)
{
	return vision_encode(call, &((const struct clip *)encoder)->vision, media, features);
}

static int clip_encode_text(struct percept_call *call, void *encoder, const char *text, const float **pooled)
{
	const struct clip *k = encoder;

	if (!k->text)
		return percept_fail(call, -ENOTSUP, "This model's files have no text tower.");
	return text_encode(call, k->text, text, pooled);
}

static const struct percept_option options[] = {
	{ .name = "layer", .type = PERCEPT_OPTION_INT, .min = -4096, .max = 4096,
	  .help = "hidden state that is the feature, -1 the last; the bundle's, else -2" },
	{ .name = "class_token", .type = PERCEPT_OPTION_BOOL, .help = "keep the class token's row; the bundle's, else no" },
	{ .name = "norm", .type = PERCEPT_OPTION_BOOL, .help = "the last hidden state as the feature is normed; else as the plugin has it" },
	{ .name = "interpolate", .type = PERCEPT_OPTION_BOOL, .fallback = "false",
	  .help = "take pictures of other sizes by resizing the position table" },
	NN_COMPUTE_OPTION,
};
const struct percept_encoder clip_encoder = {
	.size = sizeof(clip_encoder), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = clip_open,
	.close = clip_close, .info = clip_info, .plan = clip_plan, .encode = clip_encode, .encode_text = clip_encode_text,
};

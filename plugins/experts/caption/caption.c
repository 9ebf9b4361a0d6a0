/* caption.c - an expert that says in a sentence what a picture shows: BLIP's captioning checkpoints, or another assistant. */
#include "plugins/experts/caption/caption.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/digest.h"

const struct clip_kind clip_kind = {
	.name = "caption", .class_token = 1, .last = 1, .pool = POOL_NONE, .names = &blip_names, .patch = 16,
	.vision = { 768, 3072, 12, 12, 1e-5, "gelu" }, .text = { 768, 3072, 12, 12, 1e-12, "gelu" },
};

static void caption_close(void *expert)
{
	struct caption *k = expert;

	free(k->ask.assistant);
	free(k->ask.prompt);
	free(k->ask.socket);
	words_fini(&k->words);
	decoder_fini(&k->decoder);
	tower_fini(&k->vision.tower);
	nn_checkpoint_close(k->checkpoint);
	free(k);
}

static int caption_load(struct caption *k, const char *model, struct nn_error *error)
{
	k->checkpoint = nn_checkpoint_open(model, error);
	if (!k->checkpoint)
		return error->code ? error->code : -EINVAL;
	const cJSON *root = nn_checkpoint_config(k->checkpoint);

	if (strcmp(nn_config_string(root, "model_type", ""), "blip"))
		return nn_fail(error, -ENOTSUP, "config.json names a model of type \"%.64s\"; the caption expert takes \"blip\".",
			       nn_config_string(root, "model_type", ""));
	k->vision.choice = (struct clip_choice){ .keep_class = 1, .norm = 1, .last = 1 };
	if (vision_open(&k->vision, k->checkpoint, root, error) ||
	    decoder_open(&k->decoder, k->checkpoint, k->vision.tower.d_model, error))
		return error->code;
	snprintf(k->identity, sizeof(k->identity), "caption-1-%s-%016llx-%u", nn_checkpoint_identity(k->checkpoint),
		 (unsigned long long)k->vision.processor.digest, k->most);
	return words_open(&k->words, model, error);
}

static char *caption_text(const struct percept_open *open, const char *name)
{
	const struct percept_value *v = percept_option(open, name);

	return v && v->string && v->string[0] ? strdup(v->string) : NULL;
}

/* Names what is asked of whom. 0 or -errno. */
static int caption_name_question(struct caption *k)
{
	struct nn_digest *digest = nn_digest_new();
	char hex[NN_DIGEST_HEX];

	if (!digest)
		return -ENOMEM;
	nn_digest_field(digest, k->ask.assistant, strlen(k->ask.assistant));
	nn_digest_field(digest, k->ask.prompt, strlen(k->ask.prompt));
	const int r = nn_digest_end(digest, hex);

	nn_digest_free(digest);
	snprintf(k->identity, sizeof(k->identity), "caption-1-asks-%.32s-%u", hex, k->most);
	return r;
}

/* Another assistant captions. 0 or error->code. */
static int caption_ask(struct caption *k, const struct percept_open *open, struct nn_error *error)
{
	k->ask.prompt = caption_text(open, "prompt");
	k->ask.socket = caption_text(open, "socket");
	k->ask.most = k->most;
	if (open->model)
		return nn_fail(error, -EINVAL, "The caption expert has a model and an assistant to ask: leave one away.");
	if (open->assistant && !strcmp(open->assistant, k->ask.assistant))
		return nn_fail(error, -EINVAL, "Assistant %s cannot ask itself what a picture shows: name another one.", open->assistant);
	if (!k->ask.prompt || caption_name_question(k))
		return nn_fail(error, -ENOMEM, "Memory is out.");
	return 0;
}

static int caption_open(struct percept_call *call, const struct percept_open *open, void **expert)
{
	const struct percept_value *most = percept_option(open, "tokens");
	struct nn_error error = { 0 };
	char *assistant = caption_text(open, "assistant");
	struct caption *k = open->model || assistant ? calloc(1, sizeof(*k)) : NULL;

	if (!open->model && !assistant)
		return percept_fail(call, -EINVAL, "The caption expert needs a model, a directory with config.json and "
				    "model.safetensors of BLIP, or assistant = NAME, another assistant that it asks.");
	if (!k) {
		free(assistant);
		return percept_fail(call, -ENOMEM, "Memory is out.");
	}
	k->most = most ? (uint32_t)most->integer : assistant ? 64 : 19;
	k->ask.assistant = assistant;
	if (assistant ? caption_ask(k, open, &error) : caption_load(k, open->model, &error)) {
		caption_close(k);
		return percept_fail(call, error.code, "%s", error.text);
	}
	*expert = k;
	return 0;
}

static int caption_info(void *expert, struct percept_expert_info *info)
{
	const struct caption *k = expert;

	*info = (struct percept_expert_info){ .size = sizeof(*info), .modalities = PERCEPT_IMAGE, .identity = k->identity,
					      .weight_bytes = k->vision.tower.weight_bytes + k->decoder.weight_bytes };
	return 0;
}

/* The picture's rows to words. */
static int caption_say(struct percept_call *call, const struct caption *k, const struct percept_features *f, struct nn *c,
		       struct percept_expert_result *result)
{
	const struct nn_tensor picture = nn_view((float *)f->data, f->layout.tokens, f->layout.dim);
	int32_t *ids = percept_alloc(call, k->most * sizeof(*ids));
	float confidence = -1;
	const int n = ids ? decoder_say(c, &k->decoder, picture, ids, k->most, &confidence) : -ENOMEM;
	char *text = n >= 0 ? words_text(call, &k->words, ids, (uint32_t)n) : NULL;

	if (n == -ECANCELED)
		return percept_fail(call, n, "The captioning was cancelled.");
	if (!text)
		return percept_fail(call, n < 0 ? n : -ENOMEM, "The caption could not be computed.");
	*result = (struct percept_expert_result){ .size = sizeof(*result), .text = text, .language = "en", .confidence = confidence };
	return 0;
}

static int caption_read(struct percept_call *call, void *expert, const struct percept_media *media, const char *hint,
			struct percept_expert_result *result)
{
	const struct caption *k = expert;

	if (k->ask.assistant)
		return ask_read(call, &k->ask, media, result);
	struct percept_features features = { .size = sizeof(features) };
	int r = vision_encode(call, &k->vision, media, &features);
	struct nn_arena *arena = r ? NULL : nn_arena_new(0);
	struct nn c;

	if (r)
		return r;
	if (!arena)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	nn_begin(&c, call, arena);
	r = caption_say(call, k, &features, &c, result);
	nn_arena_free(arena);
	return r;
}

static const struct percept_option options[] = {
	{ .name = "tokens", .type = PERCEPT_OPTION_INT, .min = 1, .max = CAPTION_TOKENS,
	  .help = "tokens of a caption, at most: 19, of an assistant's 64" },
	{ .name = "assistant", .type = PERCEPT_OPTION_STRING, .help = "another assistant, which is asked instead of a model" },
	{ .name = "prompt", .type = PERCEPT_OPTION_STRING, .fallback = "Describe the picture.", .help = "what it is asked" },
	{ .name = "socket", .type = PERCEPT_OPTION_PATH, .help = "of its daemon; else this user's" },
};
static const struct percept_expert ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = caption_open, .close = caption_close, .info = caption_info,
	.read = caption_read,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_EXPERT, .name = "caption", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Says what a picture shows: BLIP's captioning models, or another assistant", .ops = &ops,
};

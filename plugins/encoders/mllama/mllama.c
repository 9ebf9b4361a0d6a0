/* mllama.c - the plugin: picture towers of Llama 3.2 Vision. */
#include "plugins/encoders/mllama/mllama.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <percept/plugin.h>

#include "sdk/nn/compute.h"

static void mllama_close(void *encoder)
{
	mllama_fini(encoder);
	free(encoder);
}

static int mllama_open(struct percept_call *call, const struct percept_open *open, void **encoder)
{
	const struct percept_value *states = percept_option(open, "states");
	const int before = states && !strcmp(states->string, "before");
	struct nn_error error = { 0 };

	if (!open->model)
		return percept_fail(call, -EINVAL, "The mllama encoder needs a model: name a directory with config.json and "
				    "model.safetensors.");
	struct mllama *m = calloc(1, sizeof(*m));

	if (!m)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	if (mllama_init(m, open->model, before, nn_compute_option(open), &error)) {
		mllama_close(m);
		return percept_fail(call, error.code, "%s", error.text);
	}
	snprintf(m->identity, sizeof(m->identity), "mllama-1-%s-%s-%016llx-before%d", nn_checkpoint_identity(m->checkpoint),
		 nn_compute_name(nn_compute_option(open)), (unsigned long long)m->processor.digest, before);
	*encoder = m;
	return 0;
}

static int mllama_info(void *encoder, struct percept_encoder_info *info)
{
	const struct mllama *m = encoder;

	*info = (struct percept_encoder_info){
		.size = sizeof(*info), .modalities = PERCEPT_IMAGE, .dim = m->dim, .max_tokens = m->tiles * m->rows,
		.details = nn_tiles_details(&m->processor), .identity = m->identity,
		.weight_bytes = m->local.weight_bytes + m->global.weight_bytes,
	};
	return 0;
}

/* What a request's max_tokens leaves. */
static struct nn_tiles_ask mllama_ask(const struct mllama *m, const struct percept_media *media)
{
	return (struct nn_tiles_ask){ .detail = media->detail, .pieces = media->max_tokens / m->rows };
}

/* All tiles that a picture can have; those that are padding count no rows. */
static int mllama_layout(struct percept_call *call, const struct mllama *m, const struct nn_tiles *t, struct percept_layout *layout)
{
	uint32_t *counts = percept_alloc(call, m->tiles * sizeof(*counts));

	if (!counts)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < m->tiles; i++)
		counts[i] = i < t->n ? m->rows : 0;
	*layout = (struct percept_layout){
		.size = sizeof(*layout), .items = m->tiles, .tokens = m->rows, .dim = m->dim, .rows = m->side, .cols = m->side,
		.grid_rows = t->grid_rows, .grid_cols = t->grid_cols, .has_class = 1, .width = t->original_width,
		.height = t->original_height, .unpadded_width = t->unpadded_width, .unpadded_height = t->unpadded_height,
		.item_tokens = counts,
	};
	return 0;
}

static int mllama_plan_tiles(struct percept_call *call, const struct mllama *m, const struct percept_media *media, struct nn_tiles *t)
{
	const uint64_t pixels = (uint64_t)media->width * media->height;
	const struct nn_tiles_ask ask = mllama_ask(m, media);
	struct nn_error why = { 0 };

	if (media->modality != PERCEPT_IMAGE || media->format != PERCEPT_U8_RGB)
		return percept_fail(call, -EINVAL, "The mllama encoder takes pictures, as RGB.");
	if (media->frames != 1 || media->channels != 3 || !pixels || media->bytes / 3 < pixels)
		return percept_fail(call, -EINVAL, "The mllama encoder takes one picture of three channels, and not an empty one.");
	if (media->max_tokens && !ask.pieces)
		return percept_fail(call, -EINVAL, "The mllama encoder gives at least %u tokens a picture, and max_tokens is %u.", m->rows,
				    media->max_tokens);
	if (nn_tiles_plan(&m->processor, media->width, media->height, &ask, t, &why))
		return percept_fail(call, why.code, "%s", why.text);
	if (t->shape > m->shapes)
		return percept_fail(call, -EINVAL, "The picture's grid of %u x %u tiles is number %u, and the tower knows %u.",
				    t->grid_rows, t->grid_cols, t->shape, m->shapes);
	return 0;
}

static int mllama_plan(struct percept_call *call, void *encoder, const struct percept_media *media, struct percept_layout *layout)
{
	struct nn_tiles tiles;
	const int error = mllama_plan_tiles(call, encoder, media, &tiles);

	return error ? error : mllama_layout(call, encoder, &tiles, layout);
}

/* The prepared picture's features in the call's arena. */
static int mllama_run(struct nn *c, struct percept_call *call, const struct mllama *m, const struct percept_media *media,
		      struct percept_features *f)
{
	const struct nn_tiles_ask ask = mllama_ask(m, media);
	struct nn_error why = { 0 };
	struct nn_tiles tiles;

	if (nn_tiles_prepare(c, &m->processor, media->data, media->width, media->height, &ask, &tiles, &why))
		return percept_fail(call, c->error, "%s", why.text);
	float *data = percept_alloc(call, (size_t)m->tiles * m->rows * m->dim * sizeof(*data));

	if (!data)
		return percept_fail(call, -ENOMEM, "Memory for this picture is out.");
	const int error = mllama_forward(c, call, m, &tiles, data);

	f->data = data;
	return error ? percept_fail(call, error, error == -ECANCELED ? "The encoding was cancelled." :
				    error == -ENOMEM ? "Memory for this picture is out." : "The picture tower failed.") : 0;
}

static int mllama_encode(struct percept_call *call, void *encoder, const struct percept_media *media, struct percept_features *f)
{
	const struct mllama *m = encoder;
	struct nn_tiles tiles;
	struct nn c;
	int error = mllama_plan_tiles(call, m, media, &tiles);

	*f = (struct percept_features){ .size = f->size };
	if (!error)
		error = mllama_layout(call, m, &tiles, &f->layout);
	if (error)
		return error;
	struct nn_arena *arena = nn_arena_new(0);

	if (!arena)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	nn_begin(&c, call, arena);
	error = mllama_run(&c, call, m, media, f);
	nn_arena_free(arena);
	return error;
}

static const struct percept_option options[] = {
	NN_COMPUTE_OPTION,
	{ .name = "states", .type = PERCEPT_OPTION_ENUM, .fallback = "after", .choices = "after|before",
	  .help = "intermediate features are what the configured layers give, as in transformers 5, or take, as in Meta's own code and transformers 4.45" },
};
static const struct percept_encoder ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = mllama_open,
	.close = mllama_close, .info = mllama_info, .plan = mllama_plan, .encode = mllama_encode,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER, .name = "mllama", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Llama 3.2 Vision picture towers", .ops = &ops,
};

/* picture.c - which pictures a tower takes, and what becomes of them: pieces, and the layout of their features. */
#include "plugins/encoders/clip/clip.h"

#include <errno.h>

/* Rows of features of one piece. */
static uint32_t picture_tokens(const struct vision *v, uint32_t width, uint32_t height)
{
	return height / v->patch * (width / v->patch) + (v->choice.keep_class ? 1 : 0);
}

struct nn_tiles_ask picture_ask(const struct vision *v, const struct percept_media *m)
{
	if (v->flexible || v->merge)
		return (struct nn_tiles_ask){ .detail = m->detail, .pixels = (uint64_t)m->max_tokens * v->patch * v->patch };
	return (struct nn_tiles_ask){ .detail = m->detail, .pieces = m->max_tokens / picture_tokens(v, v->image_size, v->image_size) };
}

/* Whether pieces of that many pixels are taken. */
static int picture_takes(struct percept_call *call, const struct vision *v, uint32_t width, uint32_t height)
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

static struct percept_layout picture_layout(const struct vision *v, const struct nn_tiles *t)
{
	return (struct percept_layout){
		.size = sizeof(struct percept_layout), .items = t->n, .tokens = picture_tokens(v, t->width, t->height),
		.dim = v->tower.d_model, .rows = t->height / v->patch, .cols = t->width / v->patch, .grid_rows = t->grid_rows,
		.grid_cols = t->grid_cols, .has_class = v->choice.keep_class != 0, .has_overview = t->overview,
		.width = t->original_width, .height = t->original_height, .unpadded_width = t->unpadded_width,
		.unpadded_height = t->unpadded_height,
	};
}

/* The pieces of an item: a picture's by its processor, prepared pixels as they are. */
static int picture_tiles(struct percept_call *call, const struct vision *v, const struct percept_media *m, struct nn_tiles *t)
{
	const struct nn_tiles_ask ask = picture_ask(v, m);
	struct nn_error why = { 0 };

	*t = (struct nn_tiles){ .n = 1, .width = m->width, .height = m->height, .grid_rows = 1, .grid_cols = 1,
				.original_width = m->width, .original_height = m->height };
	if (m->format == PERCEPT_U8_RGB && nn_tiles_plan(&v->processor, m->width, m->height, &ask, t, &why))
		return percept_fail(call, why.code ? why.code : -EINVAL, "%s", why.text);
	return picture_takes(call, v, t->width, t->height);
}

int picture_plan(struct percept_call *call, const struct vision *v, const struct percept_media *m, struct nn_tiles *t,
		 struct percept_layout *layout)
{
	const uint64_t pixels = (uint64_t)m->width * m->height;
	const uint64_t each = m->format == PERCEPT_F32_PIXELS ? 3 * sizeof(float) : 3;

	if (m->modality != PERCEPT_IMAGE || (m->format != PERCEPT_U8_RGB && m->format != PERCEPT_F32_PIXELS))
		return percept_fail(call, -EINVAL, "The %s encoder takes pictures, as RGB or as prepared pixels.", clip_kind.name);
	if (m->frames != 1 || m->channels != 3 || !pixels || m->bytes / each < pixels)
		return percept_fail(call, -EINVAL, "The %s encoder takes one picture of three channels, and not an empty one.",
				    clip_kind.name);
	const int error = picture_tiles(call, v, m, t);

	if (error)
		return error;
	*layout = picture_layout(v, t);
	if (m->max_tokens && (uint64_t)layout->items * layout->tokens > m->max_tokens)
		return percept_fail(call, -EINVAL, "The %s encoder gives at least %u tokens a picture, and max_tokens is %u.",
				    clip_kind.name, layout->tokens, m->max_tokens);
	return 0;
}

uint32_t picture_tokens_most(const struct vision *v)
{
	if (v->flexible)
		return NN_FLEX_MOST * v->processor.flex_patches;
	if (v->merge) {
		const uint32_t window = v->patch * v->merge;

		return picture_tokens(v, (v->processor.width + window - 1) / window * window,
				      (v->processor.height + window - 1) / window * window);
	}
	return nn_tiles_most(&v->processor) * picture_tokens(v, v->image_size, v->image_size);
}

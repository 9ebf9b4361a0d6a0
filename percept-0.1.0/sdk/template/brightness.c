/* brightness.c - a plugin to start from: an encoder whose features are the mean brightness of a picture's rows. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <percept/plugin.h>

/* One open instance. Everything that changes lives here: a plugin keeps no writable globals. */
struct brightness {
	uint32_t rows;
	char identity[32];
};

/* The host has parsed the options and checked their ranges. */
static int brightness_open(struct percept_call *call, const struct percept_open *open, void **encoder)
{
	const struct percept_value *rows = percept_option(open, "rows");
	struct brightness *b = calloc(1, sizeof(*b));

	if (!b)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	b->rows = rows ? (uint32_t)rows->integer : 16;
	/* Whatever changes the features belongs in the identity: results are cached by it. */
	snprintf(b->identity, sizeof(b->identity), "brightness-1-%u", b->rows);
	*encoder = b;
	return 0;
}

static int brightness_info(void *encoder, struct percept_encoder_info *info)
{
	const struct brightness *b = encoder;

	info->modalities = PERCEPT_IMAGE;
	info->dim = 1;
	info->pooled_dim = 0;
	info->max_tokens = b->rows;
	info->details = 0;
	info->rate_hz = 0;
	info->identity = b->identity;
	info->weight_bytes = 0;
	return 0;
}

/* Refuses what encode() cannot do, with a sentence that the client reads, and says what shape encode() gives. */
static int brightness_plan(struct percept_call *call, void *encoder, const struct percept_media *m,
			   struct percept_layout *layout)
{
	const struct brightness *b = encoder;

	if (m->modality != PERCEPT_IMAGE || m->format != PERCEPT_U8_RGB || m->channels != 3 || m->frames != 1)
		return percept_fail(call, -EINVAL, "The brightness encoder takes one RGB picture.");
	if (!m->width || m->height < b->rows || m->bytes / 3 / m->width < m->height)
		return percept_fail(call, -EINVAL, "The brightness encoder takes pictures of at least %u rows.", b->rows);
	if (m->max_tokens && m->max_tokens < b->rows)
		return percept_fail(call, -EINVAL, "The brightness encoder gives %u tokens, and at most %u are allowed.",
				    b->rows, m->max_tokens);
	*layout = (struct percept_layout){ .size = sizeof(*layout), .items = 1, .tokens = b->rows, .dim = 1,
					   .rows = b->rows, .cols = 1, .grid_rows = 1, .grid_cols = 1,
					   .width = m->width, .height = m->height };
	return 0;
}

static int brightness_encode(struct percept_call *call, void *encoder, const struct percept_media *m,
			     struct percept_features *f)
{
	const struct brightness *b = encoder;
	const uint8_t *p = m->data;
	int error = brightness_plan(call, encoder, m, &f->layout);

	if (error)
		return error;
	/* Results come from the call's memory: the host frees it. It is zeroed. */
	float *out = percept_alloc(call, b->rows * sizeof(float));

	if (!out)
		return -ENOMEM;
	for (uint64_t y = 0; y < m->height; y++) {
		const uint64_t row = y * b->rows / m->height;
		const uint64_t first = (row * m->height + b->rows - 1) / b->rows;
		const uint64_t next = ((row + 1) * m->height + b->rows - 1) / b->rows;
		double sum = 0;

		/* At least every 10 ms: has the client gone? */
		if (percept_cancelled(call))
			return percept_fail(call, -ECANCELED, "The encoding was cancelled.");
		for (uint64_t i = 0; i < (uint64_t)m->width * 3; i++)
			sum += *p++;
		out[row] += (float)(sum / 255 / 3 / m->width / (double)(next - first));
	}
	f->data = out;
	f->pooled = NULL;
	f->pooled_dim = 0;
	return 0;
}

static const struct percept_option options[] = {
	{ .name = "rows", .type = PERCEPT_OPTION_INT, .fallback = "16", .min = 1, .max = 1024,
	  .help = "parts, from top to bottom" },
};

static const struct percept_encoder ops = {
	.size = sizeof(ops),
	.n_options = 1,
	.options = options,
	.open = brightness_open,
	.close = free,
	.info = brightness_info,
	.plan = brightness_plan,
	.encode = brightness_encode,
};

/* The one symbol that a plugin exports. */
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin),
	.abi = PERCEPT_ABI,
	.kind = PERCEPT_ENCODER,
	.name = "brightness",
	.version = "1.0",
	.license = "MIT",
	.summary = "Mean brightness of a picture's rows",
	.ops = &ops,
};

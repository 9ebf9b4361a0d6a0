/* colours.c - an example encoder: the mean colours of a picture's grid cells, 0..1, as features. */
#include <errno.h>
#include <stdlib.h>
#include <percept/plugin.h>

enum { GRID = 4, CELLS = GRID * GRID };

static int colours_open(struct percept_call *call, const struct percept_open *open, void **encoder)
{
	*encoder = malloc(1);
	return *encoder ? 0 : percept_fail(call, -ENOMEM, "Memory is out.");
}

static int colours_info(void *encoder, struct percept_encoder_info *info)
{
	info->modalities = PERCEPT_IMAGE;
	info->dim = info->pooled_dim = 3;
	info->max_tokens = CELLS;
	info->details = 0;
	info->rate_hz = 0;
	info->identity = "colours-1";
	info->weight_bytes = 0;
	return 0;
}

static int colours_plan(struct percept_call *call, void *encoder, const struct percept_media *m,
			struct percept_layout *layout)
{
	if (m->format != PERCEPT_U8_RGB || m->frames != 1 || m->channels != 3 || m->width < GRID ||
	    m->height < GRID || m->bytes / 3 / m->width < m->height)
		return percept_fail(call, -EINVAL, "The colours encoder wants one RGB picture of at "
				    "least %d x %d pixels.", GRID, GRID);
	if (m->max_tokens && m->max_tokens < CELLS)
		return percept_fail(call, -EINVAL, "The colours encoder gives %d tokens, and at most "
				    "%u are allowed.", CELLS, m->max_tokens);
	*layout = (struct percept_layout){ .size = sizeof(*layout), .items = 1, .tokens = CELLS,
					   .dim = 3, .rows = GRID, .cols = GRID, .grid_rows = 1,
					   .grid_cols = 1, .width = m->width, .height = m->height };
	return 0;
}

/* Pixel (x, y) is in cell (x GRID / width, y GRID / height). */
static int colours_encode(struct percept_call *call, void *encoder, const struct percept_media *m,
			  struct percept_features *f)
{
	double sum[CELLS][4] = { { 0 } };
	const uint8_t *p = m->data;
	int error = colours_plan(call, encoder, m, &f->layout);
	float *out = error ? NULL : percept_alloc(call, (CELLS + 1) * 3 * sizeof(float));

	if (!out)
		return error ? error : percept_fail(call, -ENOMEM, "Memory is out.");
	for (uint64_t y = 0; y < m->height; y++) {
		if (percept_cancelled(call))
			return percept_fail(call, -ECANCELED, "The encoding was cancelled.");
		for (uint64_t x = 0; x < m->width; x++, p += 3) {
			double *s = sum[y * GRID / m->height * GRID + x * GRID / m->width];

			s[0] += p[0], s[1] += p[1], s[2] += p[2], s[3] += 255;
		}
	}
	for (uint32_t i = 0; i < CELLS * 3; i++) {
		out[i] = (float)(sum[i / 3][i % 3] / sum[i / 3][3]);
		out[CELLS * 3 + i % 3] += out[i] / CELLS;
	}
	f->data = out, f->pooled = out + CELLS * 3, f->pooled_dim = 3;
	return 0;
}

static const struct percept_encoder ops = {
	.size = sizeof(ops), .open = colours_open, .close = free, .info = colours_info,
	.plan = colours_plan, .encode = colours_encode };
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_ENCODER,
	.name = "colours", .version = "0.1.0", .license = "Apache-2.0",
	.summary = "Mean colours on a grid: an example", .ops = &ops };

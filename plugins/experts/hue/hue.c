/* hue.c - an example expert: says in a word which colour the left and the right half of a picture have. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <percept/plugin.h>

static const struct {
	const char *name;
	int red, green, blue;
} colours[] = { { "black", 0, 0, 0 },   { "white", 255, 255, 255 }, { "grey", 128, 128, 128 }, { "red", 220, 30, 30 },
		{ "green", 30, 180, 30 }, { "blue", 30, 30, 220 },	    { "yellow", 230, 220, 30 } };

enum { COLOURS = sizeof(colours) / sizeof(colours[0]), TEXT = 64 };

static int hue_open(struct percept_call *call, const struct percept_open *open, void **expert)
{
	*expert = malloc(1);
	return *expert ? 0 : percept_fail(call, -ENOMEM, "Memory is out.");
}

static int hue_info(void *expert, struct percept_expert_info *info)
{
	*info = (struct percept_expert_info){ .size = sizeof(*info), .modalities = PERCEPT_IMAGE, .identity = "hue-1" };
	return 0;
}

/* The colour that is nearest to the mean of columns [from, to). NULL: the call was cancelled. */
static const char *hue_of(struct percept_call *call, const struct percept_media *m, uint32_t from, uint32_t to)
{
	const double n = (double)m->height * (to - from);
	double sum[3] = { 0 }, nearest = 1e9;
	size_t best = 0;

	for (uint32_t y = 0; y < m->height; y++) {
		const uint8_t *p = (const uint8_t *)m->data + ((size_t)y * m->width + from) * 3;

		if (percept_cancelled(call))
			return NULL;
		for (uint32_t x = from; x < to; x++, p += 3)
			sum[0] += p[0], sum[1] += p[1], sum[2] += p[2];
	}
	for (size_t i = 0; i < COLOURS; i++) {
		const double r = sum[0] / n - colours[i].red, g = sum[1] / n - colours[i].green, b = sum[2] / n - colours[i].blue;

		if (r * r + g * g + b * b < nearest) {
			nearest = r * r + g * g + b * b;
			best = i;
		}
	}
	return colours[best].name;
}

static int hue_read(struct percept_call *call, void *expert, const struct percept_media *m, const char *hint,
		    struct percept_expert_result *result)
{
	if (m->format != PERCEPT_U8_RGB || m->frames != 1 || m->channels != 3 || m->width < 2 || !m->height ||
	    m->bytes / 3 / m->width < m->height)
		return percept_fail(call, -EINVAL, "The hue expert wants one RGB picture of at least two columns.");
	const char *left = hue_of(call, m, 0, m->width / 2), *right = left ? hue_of(call, m, m->width / 2, m->width) : NULL;
	struct percept_span *spans = percept_alloc(call, 2 * sizeof(*spans));
	char *text = percept_alloc(call, TEXT);

	if (!right)
		return percept_fail(call, -ECANCELED, "The reading was cancelled.");
	if (!text || !spans)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	snprintf(text, TEXT, "%s %s", left, right);
	spans[0] = (struct percept_span){ .bytes = (uint32_t)strlen(left), .width = 0.5f, .height = 1, .confidence = 1 };
	spans[1] = (struct percept_span){ .first = spans[0].bytes + 1, .bytes = (uint32_t)strlen(right), .x = 0.5f, .width = 0.5f,
					  .height = 1, .confidence = 1 };
	*result = (struct percept_expert_result){ .size = sizeof(*result), .n_spans = 2, .text = text, .spans = spans,
						  .language = "en", .confidence = 1 };
	return 0;
}

static const struct percept_expert ops = {
	.size = sizeof(ops), .open = hue_open, .close = free, .info = hue_info, .read = hue_read };
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_EXPERT, .name = "hue", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "The colours of a picture's halves in words: an example", .ops = &ops };

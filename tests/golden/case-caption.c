/* case-caption.c - experts that say what a picture shows: their words for the case's pixels. */
#include <stdio.h>
#include <string.h>

#include "tests/golden/part.h"

void case_caption(struct golden *g)
{
	const struct golden_tensor *pixels = golden_tensor(&g->io, "F32", "in.pixel_values");
	const char *want = cJSON_GetStringValue(cJSON_GetObjectItem(g->info, "text"));
	struct percept_expert_result result = { .size = sizeof(result) };
	struct part part;

	if (!pixels || pixels->rank != 4 || pixels->shape[0] != 1 || !want) {
		golden_fail(g, "the case has not one picture's pixels and a text");
		return;
	}
	if (!part_open(&part, g, "caption", g->path, NULL, 1)) {
		const struct percept_media media = part_pixels(pixels->data, (uint32_t)pixels->shape[3], (uint32_t)pixels->shape[2]);
		const struct percept_expert *ops = part.plugin.api->ops;
		const int error = ops->read(part_call(&part), part.instance, &media, NULL, &result);

		if (error) {
			part_failed(&part, g, error);
		} else {
			printf("  \"%s\"\n", result.text);
			golden_verdict(g, "text", !strcmp(result.text, want));
		}
	}
	part_close(&part);
}

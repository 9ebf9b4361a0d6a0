/* part.c - one plugin, opened through the engine's loader. */
#include "tests/golden/part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/wire/place.h"

static struct tap *part_tap_at(struct part *p, const char *name)
{
	for (uint32_t i = 0; i < p->n_taps; i++) {
		if (!strcmp(p->taps[i].name, name))
			return &p->taps[i];
	}
	if (p->n_taps == PART_TAPS)
		return NULL;
	snprintf(p->taps[p->n_taps].name, sizeof(p->taps[0].name), "%s", name);
	return &p->taps[p->n_taps++];
}

static void part_observe(struct percept_call *call, const char *name, const float *data, const uint64_t *shape, uint32_t rank)
{
	struct part *p = ((struct call *)call->impl)->arg;
	struct tap *tap = p->closed_taps ? NULL : part_tap_at(p, name);
	size_t n = 1;

	for (uint32_t i = 0; i < rank; i++)
		n *= shape[i];
	float *all = tap ? realloc(tap->data, (tap->n + n) * sizeof(float)) : NULL;

	if (!all)
		return;
	memcpy(all + tap->n, data, n * sizeof(float));
	tap->data = all;
	tap->n += n;
	tap->cols = rank ? shape[rank - 1] : 1;
	tap->calls++;
}

const struct tap *part_tap(const struct part *p, const char *name)
{
	for (uint32_t i = 0; i < p->n_taps; i++) {
		if (!strcmp(p->taps[i].name, name))
			return &p->taps[i];
	}
	return NULL;
}

/* Pictures of (positions, channels) as (channels, positions): how the reference shows a convolution's output. */
static float *part_transposed(const struct tap *tap, size_t pictures)
{
	const size_t each = tap->n / pictures, rows = each / tap->cols;
	float *out = malloc(tap->n * sizeof(float));

	for (size_t i = 0; out && i < tap->n; i++) {
		const size_t call = i / each, channel = i % each / rows, row = i % rows;

		out[i] = tap->data[call * each + row * tap->cols + channel];
	}
	return out;
}

void part_check_taps(const struct part *p, struct golden *g, const char *prefix)
{
	for (uint32_t i = 0; i < p->n_taps; i++) {
		const struct tap *tap = &p->taps[i];
		const struct golden_tensor *want = golden_tensor(&g->io, "F32", "mid.%s%s", prefix, tap->name);

		if (!want || want->n != tap->n)
			continue;
		float *turned = want->rank == 4 && want->shape[1] == tap->cols ? part_transposed(tap, want->shape[0]) : NULL;

		golden_compare(g, want->name, turned ? turned : tap->data, tap->n, want->data, want->n);
		free(turned);
	}
}

struct percept_call *part_call(struct part *p)
{
	call_reset(&p->call, p->plugin.api->name);
	return &p->call.base;
}

void part_failed(struct part *p, struct golden *g, int error)
{
	golden_fail(g, "%s: %s (%d)", p->plugin.api->name, p->call.text[0] ? p->call.text : "failed without a reason", error);
}

/* open() and close() of whatever kind. */
static int part_instance(struct part *p, const struct percept_open *open)
{
	switch (p->plugin.api->kind) {
	case PERCEPT_ENCODER:
		return part_encoder(p)->open(part_call(p), open, &p->instance);
	case PERCEPT_CONNECTOR:
		return part_connector(p)->open(part_call(p), open, &p->instance);
	case PERCEPT_FUSION:
		return part_fusion(p)->open(part_call(p), open, &p->instance);
	case PERCEPT_DECODER:
		return part_decoder(p)->open(part_call(p), open, &p->instance);
	case PERCEPT_EXPERT:
		return part_expert(p)->open(part_call(p), open, &p->instance);
	}
	return -1;
}

static void part_options(const struct part *p, const struct percept_option **table, uint32_t *n)
{
	switch (p->plugin.api->kind) {
	case PERCEPT_ENCODER:
		*table = part_encoder(p)->options, *n = part_encoder(p)->n_options;
		return;
	case PERCEPT_CONNECTOR:
		*table = part_connector(p)->options, *n = part_connector(p)->n_options;
		return;
	case PERCEPT_FUSION:
		*table = part_fusion(p)->options, *n = part_fusion(p)->n_options;
		return;
	case PERCEPT_DECODER:
		*table = part_decoder(p)->options, *n = part_decoder(p)->n_options;
		return;
	case PERCEPT_EXPERT:
		*table = part_expert(p)->options, *n = part_expert(p)->n_options;
	}
}

static int part_load(struct part *p, struct golden *g, const char *name)
{
	char path[PATH_MAX], file[128];
	char *folders = place_plugin_path(NULL);

	snprintf(file, sizeof(file), "%s.so", name);
	int error = folders ? place_find(folders, file, path) : -1;

	free(folders);
	if (error || loader_open(path, &p->plugin)) {
		golden_fail(g, "the plugin %s: %s", name, error ? "not found" : p->plugin.reason);
		return -1;
	}
	return 0;
}

/* What is given; the references were computed in float32, which is meant where nothing else is said. */
static cJSON *part_given(const struct percept_option *table, uint32_t n, const cJSON *given)
{
	cJSON *all = given ? cJSON_Duplicate(given, 1) : cJSON_CreateObject();

	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(table[i].name, "compute") && !cJSON_GetObjectItemCaseSensitive(all, "compute"))
			cJSON_AddStringToObject(all, "compute", "f32");
	return all;
}

int part_open(struct part *p, struct golden *g, const char *name, const char *model, const cJSON *given, uint32_t max_sequences)
{
	const struct percept_option *table = NULL;
	struct wire_error why = { 0 };
	uint32_t n = 0;

	memset(p, 0, sizeof(*p));
	if (call_init(&p->call, NULL, 0) || part_load(p, g, name))
		return -1;
	p->host = *p->call.base.host;
	p->host.observe = part_observe;
	p->call.base.host = &p->host;
	p->call.arg = p;
	part_options(p, &table, &n);
	cJSON *all = part_given(table, n, given);
	const int refused = options_parse(name, table, n, all, &p->options, &why);

	cJSON_Delete(all);
	if (refused) {
		golden_fail(g, "%s: its options are refused", name);
		return -1;
	}
	const struct percept_open open = { .size = sizeof(open), .n_values = p->options.n, .values = p->options.values,
					   .model = model, .role = "golden", .assistant = g->name,
					   .max_sequences = max_sequences };
	const int error = part_instance(p, &open);

	if (error)
		part_failed(p, g, error);
	return error ? -1 : 0;
}

void part_close(struct part *p)
{
	if (p->instance && p->plugin.api->kind == PERCEPT_ENCODER)
		part_encoder(p)->close(p->instance);
	if (p->instance && p->plugin.api->kind == PERCEPT_CONNECTOR)
		part_connector(p)->close(p->instance);
	if (p->instance && p->plugin.api->kind == PERCEPT_FUSION)
		part_fusion(p)->close(p->instance);
	if (p->instance && p->plugin.api->kind == PERCEPT_DECODER)
		part_decoder(p)->close(p->instance);
	else if (p->instance && p->plugin.api->kind == PERCEPT_EXPERT)
		part_expert(p)->close(p->instance);
	for (uint32_t i = 0; i < p->n_taps; i++)
		free(p->taps[i].data);
	options_fini(&p->options);
	if (p->plugin.path || p->plugin.handle)
		loader_close(&p->plugin);
	if (p->call.arena)
		call_fini(&p->call);
	memset(p, 0, sizeof(*p));
}

struct percept_media part_pixels(const float *pixels, uint32_t width, uint32_t height)
{
	return (struct percept_media){ .size = sizeof(struct percept_media), .modality = PERCEPT_IMAGE,
				       .format = PERCEPT_F32_PIXELS, .frames = 1, .width = width, .height = height, .channels = 3,
				       .data = pixels, .bytes = (uint64_t)width * height * 3 * sizeof(float) };
}

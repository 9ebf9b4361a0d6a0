/* bench-encoder.c - an encoder by itself: the time of an encode, and how much of what the machine can multiply it uses. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/pool.h"
#include "sdk/nn/tiles.h"
#include "sdk/tool/bench.h"
#include "sdk/tool/check.h"
#include "sdk/wire/place.h"

enum { ENCODER_RUNS = 64, ENCODER_SIDE = 336 };

/* The host that percept check lends, with threads. */
struct bench_encoder {
	struct check check; /* first: a call's impl is its host */
	struct nn_pool *pool;
};

static struct bench_encoder *encoder_of(struct percept_call *call)
{
	return (struct bench_encoder *)((char *)call->impl - offsetof(struct check, host));
}

static void encoder_parallel(struct percept_call *call, void (*task)(void *arg, uint32_t index), void *arg, uint32_t count)
{
	nn_pool_run(encoder_of(call)->pool, task, arg, count);
}

static uint32_t encoder_threads(struct percept_call *call)
{
	return nn_pool_threads(encoder_of(call)->pool);
}

/* Multiply-adds of a transformer of `rows` rows as config.json has it; 0: it is none, or none that is known. */
static double encoder_work(const char *model, double rows)
{
	struct nn_error error = {0};
	struct nn_checkpoint *cp = nn_checkpoint_open(model, &error);
	if (!cp)
		return 0;
	const cJSON *root = nn_checkpoint_config(cp), *inner = nn_config_object(root, "vision_config"), *config = inner ? inner : root;
	double d = (double)nn_config_int(config, "hidden_size|embed_dim", 0, 0, 1 << 20, &error);
	double ff = (double)nn_config_int(config, "intermediate_size", (int64_t)(4 * d), 0, 1 << 24, &error);
	double layers = (double)nn_config_int(config, "num_hidden_layers|depth", 0, 0, 4096, &error);
	nn_checkpoint_close(cp);
	return error.code ? 0 : layers * rows * (4 * d * d + 2 * d * ff + 2 * rows * d);
}

static int encoder_find(struct tool *tool, const char *name, char path[PATH_MAX])
{
	char file[128];
	char *folders = place_plugin_path(NULL);
	snprintf(file, sizeof file, "%s.so", name);
	int r = folders ? place_find(folders, file, path) : -ENOENT;
	free(folders);
	return r ? tool_say(tool, TOOL_FAILED, "There is no plugin %s; percept plugins lists those that there are.", name) : 0;
}

static int encoder_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Seconds of the picture's preparation by itself, the least of some; 0: the model's files say nothing of it. */
static double encoder_prepare(struct bench_encoder *e, const struct bench_plan *plan, const struct percept_media *media)
{
	struct nn_image_processor p;
	struct nn_error error = {0};
	struct nn_arena *arena = nn_arena_new(0);
	double least = 0;
	if (arena && !nn_image_processor_load(&p, plan->model, ENCODER_SIDE, &error)) {
		for (unsigned run = 0; run < plan->runs + 1 && !error.code; run++) {
			struct nn c = {.arena = arena, .parallel = nn_pool_run, .runner = e->pool, .threads = nn_pool_threads(e->pool)};
			struct nn_tiles tiles;
			double from = bench_now();
			if (!nn_tiles_prepare(&c, &p, media->data, media->width, media->height, NULL, &tiles, &error) && run)
				least = run > 1 && least < bench_now() - from ? least : bench_now() - from;
			nn_arena_reset(arena);
		}
	}
	nn_arena_free(arena);
	return error.code ? 0 : least;
}

/* Encodes of one picture of random pixels; the first warms the pages and does not count. 0 or what the plugin returned. */
static int encoder_run(struct bench_encoder *e, void *instance, const struct bench_plan *plan, struct bench_encode *result)
{
	const struct percept_encoder *ops = e->check.plugin->ops;
	const unsigned side = plan->side ? plan->side : ENCODER_SIDE;
	uint8_t *pixels = malloc((size_t)side * side * 3);
	struct percept_media media = {.size = sizeof media, .modality = PERCEPT_IMAGE, .format = PERCEPT_U8_RGB, .frames = 1,
				      .width = side, .height = side, .channels = 3, .data = pixels, .bytes = (uint64_t)side * side * 3};
	double seconds[ENCODER_RUNS];
	uint64_t seed = 7;
	int r = pixels ? 0 : -ENOMEM;
	for (size_t i = 0; pixels && i < media.bytes; i++)
		pixels[i] = (uint8_t)((seed = seed * 6364136223846793005u + 1442695040888963407u) >> 56);
	for (unsigned run = 0; run < plan->runs + 1 && !r; run++) {
		struct percept_features f = {.size = sizeof f};
		double from = bench_now();
		r = ops->encode(check_host_begin(&e->check.host), instance, &media, &f);
		if (run)
			seconds[run - 1] = bench_now() - from;
		result->rows = f.layout.items * f.layout.tokens;
		/* Rows that are computed, the class token's too, of each item by itself. */
		result->items = f.layout.items;
	}
	if (!r)
		result->prepare_seconds = encoder_prepare(e, plan, &media);
	free(pixels);
	if (r)
		return r;
	qsort(seconds, plan->runs, sizeof *seconds, encoder_compare);
	result->seconds = seconds[plan->runs / 2];
	result->least_seconds = seconds[0];
	return 0;
}

int bench_encode(struct tool *tool, const struct bench_plan *plan, unsigned threads, struct bench_encode *result)
{
	struct bench_encoder *e = calloc(1, sizeof *e);
	char path[PATH_MAX], model[PATH_MAX], compute[32];
	const char *options[] = {compute, NULL};
	void *instance = NULL;
	int r = e ? encoder_find(tool, plan->encoder, path) : tool_no_memory(tool);
	if (!r && !realpath(plan->model, model))
		r = tool_say(tool, TOOL_FAILED, "%s: %s.", plan->model, strerror(errno));
	if (!r) {
		snprintf(compute, sizeof compute, "compute=%s", plan->compute ? plan->compute : "fast");
		e->check = (struct check){.path = path, .model = model, .options = options};
		check_host_init(&e->check.host);
		e->check.host.table.parallel = encoder_parallel;
		e->check.host.table.threads = encoder_threads;
		e->pool = nn_pool_new(threads);
		enum check_verdict v = e->pool ? check_load(&e->check) : check_no(&e->check, "Memory is out.");
		if (v == CHECK_OK && e->check.plugin->kind != PERCEPT_ENCODER)
			v = check_no(&e->check, "The plugin %s is no encoder.", plan->encoder);
		if (v == CHECK_OK)
			v = check_open(&e->check, model, &instance);
		if (v == CHECK_OK && encoder_run(e, instance, plan, result))
			v = check_no(&e->check, "%s", e->check.host.text);
		if (v != CHECK_OK)
			r = tool_say(tool, TOOL_FAILED, "%s", e->check.why);
		*result = (struct bench_encode){.threads = threads, .rows = result->rows, .items = result->items,
						.seconds = result->seconds, .least_seconds = result->least_seconds,
						.prepare_seconds = result->prepare_seconds};
		double each = result->items ? (double)result->rows / result->items : 0;
		result->multiply_adds = r ? 0 : result->items * encoder_work(model, each);
	}
	if (instance)
		check_ops(&e->check)->close(instance);
	if (e) {
		check_host_fini(&e->check.host);
		nn_pool_free(e->pool);
	}
	free(e);
	return r;
}

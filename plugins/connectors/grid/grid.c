/* grid.c - the plugin: a grid of patches becomes fewer tokens, one of each block of patches. */
#include "plugins/connectors/grid/grid.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/compute.h"

static const char *const grid_prefixes[] = { "model.", "", NULL };

void grid_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x)
{
	if (call->host->observe && x.data && !c->error && x.stride == x.cols)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

static void grid_close(void *connector)
{
	struct grid *g = connector;

	nn_checkpoint_close(g->checkpoint);
	free(g);
}

static int grid_read(struct grid *g, const char *path, enum nn_compute how, struct nn_error *error)
{
	struct nn_loader l = { .prefixes = grid_prefixes, .error = error };

	g->checkpoint = l.checkpoint = nn_checkpoint_open(path, error);
	if (!g->checkpoint)
		return error->code ? error->code : -EINVAL;
	nn_checkpoint_compute(g->checkpoint, how);
	const cJSON *config = nn_checkpoint_config(g->checkpoint);

	g->kind = grid_kind_find(config, error);
	return g->kind ? g->kind->load(g, config, &l) : error->code;
}

static int grid_open(struct percept_call *call, const struct percept_open *open, void **connector)
{
	struct nn_error error = { 0 };

	if (!open->model)
		return percept_fail(call, -EINVAL, "The grid connector needs a model: name a directory with config.json and "
				    "model.safetensors.");
	struct grid *g = calloc(1, sizeof(*g));

	if (!g)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	if (grid_read(g, open->model, nn_compute_option(open), &error)) {
		grid_close(g);
		return percept_fail(call, error.code ? error.code : -EINVAL, "%s", error.text);
	}
	snprintf(g->identity, sizeof(g->identity), "grid-1-%s-%s", nn_checkpoint_identity(g->checkpoint),
		 nn_compute_name(nn_compute_option(open)));
	*connector = g;
	return 0;
}

static int grid_info(void *connector, struct percept_connector_info *info)
{
	const struct grid *g = connector;

	*info = (struct percept_connector_info){
		.size = sizeof(*info), .in_dim = g->in_dim, .out_dim = g->out_dim, .position_components = 1,
		.bidirectional = g->kind->bidirectional, .identity = g->identity, .weight_bytes = g->weight_bytes,
	};
	return 0;
}

/* The grid of one item: as the layout says, else a square. */
static int grid_sides(struct percept_call *call, const struct grid *g, const struct percept_layout *layout, uint32_t *rows,
		      uint32_t *cols)
{
	const uint32_t side = (uint32_t)sqrt((double)layout->tokens);

	*rows = layout->rows && layout->cols ? layout->rows : side;
	*cols = layout->rows && layout->cols ? layout->cols : side;
	if (layout->dim != g->in_dim)
		return percept_fail(call, -EINVAL, "The grid connector takes features of %u values and was given %u.", g->in_dim, layout->dim);
	if (!layout->items || layout->has_class || (uint64_t)*rows * *cols != layout->tokens)
		return percept_fail(call, -EINVAL, "The grid connector takes grids of patches without a class token, and was given %u "
				    "items of %u rows.", layout->items, layout->tokens);
	if (*rows < g->block || *cols < g->block || (!g->kind->ragged && (*rows % g->block || *cols % g->block)))
		return percept_fail(call, -EINVAL, "A grid of %u x %u patches is not made of blocks of %u x %u.", *rows, *cols, g->block,
				    g->block);
	return 0;
}

static int grid_plan(struct percept_call *call, void *connector, const struct percept_layout *layout, struct percept_embeddings *e)
{
	const struct grid *g = connector;
	uint32_t rows, cols;
	const int error = grid_sides(call, g, layout, &rows, &cols);

	if (error)
		return error;
	const uint64_t each = (uint64_t)(rows / g->block) * (cols / g->block);

	if (each * layout->items > INT32_MAX)
		return percept_fail(call, -EINVAL, "%u items of %u feature rows are out of range.", layout->items, layout->tokens);
	*e = (struct percept_embeddings){ .size = sizeof(*e), .n = (uint32_t)(each * layout->items), .dim = g->out_dim };
	return g->kind->pieces(call, layout, (uint32_t)each, e);
}

/* Item after item, so that an item's rows do not depend on the others. */
static int grid_items(struct nn *c, struct percept_call *call, const struct grid *g, const struct percept_features *f, float *data)
{
	const struct percept_layout *layout = &f->layout;
	uint32_t rows, cols;
	int error = grid_sides(call, g, layout, &rows, &cols);

	for (uint32_t i = 0; !error && i < layout->items; i++) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const float *from = f->data + (size_t)i * layout->tokens * layout->dim;
		struct nn_tensor y = g->kind->forward(c, call, g, nn_view((float *)from, layout->tokens, layout->dim), rows, cols);

		for (size_t row = 0; !c->error && row < y.rows; row++, data += y.cols)
			memcpy(data, y.data + row * y.stride, y.cols * sizeof(float));
		nn_arena_release(c->arena, mark);
		error = c->error;
	}
	return error;
}

static int grid_connect(struct percept_call *call, void *connector, const struct percept_features *f, const char *instruction,
			struct percept_embeddings *e)
{
	const struct grid *g = connector;
	int error = grid_plan(call, connector, &f->layout, e);
	struct nn c;

	(void)instruction;
	if (error)
		return error;
	struct nn_arena *arena = nn_arena_new(0);
	float *data = percept_alloc(call, (size_t)e->n * e->dim * sizeof(float));

	if (!arena || !data) {
		nn_arena_free(arena);
		return percept_fail(call, -ENOMEM, "Memory is out.");
	}
	nn_begin(&c, call, arena);
	error = grid_items(&c, call, g, f, data);
	e->data = data;
	nn_arena_free(arena);
	if (error)
		percept_fail(call, error, "The connection %s.", error == -ECANCELED ? "was cancelled" : "failed: memory is out");
	return error;
}

static const struct percept_option options[] = {
	NN_COMPUTE_OPTION,
};
static const struct percept_connector ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = grid_open, .close = grid_close, .info = grid_info, .plan = grid_plan, .connect = grid_connect,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_CONNECTOR, .name = "grid", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Pixel shuffle of Idefics3, SmolVLM and InternVL, average pooling of Gemma 3", .ops = &ops,
};

/* grid.c - the plugin: a grid of patches becomes fewer tokens, one of each block of patches. */
#include "plugins/connectors/grid/grid.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "sdk/nn/compute.h"
#include "sdk/nn/part.h"

static const char *const grid_prefixes[] = { "model.", "", NULL };

void grid_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x)
{
	if (call->host->observe && x.data && !c->error && x.stride == x.cols)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

static int grid_read(void *connector, const struct percept_open *open, struct nn_error *error)
{
	struct grid *g = connector;
	struct nn_loader l = { .checkpoint = g->checkpoint, .prefixes = grid_prefixes, .error = error };
	const cJSON *config = nn_checkpoint_config(g->checkpoint);

	snprintf(g->identity, sizeof(g->identity), "grid-1-%s-%s", nn_checkpoint_identity(g->checkpoint),
		 nn_compute_name(nn_compute_option(open)));
	g->kind = grid_kind_find(config, error);
	return g->kind ? g->kind->load(g, config, &l) : error->code;
}

static int grid_open(struct percept_call *call, const struct percept_open *open, void **connector)
{
	static const struct nn_part part = { "grid connector", sizeof(struct grid), grid_read, nn_part_close };

	return nn_part_open(call, open, &part, connector);
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

/* What one connect() is about. */
struct grid_work {
	const struct grid *g;
	const struct percept_features *features;
};

/* Item after item, so that an item's rows do not depend on the others. */
static int grid_run(struct nn *c, struct percept_call *call, void *arg, float *data)
{
	const struct grid_work *w = arg;
	const struct percept_layout *layout = &w->features->layout;
	uint32_t rows, cols;
	int error = grid_sides(call, w->g, layout, &rows, &cols);

	for (uint32_t i = 0; !error && i < layout->items; i++) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const float *from = w->features->data + (size_t)i * layout->tokens * layout->dim;
		struct nn_tensor x = nn_view((float *)from, layout->tokens, layout->dim);

		data = nn_part_copy(c, w->g->kind->forward(c, call, w->g, x, rows, cols), data);
		nn_arena_release(c->arena, mark);
		error = c->error;
	}
	return error;
}

static int grid_connect(struct percept_call *call, void *connector, const struct percept_features *f, const char *instruction,
			struct percept_embeddings *e)
{
	struct grid_work work = { connector, f };
	const int error = grid_plan(call, connector, &f->layout, e);

	return error ? error : nn_part_connect(call, e, "The connection", grid_run, &work);
}

static const struct percept_option options[] = {
	NN_COMPUTE_OPTION,
};
static const struct percept_connector ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = grid_open, .close = nn_part_close, .info = grid_info, .plan = grid_plan, .connect = grid_connect,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_CONNECTOR, .name = "grid", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Pixel shuffle of Idefics3, SmolVLM and InternVL, average pooling of Gemma 3", .ops = &ops,
};

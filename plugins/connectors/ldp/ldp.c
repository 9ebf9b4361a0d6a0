/* ldp.c - the plugin: MobileVLM's projectors, of both versions. */
#include "plugins/connectors/ldp/ldp.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <percept/plugin.h>

#include "sdk/nn/part.h"

static int ldp_read(void *connector, const struct percept_open *open, struct nn_error *error)
{
	struct ldp *p = connector;

	snprintf(p->identity, sizeof(p->identity), "ldp-1-%s", nn_checkpoint_identity(p->checkpoint));
	return ldp_load(p, error);
}

static int ldp_open(struct percept_call *call, const struct percept_open *open, void **connector)
{
	static const struct nn_part part = { "ldp connector", sizeof(struct ldp), ldp_read, nn_part_close };

	return nn_part_open(call, open, &part, connector);
}

static int ldp_info(void *connector, struct percept_connector_info *info)
{
	const struct ldp *p = connector;

	*info = (struct percept_connector_info){
		.size = sizeof(*info), .in_dim = p->in_dim, .out_dim = p->out_dim, .position_components = 1, .identity = p->identity,
		.weight_bytes = p->weight_bytes,
	};
	return 0;
}

/* The grid of a piece's patches; a square's where the layout does not say. 0: the rows are none such. */
static int ldp_places(const struct percept_layout *l, uint32_t *rows, uint32_t *cols)
{
	const uint32_t side = (uint32_t)(sqrt(l->tokens) + 0.5);

	*rows = l->rows ? l->rows : side;
	*cols = l->cols ? l->cols : side;
	return l->items && l->tokens && (uint64_t)*rows * *cols == l->tokens;
}

static int ldp_plan(struct percept_call *call, void *connector, const struct percept_layout *l, struct percept_embeddings *e)
{
	const struct ldp *p = connector;
	uint32_t rows, cols;

	if (l->dim != p->in_dim)
		return percept_fail(call, -EINVAL, "The projector takes features of %u values and was given %u.", p->in_dim, l->dim);
	if (!ldp_places(l, &rows, &cols))
		return percept_fail(call, -EINVAL, "The projector takes a grid of patches without a class token, and was given %u rows "
				    "of %u x %u.", l->tokens, l->rows, l->cols);
	ldp_grid(p, rows, cols, &rows, &cols);
	const uint64_t n = (uint64_t)l->items * rows * cols;

	if (n > INT32_MAX || (uint64_t)l->items * l->tokens > INT32_MAX)
		return percept_fail(call, -EINVAL, "%u pieces of %u feature rows are out of range.", l->items, l->tokens);
	*e = (struct percept_embeddings){ .size = sizeof(*e), .n = (uint32_t)n, .dim = p->out_dim };
	return 0;
}

/* What one connect() is about. */
struct ldp_work {
	const struct ldp *p;
	const struct percept_features *features;
};

/* Piece by piece. */
static int ldp_run(struct nn *c, struct percept_call *call, void *arg, float *data)
{
	const struct ldp_work *w = arg;
	const struct percept_layout *l = &w->features->layout;
	uint32_t rows, cols;

	ldp_places(l, &rows, &cols);
	for (uint32_t i = 0; i < l->items && !nn_stopped(c); i++) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const float *from = w->features->data + (size_t)i * l->tokens * l->dim;

		data = nn_part_copy(c, ldp_forward(c, w->p, nn_view((float *)from, l->tokens, l->dim), rows, cols), data);
		nn_arena_release(c->arena, mark);
	}
	return c->error;
}

static int ldp_connect(struct percept_call *call, void *connector, const struct percept_features *f, const char *instruction,
		       struct percept_embeddings *e)
{
	struct ldp_work work = { connector, f };
	const int error = ldp_plan(call, connector, &f->layout, e);

	return error ? error : nn_part_connect(call, e, "The projection", ldp_run, &work);
}

static const struct percept_connector ops = {
	.size = sizeof(ops), .open = ldp_open, .close = nn_part_close, .info = ldp_info, .plan = ldp_plan, .connect = ldp_connect,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_CONNECTOR, .name = "ldp", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "MobileVLM's projectors, LDP and LDPv2", .ops = &ops,
};

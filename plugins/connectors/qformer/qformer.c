/* qformer.c - the plugin: features through a Q-Former, all at once or window by window. */
#include "plugins/connectors/qformer/qformer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int qformer_open(struct percept_call *call, const struct percept_open *open, void **connector)
{
	const struct percept_value *window = percept_option(open, "window"), *stride = percept_option(open, "stride");
	struct nn_error error = { 0 };

	if (!open->model)
		return percept_fail(call, -EINVAL, "The qformer connector needs a model: name a directory with config.json and "
				    "model.safetensors.");
	struct qformer *q = calloc(1, sizeof(*q));

	if (!q)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	q->window = window ? (uint32_t)window->integer : 0;
	q->stride = stride ? (uint32_t)stride->integer : q->window;
	q->checkpoint = nn_checkpoint_open(open->model, &error);
	if (!q->checkpoint || qformer_load(q, &error)) {
		qformer_close(q);
		return percept_fail(call, error.code ? error.code : -EINVAL, "%s", error.text);
	}
	snprintf(q->identity, sizeof(q->identity), "qformer-1-%s-window%u-%u", nn_checkpoint_identity(q->checkpoint), q->window,
		 q->stride);
	*connector = q;
	return 0;
}

static int qformer_info(void *connector, struct percept_connector_info *info)
{
	const struct qformer *q = connector;

	*info = (struct percept_connector_info){
		.size = sizeof(*info), .in_dim = q->in_dim, .out_dim = q->out_dim, .needs_text = q->context != 0,
		.max_rows = q->window ? 0 : q->n_queries, .position_components = 1, .identity = q->identity,
		.weight_bytes = q->weight_bytes, .leads = !q->window,
	};
	return 0;
}

/* Windows in an item of n rows: whole ones, at least one. */
static uint64_t qformer_windows(const struct qformer *q, uint64_t n)
{
	return !q->window || n <= q->window ? 1 : (n - q->window) / q->stride + 1;
}

static int qformer_plan(struct percept_call *call, void *connector, const struct percept_layout *l, struct percept_embeddings *e)
{
	const struct qformer *q = connector;
	const uint64_t rows = (uint64_t)l->items * l->tokens, n = l->items * qformer_windows(q, l->tokens) * q->n_queries;

	if (l->dim != q->in_dim)
		return percept_fail(call, -EINVAL, "The Q-Former takes features of %u values and was given %u.", q->in_dim, l->dim);
	if (!rows || rows > QFORMER_ROWS_MAX || n > QFORMER_ROWS_MAX)
		return percept_fail(call, -EINVAL, "%u pieces of %u feature rows are out of the Q-Former's range.", l->items, l->tokens);
	*e = (struct percept_embeddings){ .size = sizeof(*e), .n = (uint32_t)n, .dim = q->out_dim };
	return 0;
}

/* The instruction's ids, as many as there are positions for. */
static int qformer_ids(struct percept_call *call, const struct qformer *q, const char *instruction, struct nn_ids *ids)
{
	struct nn_error error = { 0 };

	if (q->tokenizer && instruction &&
	    nn_tokenizer_encode(q->tokenizer, instruction, strlen(instruction), NN_ENCODE_AROUND, ids, &error))
		return percept_fail(call, error.code, "%s", error.text);
	if (ids->n > q->context)
		ids->n = q->context;
	return 0;
}

/* Each window of each item through the queries, to e->data. 0 or c->error. */
static int qformer_run(struct nn *c, struct percept_call *call, const struct qformer *q, const struct percept_features *f,
		       const struct nn_ids *ids, struct percept_embeddings *e)
{
	const struct percept_layout *l = &f->layout;
	const size_t windows = qformer_windows(q, l->tokens), each = q->window && q->window < l->tokens ? q->window : l->tokens;
	float *data = percept_alloc(call, (size_t)e->n * e->dim * sizeof(float));

	if (!data)
		return c->error = -ENOMEM;
	e->data = data;
	for (size_t i = 0; i < l->items * windows && !nn_stopped(c); i++, data += (size_t)q->n_queries * q->out_dim) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const size_t first = i / windows * l->tokens + i % windows * q->stride;
		struct nn_tensor y = qformer_forward(c, call, q, nn_view((float *)f->data + first * l->dim, each, l->dim), ids->data,
						     ids->n);

		for (size_t r = 0; !c->error && r < y.rows; r++)
			memcpy(data + r * y.cols, y.data + r * y.stride, y.cols * sizeof(float));
		nn_arena_release(c->arena, mark);
	}
	return c->error;
}

static int qformer_connect(struct percept_call *call, void *connector, const struct percept_features *f, const char *instruction,
			   struct percept_embeddings *e)
{
	const struct qformer *q = connector;
	struct nn c = { .error = -ENOMEM };
	struct nn_ids ids = { 0 };
	int error = qformer_plan(call, connector, &f->layout, e);

	if (!error)
		error = qformer_ids(call, q, instruction, &ids);
	if (error) {
		nn_ids_free(&ids);
		return error;
	}
	struct nn_arena *arena = nn_arena_new(0);

	if (arena) {
		nn_begin(&c, call, arena);
		qformer_run(&c, call, q, f, &ids, e);
	}
	nn_arena_free(arena);
	nn_ids_free(&ids);
	if (!c.error)
		return 0;
	return percept_fail(call, c.error, "The Q-Former %s.", c.error == -ECANCELED ? "was cancelled" : c.error == -EINVAL ?
			    "was given a token that is not of its vocabulary" : "failed: memory is out");
}

static const struct percept_option options[] = {
	{ .name = "window", .type = PERCEPT_OPTION_INT, .min = 1, .max = QFORMER_ROWS_MAX,
	  .help = "rows of features that the queries read at a time, for sound and speech; all by default" },
	{ .name = "stride", .type = PERCEPT_OPTION_INT, .min = 1, .max = QFORMER_ROWS_MAX,
	  .help = "rows from a window to the next; the window's length by default" },
};
static const struct percept_connector ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = qformer_open,
	.close = qformer_close, .info = qformer_info, .plan = qformer_plan, .connect = qformer_connect,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_CONNECTOR, .name = "qformer", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Q-Formers of BLIP-2 and InstructBLIP", .ops = &ops,
};

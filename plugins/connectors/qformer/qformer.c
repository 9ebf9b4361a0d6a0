/* qformer.c - the plugin: features through a Q-Former, all at once or window by window. */
#include "plugins/connectors/qformer/qformer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sdk/nn/compute.h"
#include "sdk/nn/part.h"

static int qformer_read(void *connector, const struct percept_open *open, struct nn_error *error)
{
	const struct percept_value *window = percept_option(open, "window"), *stride = percept_option(open, "stride");
	struct qformer *q = connector;

	q->window = window ? (uint32_t)window->integer : 0;
	q->stride = stride ? (uint32_t)stride->integer : q->window;
	snprintf(q->identity, sizeof(q->identity), "qformer-1-%s-window%u-%u-%s", nn_checkpoint_identity(q->checkpoint), q->window,
		 q->stride, nn_compute_name(nn_compute_option(open)));
	return qformer_load(q, error);
}

static int qformer_open(struct percept_call *call, const struct percept_open *open, void **connector)
{
	static const struct nn_part part = { "qformer connector", sizeof(struct qformer), qformer_read, qformer_close };

	return nn_part_open(call, open, &part, connector);
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

/* What one connect() is about. */
struct qformer_work {
	const struct qformer *q;
	const struct percept_features *features;
	const struct nn_ids *ids;
};

/* Each window of each item through the queries. */
static int qformer_run(struct nn *c, struct percept_call *call, void *arg, float *data)
{
	const struct qformer_work *w = arg;
	const struct qformer *q = w->q;
	const struct percept_layout *l = &w->features->layout;
	const size_t windows = qformer_windows(q, l->tokens), each = q->window && q->window < l->tokens ? q->window : l->tokens;

	for (size_t i = 0; i < l->items * windows && !nn_stopped(c); i++) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const size_t first = i / windows * l->tokens + i % windows * q->stride;
		struct nn_tensor x = nn_view((float *)w->features->data + first * l->dim, each, l->dim);

		data = nn_part_copy(c, qformer_forward(c, call, q, x, w->ids->data, w->ids->n), data);
		nn_arena_release(c->arena, mark);
	}
	if (c->error == -EINVAL)
		percept_fail(call, -EINVAL, "The Q-Former was given a token that is not of its vocabulary.");
	return c->error;
}

static int qformer_connect(struct percept_call *call, void *connector, const struct percept_features *f, const char *instruction,
			   struct percept_embeddings *e)
{
	struct nn_ids ids = { 0 };
	struct qformer_work work = { connector, f, &ids };
	int error = qformer_plan(call, connector, &f->layout, e);

	if (!error)
		error = qformer_ids(call, connector, instruction, &ids);
	if (!error)
		error = nn_part_connect(call, e, "The Q-Former", qformer_run, &work);
	nn_ids_free(&ids);
	return error;
}

static const struct percept_option options[] = {
	{ .name = "window", .type = PERCEPT_OPTION_INT, .min = 1, .max = QFORMER_ROWS_MAX,
	  .help = "rows of features that the queries read at a time, for sound and speech; all by default" },
	{ .name = "stride", .type = PERCEPT_OPTION_INT, .min = 1, .max = QFORMER_ROWS_MAX,
	  .help = "rows from a window to the next; the window's length by default" },
	NN_COMPUTE_OPTION,
};
static const struct percept_connector ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = qformer_open,
	.close = qformer_close, .info = qformer_info, .plan = qformer_plan, .connect = qformer_connect,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_CONNECTOR, .name = "qformer", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Q-Formers of BLIP-2 and InstructBLIP", .ops = &ops,
};

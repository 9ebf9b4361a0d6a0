/* merger.c - the plugin: the patch merger of Qwen2-VL (Wang 2024) and Qwen2.5-VL (Bai 2025): windows of merge x merge
 * patches become one row each, which has a position in time, down and across. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <percept/plugin.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/compute.h"
#include "sdk/nn/part.h"

enum { MERGER_SIDE_MAX = 64, MERGER_ROWS_MAX = 1 << 20 };

static const float merger_eps = 1e-6f;

struct merger {
	struct nn_checkpoint *checkpoint;
	uint32_t side;            /* patches of a window in each direction */
	uint32_t in_dim, out_dim;
	double tokens_per_second; /* positions in a second of video; 0: one each of the items */
	const float *norm, *norm_bias; /* [in_dim]; norm_bias NULL: RMSNorm */
	const struct nn_weight *w[2];  /* (hidden, side^2 * in_dim), (out_dim, hidden) */
	const float *b[2];
	uint64_t weight_bytes;
	char identity[128];
};

static const char *const merger_prefixes[] = { "visual.merger.", "model.visual.merger.", "merger.", NULL };

static int merger_configure(struct merger *p, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(p->checkpoint), *vision = nn_config_object(root, "vision_config");
	const cJSON *config = vision ? vision : root;
	const int newer = !strcmp(nn_config_string(root, "model_type", ""), "qwen2_5_vl");

	p->side = (uint32_t)nn_config_int(config, "spatial_merge_size", 2, 1, MERGER_SIDE_MAX, error);
	p->tokens_per_second = newer ? nn_config_real(config, "tokens_per_second", 4, error) : 0;
	if (!error->code && !(p->tokens_per_second >= 0 && p->tokens_per_second <= 1e6))
		nn_fail(error, -EINVAL, "config.json: \"tokens_per_second\" is out of range.");
	return error->code;
}

static int merger_load(struct merger *p, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = p->checkpoint, .prefixes = merger_prefixes, .error = error };
	const char *type = nn_config_string(nn_checkpoint_config(p->checkpoint), "model_type", "");
	const struct nn_weight *norm = nn_load(&l, 0, 0, "ln_q.weight");
	size_t n = norm ? norm->rows * norm->cols : 0, unit = n * p->side * p->side;

	if (norm && n > UINT32_MAX / (MERGER_SIDE_MAX * MERGER_SIDE_MAX))
		return nn_fail(error, -EINVAL, "ln_q.weight has %zu values, which is out of range.", n);
	p->norm = nn_load_vector(&l, n, "ln_q.weight");
	p->norm_bias = strcmp(type, "qwen2_vl") ? nn_load_vector_maybe(&l, n, "ln_q.bias") : nn_load_vector(&l, n, "ln_q.bias");
	for (uint32_t i = 0; i < 2 && !error->code; i++) {
		struct nn_weight *w = nn_load(&l, 0, i ? p->w[0]->rows : unit, "mlp.%u.weight", 2 * i);

		if (!w || nn_weight_pack(p->checkpoint, w, error))
			break;
		p->w[i] = w;
		p->b[i] = nn_load_vector(&l, w->rows, "mlp.%u.bias", 2 * i);
		p->weight_bytes += w->bytes + w->rows * sizeof(float);
	}
	if (error->code)
		return error->code;
	if (p->w[1]->rows > UINT32_MAX)
		return nn_fail(error, -EINVAL, "mlp.2.weight has too many rows.");
	p->in_dim = (uint32_t)n;
	p->out_dim = (uint32_t)p->w[1]->rows;
	return 0;
}

static int merger_read(void *connector, const struct percept_open *open, struct nn_error *error)
{
	struct merger *p = connector;

	snprintf(p->identity, sizeof(p->identity), "merger-1-%s-%s", nn_checkpoint_identity(p->checkpoint),
		 nn_compute_name(nn_compute_option(open)));
	return merger_configure(p, error) || merger_load(p, error) ? error->code : 0;
}

static int merger_open(struct percept_call *call, const struct percept_open *open, void **connector)
{
	static const struct nn_part part = { "merger connector", sizeof(struct merger), merger_read, nn_part_close };

	return nn_part_open(call, open, &part, connector);
}

static int merger_info(void *connector, struct percept_connector_info *info)
{
	const struct merger *p = connector;

	*info = (struct percept_connector_info){
		.size = sizeof(*info), .in_dim = p->in_dim, .out_dim = p->out_dim, .position_components = 3,
		.identity = p->identity, .weight_bytes = p->weight_bytes,
	};
	return 0;
}

/* Whether the layout's rows are whole windows. Without a grid they are taken to lie window by window. */
static int merger_check(struct percept_call *call, const struct merger *p, const struct percept_layout *l)
{
	const uint64_t unit = (uint64_t)p->side * p->side, n = (uint64_t)l->items * l->tokens;

	if (l->dim != p->in_dim)
		return percept_fail(call, -EINVAL, "The merger takes features of %u values and was given %u.", p->in_dim, l->dim);
	if (!n || n > MERGER_ROWS_MAX)
		return percept_fail(call, -EINVAL, "%u pieces of %u feature rows are out of the merger's range.", l->items, l->tokens);
	if (l->has_class || l->item_tokens || l->tokens % unit ||
	    (l->rows && ((uint64_t)l->rows * l->cols != l->tokens || l->rows % p->side || l->cols % p->side)))
		return percept_fail(call, -EINVAL, "The merger takes grids of patches, %u x %u of which become one row, and was given "
				    "%u rows a piece, of %u x %u patches.", p->side, p->side, l->tokens, l->rows, l->cols);
	return 0;
}

/* When item `i` is, in positions. */
static int32_t merger_time(const struct merger *p, const struct percept_layout *l, uint32_t i)
{
	const double t = p->tokens_per_second > 0 && l->times_s ? l->times_s[i] * p->tokens_per_second : i;

	return t >= 0 && t < MERGER_ROWS_MAX ? (int32_t)t : MERGER_ROWS_MAX - 1;
}

/* Each row's time, row and column in the grid of windows, and how far text goes on behind them: one beyond the largest. */
static int merger_positions(struct percept_call *call, const struct merger *p, const struct percept_layout *l,
			    struct percept_embeddings *e)
{
	const uint32_t down = l->rows / p->side, across = l->cols / p->side;
	int32_t (*positions)[4] = percept_alloc(call, ((size_t)e->n + 1) * sizeof(*positions));
	int32_t furthest = 0;

	if (!positions)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < e->n; i++) {
		const uint32_t item = i / (down * across), window = i % (down * across);
		const int32_t at[3] = { merger_time(p, l, item), (int32_t)(window / across), (int32_t)(window % across) };

		for (int k = 0; k < 3; k++) {
			positions[i][k] = at[k];
			furthest = at[k] > furthest ? at[k] : furthest;
		}
	}
	e->positions = positions[0];
	e->position_span = (uint32_t)furthest + 1;
	return 0;
}

static int merger_plan(struct percept_call *call, void *connector, const struct percept_layout *layout,
		       struct percept_embeddings *e)
{
	const struct merger *p = connector;
	struct percept_piece *pieces = percept_alloc(call, 3 * sizeof(*pieces));
	int error = merger_check(call, p, layout);

	if (error)
		return error;
	if (!pieces)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	*e = (struct percept_embeddings){
		.size = sizeof(*e), .n = layout->items * layout->tokens / (p->side * p->side), .dim = p->out_dim, .n_pieces = 3,
		.pieces = pieces,
	};
	pieces[0] = (struct percept_piece){ .kind = PERCEPT_PIECE_TEXT, .text = "<|vision_start|>" };
	pieces[1] = (struct percept_piece){ .kind = PERCEPT_PIECE_ROWS, .count = e->n };
	pieces[2] = (struct percept_piece){ .kind = PERCEPT_PIECE_TEXT, .text = "<|vision_end|>" };
	return layout->rows ? merger_positions(call, p, layout, e) : 0;
}

/* (n / side^2, side^2 * dim) of x (n, dim): a window's patches, row by row, beside each other. */
static struct nn_tensor merger_gather(struct nn *c, const struct merger *p, const struct percept_layout *l, struct nn_tensor x)
{
	const size_t side = p->side, unit = side * side, across = l->cols / side, d = x.cols;
	struct nn_tensor y = nn_new(c, x.rows / unit, unit * d);

	for (size_t i = 0; y.data && x.data && i < x.rows; i++) {
		const size_t window = i / unit % (l->tokens / unit), k = i % unit;
		size_t from = i;

		if (l->rows)
			from = i / l->tokens * l->tokens + (window / across * side + k / side) * l->cols + window % across * side + k % side;
		memcpy(y.data + i / unit * y.stride + k * d, x.data + from * x.stride, d * sizeof(float));
	}
	return y;
}

static void merger_observe(struct percept_call *call, const struct nn *c, const char *name, struct nn_tensor x)
{
	if (call->host->observe && !c->error && x.stride == x.cols)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

/* W2 gelu(W1 windows(norm(x)) + b1) + b2. x (n, in_dim) -> (n / side^2, out_dim). */
static struct nn_tensor merger_forward(struct nn *c, struct percept_call *call, const struct merger *p,
				       const struct percept_layout *l, struct nn_tensor x)
{
	x = p->norm_bias ? nn_layer_norm(c, x, p->norm, p->norm_bias, merger_eps) : nn_rms_norm(c, x, p->norm, merger_eps);
	merger_observe(call, c, "ln_q", x);
	x = nn_gemm(c, merger_gather(c, p, l, x), p->w[0], p->b[0]);
	merger_observe(call, c, "mlp0", x);
	nn_activate(c, x, NN_GELU_ERF);
	return nn_gemm(c, x, p->w[1], p->b[1]);
}

/* What one connect() is about. */
struct merger_work {
	const struct merger *p;
	const struct percept_features *features;
};

static int merger_run(struct nn *c, struct percept_call *call, void *arg, float *data)
{
	const struct merger_work *w = arg;
	const struct percept_layout *l = &w->features->layout;
	const struct nn_tensor x = nn_view((float *)w->features->data, (size_t)l->items * l->tokens, w->p->in_dim);

	nn_part_copy(c, merger_forward(c, call, w->p, l, x), data);
	return c->error;
}

static int merger_connect(struct percept_call *call, void *connector, const struct percept_features *f, const char *instruction,
			  struct percept_embeddings *e)
{
	struct merger_work work = { connector, f };
	const int error = merger_plan(call, connector, &f->layout, e);

	return error ? error : nn_part_connect(call, e, "The merging of patches", merger_run, &work);
}

static const struct percept_option options[] = {
	NN_COMPUTE_OPTION,
};
static const struct percept_connector ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = merger_open, .close = nn_part_close, .info = merger_info, .plan = merger_plan,
	.connect = merger_connect,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_CONNECTOR, .name = "merger", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Patch mergers of Qwen2-VL and Qwen2.5-VL", .ops = &ops,
};

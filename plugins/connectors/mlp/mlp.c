/* mlp.c - the plugin: LLaVA's projectors, linear or mlpNx_gelu (Liu 2023): features to the decoder's embeddings. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <percept/plugin.h>

#include "sdk/nn/checkpoint.h"
#include "sdk/nn/ops.h"

enum { MLP_DEPTH_MAX = 16 };

struct mlp {
	struct nn_checkpoint *checkpoint;
	uint32_t depth;
	uint32_t bidirectional;        /* enum percept_bidirectional */
	enum nn_activation activation; /* between the layers */
	const struct nn_weight *w[MLP_DEPTH_MAX];
	const float *b[MLP_DEPTH_MAX];
	uint64_t weight_bytes;
	char identity[128];
};

/* How published checkpoints name layer i: `format` with first + i * step. */
static const struct mlp_names {
	const char *format;
	uint32_t first, step;
} mlp_names[] = {
	{ "multi_modal_projector.linear_%u", 1, 1 }, /* transformers */
	{ "mm_projector.%u", 0, 2 },                 /* LLaVA's own: the activations are numbered too */
	{ "mm_projector", 0, 0 },                    /* "linear" */
	{ "multi_modal_projector.linear", 0, 0 },    /* PaliGemma */
};

static const char *const mlp_prefixes[] = { "", "model.", NULL };

static void mlp_close(void *connector)
{
	struct mlp *p = connector;

	nn_checkpoint_close(p->checkpoint);
	free(p);
}

/* Layers of one naming, until one is not there. */
static void mlp_load(struct mlp *p, const struct mlp_names *names, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = p->checkpoint, .prefixes = mlp_prefixes, .error = error };
	const uint32_t most = names->step ? MLP_DEPTH_MAX : 1;
	char name[128];

	for (uint32_t i = 0; i < most && !error->code; i++) {
		snprintf(name, sizeof(name), names->format, names->first + i * names->step);
		struct nn_weight *w = nn_load_maybe(&l, 0, i ? p->w[i - 1]->rows : 0, "%s.weight", name);

		if (!w || nn_weight_pack(p->checkpoint, w, error))
			break;
		p->w[p->depth] = w;
		p->b[p->depth++] = nn_load_vector_maybe(&l, w->rows, "%s.bias", name);
		p->weight_bytes += w->bytes + w->rows * sizeof(float);
	}
}

static int mlp_read(struct mlp *p, const char *path, struct nn_error *error)
{
	p->checkpoint = nn_checkpoint_open(path, error);
	if (!p->checkpoint)
		return error->code ? error->code : -EINVAL;
	const char *name = nn_config_string(nn_checkpoint_config(p->checkpoint), "projector_hidden_act", "gelu");
	const char *type = nn_config_string(nn_checkpoint_config(p->checkpoint), "model_type", "");
	const int activation = nn_activation_named(name);

	p->bidirectional = strcmp(type, "paligemma") ? PERCEPT_CAUSAL : PERCEPT_BIDIRECTIONAL_PROMPT;
	if (activation < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", name);
	p->activation = (enum nn_activation)activation;
	for (size_t i = 0; i < sizeof(mlp_names) / sizeof(mlp_names[0]) && !p->depth && !error->code; i++)
		mlp_load(p, &mlp_names[i], error);
	if (!p->depth && !error->code)
		nn_fail(error, -EINVAL, "%s: no projector is in there: neither multi_modal_projector.linear_1 nor "
			"model.mm_projector.", path);
	return error->code;
}

static int mlp_open(struct percept_call *call, const struct percept_open *open, void **connector)
{
	struct nn_error error = { 0 };

	if (!open->model)
		return percept_fail(call, -EINVAL, "The mlp connector needs a model: name a directory with config.json and "
				    "model.safetensors.");
	struct mlp *p = calloc(1, sizeof(*p));

	if (!p)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	if (mlp_read(p, open->model, &error)) {
		mlp_close(p);
		return percept_fail(call, error.code ? error.code : -EINVAL, "%s", error.text);
	}
	snprintf(p->identity, sizeof(p->identity), "mlp-1-%s", nn_checkpoint_identity(p->checkpoint));
	*connector = p;
	return 0;
}

static int mlp_info(void *connector, struct percept_connector_info *info)
{
	const struct mlp *p = connector;

	*info = (struct percept_connector_info){
		.size = sizeof(*info), .in_dim = (uint32_t)p->w[0]->cols, .out_dim = (uint32_t)p->w[p->depth - 1]->rows,
		.position_components = 1, .bidirectional = p->bidirectional, .identity = p->identity, .weight_bytes = p->weight_bytes,
	};
	return 0;
}

static int mlp_plan(struct percept_call *call, void *connector, const struct percept_layout *layout,
		    struct percept_embeddings *e)
{
	const struct mlp *p = connector;
	const uint64_t n = (uint64_t)layout->items * layout->tokens;

	if (layout->dim != p->w[0]->cols)
		return percept_fail(call, -EINVAL, "The projector takes features of %zu values and was given %u.", p->w[0]->cols,
				    layout->dim);
	if (!n || n > INT32_MAX)
		return percept_fail(call, -EINVAL, "%u pieces of %u feature rows are out of range.", layout->items, layout->tokens);
	*e = (struct percept_embeddings){ .size = sizeof(*e), .n = (uint32_t)n, .dim = (uint32_t)p->w[p->depth - 1]->rows };
	return 0;
}

/* x_i+1 = W_i act(x_i) + b_i. x (n, in_dim) -> (n, out_dim). */
static struct nn_tensor mlp_forward(struct nn *c, struct percept_call *call, const struct mlp *p, struct nn_tensor x)
{
	char name[32];

	for (uint32_t i = 0; i < p->depth; i++) {
		if (i)
			nn_activate(c, x, p->activation);
		x = nn_gemm(c, x, p->w[i], p->b[i]);
		snprintf(name, sizeof(name), "linear_%u", i + 1);
		if (call->host->observe && !c->error)
			call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
	}
	return x;
}

static int mlp_connect(struct percept_call *call, void *connector, const struct percept_features *f, const char *instruction,
		       struct percept_embeddings *e)
{
	const struct mlp *p = connector;
	struct nn c = { .error = -ENOMEM };
	struct nn_tensor y = { 0 };
	int error = mlp_plan(call, connector, &f->layout, e);

	if (error)
		return error;
	struct nn_arena *arena = nn_arena_new(0);

	if (arena) {
		nn_begin(&c, call, arena);
		y = mlp_forward(&c, call, p, nn_view((float *)f->data, e->n, p->w[0]->cols));
	}
	float *data = c.error ? NULL : percept_alloc(call, (size_t)e->n * e->dim * sizeof(float));

	for (size_t i = 0; data && i < e->n; i++)
		memcpy(data + i * e->dim, y.data + i * y.stride, e->dim * sizeof(float));
	e->data = data;
	nn_arena_free(arena);
	if (data)
		return 0;
	return percept_fail(call, c.error ? c.error : -ENOMEM, "The projection %s.",
			    c.error == -ECANCELED ? "was cancelled" : "failed: memory is out");
}

static const struct percept_connector ops = {
	.size = sizeof(ops), .open = mlp_open, .close = mlp_close, .info = mlp_info, .plan = mlp_plan, .connect = mlp_connect,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_CONNECTOR, .name = "mlp", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Linear and MLP projectors of LLaVA", .ops = &ops,
};

/* mlp.c - the plugin: LLaVA's projectors, linear or mlpNx_gelu (Liu 2023), of one or several layers' features, and what
 * LLaVA-NeXT makes of tiles: features to the decoder's embeddings. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <percept/plugin.h>

#include "plugins/connectors/mlp/merge.h"
#include "plugins/connectors/mlp/mosaic.h"
#include "sdk/nn/checkpoint.h"
#include "sdk/nn/compute.h"
#include "sdk/nn/part.h"

enum { MLP_DEPTH_MAX = 16, MLP_MAPS_MAX = 64 };

struct mlp {
	struct nn_checkpoint *checkpoint;
	uint32_t depth;
	uint32_t bidirectional;        /* enum percept_bidirectional */
	enum nn_activation activation; /* between the layers */
	const struct nn_weight *w[MLP_DEPTH_MAX];
	const float *b[MLP_DEPTH_MAX];
	uint32_t maps, in_dim;         /* feature maps that stand side by side, and the values of each */
	const float *norm_w, *norm_b;  /* of all maps' values, before the first layer; NULL: none */
	float norm_eps;
	enum mosaic_merge merge;
	const float *newline;          /* [out_dim]; NULL: none */
	struct merge merge_patches;    /* Mistral 3 */
	int row_tokens;                /* Pixtral: a token behind each row of patches */
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

/* How many layers of the picture tower config.json lists. */
static uint32_t mlp_maps(const cJSON *config)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(config, "vision_feature_layers"); /* VIP-LLaVA */

	if (!cJSON_IsArray(list))
		list = cJSON_GetObjectItemCaseSensitive(config, "vision_feature_layer");
	return cJSON_IsArray(list) ? (uint32_t)cJSON_GetArraySize(list) : 1;
}

/* What is around the layers. */
static int mlp_read_rest(struct mlp *p, const cJSON *config, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = p->checkpoint, .prefixes = mlp_prefixes, .error = error };
	const size_t in = p->w[0]->cols;

	p->maps = mlp_maps(config);
	if (!p->maps || p->maps > MLP_MAPS_MAX || in % p->maps)
		return nn_fail(error, -EINVAL, "config.json: a projector of %zu values cannot take the features of %u layers.", in,
			       p->maps);
	p->in_dim = (uint32_t)(in / p->maps);
	p->norm_eps = (float)nn_config_real(config, "projector_layernorm_eps", 1e-5, error);
	p->norm_w = nn_load_vector_maybe(&l, in, "multi_modal_projector.projector_layernorm.weight");
	if (p->norm_w)
		p->norm_b = nn_load_vector(&l, in, "multi_modal_projector.projector_layernorm.bias");
	p->newline = nn_load_vector_maybe(&l, p->w[p->depth - 1]->rows, "image_newline");
	const int merge = mosaic_named(config, p->newline != NULL, error);

	if (!(p->norm_eps >= 0 && p->norm_eps < 1))
		nn_fail(error, -EINVAL, "config.json: projector_layernorm_eps is out of range.");
	p->merge = merge < 0 ? MOSAIC_FLAT : (enum mosaic_merge)merge;
	p->row_tokens = !strcmp(nn_config_string(nn_config_object(config, "vision_config"), "model_type", ""), "pixtral");
	return error->code ? error->code : merge_load(&p->merge_patches, &l, config, p->maps > 1 ? 0 : in);
}

static int mlp_read(void *connector, const struct percept_open *open, struct nn_error *error)
{
	struct mlp *p = connector;
	const cJSON *config = nn_checkpoint_config(p->checkpoint);
	const char *name = nn_config_string(config, "projector_hidden_act", "gelu");
	const int activation = nn_activation_named(name);

	p->bidirectional = strcmp(nn_config_string(config, "model_type", ""), "paligemma") ? PERCEPT_CAUSAL : PERCEPT_BIDIRECTIONAL_PROMPT;
	if (activation < 0)
		return nn_fail(error, -ENOTSUP, "config.json: the activation \"%.64s\" is not known here.", name);
	p->activation = (enum nn_activation)activation;
	snprintf(p->identity, sizeof(p->identity), "mlp-1-%s-%s", nn_checkpoint_identity(p->checkpoint),
		 nn_compute_name(nn_compute_option(open)));
	for (size_t i = 0; i < sizeof(mlp_names) / sizeof(mlp_names[0]) && !p->depth && !error->code; i++)
		mlp_load(p, &mlp_names[i], error);
	if (!p->depth && !error->code)
		nn_fail(error, -EINVAL, "%s: no projector is in there: neither multi_modal_projector.linear_1 nor "
			"model.mm_projector.", open->model);
	return error->code ? error->code : mlp_read_rest(p, config, error);
}

static int mlp_open(struct percept_call *call, const struct percept_open *open, void **connector)
{
	static const struct nn_part part = { "mlp connector", sizeof(struct mlp), mlp_read, nn_part_close };

	return nn_part_open(call, open, &part, connector);
}

static int mlp_info(void *connector, struct percept_connector_info *info)
{
	const struct mlp *p = connector;

	*info = (struct percept_connector_info){
		.size = sizeof(*info), .in_dim = p->in_dim, .n_extra = p->maps - 1, .out_dim = (uint32_t)p->w[p->depth - 1]->rows,
		.position_components = 1, .bidirectional = p->bidirectional, .identity = p->identity, .weight_bytes = p->weight_bytes,
	};
	return 0;
}

/* Pixtral: each row of patches, and a token for its end or the picture's. */
static int mlp_rows(struct percept_call *call, uint32_t rows, uint32_t cols, uint32_t each, struct percept_embeddings *e)
{
	struct percept_piece *pieces = percept_alloc(call, 2 * (size_t)rows * sizeof(*pieces));

	if (!pieces)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < rows; i++) {
		pieces[2 * i] = (struct percept_piece){ .kind = PERCEPT_PIECE_ROWS, .first = i * cols, .count = cols };
		pieces[2 * i + 1] = (struct percept_piece){ .kind = PERCEPT_PIECE_TEXT,
							    .text = (i + 1) % each ? "[IMG_BREAK]" : "[IMG_END]" };
	}
	e->n_pieces = 2 * rows;
	e->pieces = pieces;
	return 0;
}

static int mlp_plan(struct percept_call *call, void *connector, const struct percept_layout *layout,
		    struct percept_embeddings *e)
{
	const struct mlp *p = connector;

	if (layout->dim != p->in_dim)
		return percept_fail(call, -EINVAL, "The projector takes features of %u values and was given %u.", p->in_dim, layout->dim);
	struct percept_layout merged = *layout;
	const uint32_t n = merge_layout(&p->merge_patches, &merged) ? 0 : mosaic_order(p->merge, &merged, NULL);

	if (!n)
		return percept_fail(call, -EINVAL, "%u pieces of %u feature rows are out of range, or no grid of %u x %u tiles.",
				    layout->items, layout->tokens, layout->grid_rows, layout->grid_cols);
	*e = (struct percept_embeddings){ .size = sizeof(*e), .n = n, .dim = (uint32_t)p->w[p->depth - 1]->rows };
	if (p->row_tokens && merged.rows && merged.cols && (uint64_t)merged.items * merged.rows * merged.cols == n)
		return mlp_rows(call, merged.items * merged.rows, merged.cols, merged.rows, e);
	return 0;
}

static void mlp_observe(struct nn *c, struct percept_call *call, const char *name, struct nn_tensor x)
{
	if (call->host->observe && !c->error)
		call->host->observe(call, name, x.data, (const uint64_t[]){ x.rows, x.cols }, 2);
}

/* (n, maps * in_dim): the features of all layers side by side, normed where the projector is VIP-LLaVA's. */
static struct nn_tensor mlp_input(struct nn *c, const struct mlp *p, const struct percept_features *f)
{
	const size_t n = (size_t)f->layout.items * f->layout.tokens, dim = p->in_dim;

	if (p->maps == 1 && !p->norm_w)
		return merge_forward(c, &p->merge_patches, nn_view((float *)f->data, n, dim), &f->layout);
	struct nn_tensor x = nn_new(c, n, p->maps * dim);

	for (size_t i = 0; x.data && i < n * p->maps; i++) {
		const float *from = i % p->maps ? f->extra[i % p->maps - 1] : f->data;

		memcpy(x.data + i / p->maps * x.stride + i % p->maps * dim, from + i / p->maps * dim, dim * sizeof(float));
	}
	return p->norm_w ? nn_layer_norm(c, x, p->norm_w, p->norm_b, p->norm_eps) : x;
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
		mlp_observe(c, call, name, x);
	}
	mlp_observe(c, call, "projected", x);
	return x;
}

/* data [e->n][e->dim] = y's rows in the order that the prompt wants. */
static void mlp_arrange(struct nn *c, const struct mlp *p, const struct percept_layout *layout, struct nn_tensor y,
			const struct percept_embeddings *e, float *data)
{
	uint32_t *order = nn_memory(c, e->n, sizeof(*order));

	if (!order)
		return;
	mosaic_order(p->merge, layout, order);
	for (size_t i = 0; i < e->n; i++)
		memcpy(data + i * e->dim, order[i] == MOSAIC_NEWLINE ? p->newline : y.data + order[i] * y.stride, e->dim * sizeof(float));
}

/* What one connect() is about. */
struct mlp_work {
	const struct mlp *p;
	const struct percept_features *features;
	const struct percept_embeddings *e;
};

static int mlp_run(struct nn *c, struct percept_call *call, void *arg, float *data)
{
	const struct mlp_work *w = arg;
	struct percept_layout merged = w->features->layout;
	struct nn_tensor y = mlp_forward(c, call, w->p, mlp_input(c, w->p, w->features));

	merge_layout(&w->p->merge_patches, &merged);
	if (!c->error)
		mlp_arrange(c, w->p, &merged, y, w->e, data);
	return c->error;
}

static int mlp_connect(struct percept_call *call, void *connector, const struct percept_features *f, const char *instruction,
		       struct percept_embeddings *e)
{
	const struct mlp *p = connector;
	struct mlp_work work = { p, f, e };
	const int error = mlp_plan(call, connector, &f->layout, e);

	if (error)
		return error;
	if (f->n_extra != p->maps - 1 || (f->n_extra && !f->extra))
		return percept_fail(call, -EINVAL, "The projector takes the features of %u layers and was given those of %u.", p->maps,
				    f->n_extra + 1);
	return nn_part_connect(call, e, "The projection", mlp_run, &work);
}

static const struct percept_option options[] = {
	NN_COMPUTE_OPTION,
};
static const struct percept_connector ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = mlp_open, .close = nn_part_close, .info = mlp_info, .plan = mlp_plan, .connect = mlp_connect,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_CONNECTOR, .name = "mlp", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Linear and MLP projectors of LLaVA", .ops = &ops,
};

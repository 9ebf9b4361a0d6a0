/* resampler.c - the plugin: however many rows a picture has, as many embeddings as the model has latents or queries. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/connectors/resampler/perceiver.h"
#include "plugins/connectors/resampler/queries.h"
#include "sdk/nn/compute.h"
#include "sdk/nn/part.h"

enum { RESAMPLER_GROUPS_MAX = 1 << 16 };

struct resampler {
	struct nn_checkpoint *checkpoint;
	int perceives;                    /* a perceiver, else queries over a grid */
	struct perceiver perceiver;
	struct queries queries;
	struct queries_affine projection; /* of a perceiver's latents; w NULL: none */
	uint32_t frames;                  /* pieces that a perceiver reads together; 0: all of an item */
	int tagged;                       /* MiniCPM-V puts tags around a picture */
	uint32_t in_dim, out_dim, each;   /* each: embeddings of a picture */
	uint64_t weight_bytes;
	char identity[192];
};

static void resampler_close(void *connector)
{
	struct resampler *r = connector;

	perceiver_fini(&r->perceiver);
	nn_part_close(r);
}

/* The latents as they are, or with what makes them as wide as the decoder. */
static int resampler_load_perceiver(struct resampler *r, struct nn_error *error)
{
	static const char *const prefixes[] = { "projection", "language_projection", "proj", NULL };
	struct nn_loader l = { .checkpoint = r->checkpoint, .prefixes = prefixes, .error = error };
	struct perceiver *p = &r->perceiver;

	if (perceiver_load(p, r->checkpoint, error))
		return error->code;
	struct nn_weight *w = nn_load_maybe(&l, 0, p->dim, ".weight");

	if (w && w->rows > PERCEIVER_DIM_MAX)
		return nn_fail(error, -EINVAL, "The projection has %zu rows: more than is possible.", w->rows);
	if (w && !nn_weight_pack(r->checkpoint, w, error))
		r->projection = (struct queries_affine){ w, nn_load_vector_maybe(&l, w->rows, ".bias") };
	r->in_dim = p->dim;
	r->out_dim = r->projection.w ? (uint32_t)r->projection.w->rows : p->dim;
	r->each = p->n_latents;
	r->weight_bytes = p->weight_bytes + (r->projection.w ? r->projection.w->bytes : 0);
	return error->code;
}

static int resampler_load(void *connector, const struct percept_open *open, struct nn_error *error)
{
	const struct percept_value *frames = percept_option(open, "frames");
	struct resampler *r = connector;
	const char *type;

	r->frames = frames ? (uint32_t)frames->integer : 0;
	snprintf(r->identity, sizeof(r->identity), "resampler-1-%s-frames%u-%s", nn_checkpoint_identity(r->checkpoint), r->frames,
		 nn_compute_name(nn_compute_option(open)));
	r->perceives = perceiver_is_there(r->checkpoint);
	if (r->perceives)
		return resampler_load_perceiver(r, error);
	if (!queries_are_there(r->checkpoint))
		return nn_fail(error, -EINVAL, "%s: there is neither a perceiver nor MiniCPM-V's kind of resampler in the files.",
			       nn_checkpoint_path(r->checkpoint));
	if (queries_load(&r->queries, r->checkpoint, error))
		return error->code;
	type = nn_config_string(nn_checkpoint_config(r->checkpoint), "model_type", "");
	r->tagged = !strcmp(type, "minicpmv");
	r->in_dim = r->queries.in_dim;
	r->out_dim = r->queries.out_dim;
	r->each = r->queries.n;
	r->weight_bytes = r->queries.weight_bytes;
	return 0;
}

static int resampler_open(struct percept_call *call, const struct percept_open *open, void **connector)
{
	static const struct nn_part part = { "resampler connector", sizeof(struct resampler), resampler_load, resampler_close };

	return nn_part_open(call, open, &part, connector);
}

static int resampler_info(void *connector, struct percept_connector_info *info)
{
	const struct resampler *r = connector;

	*info = (struct percept_connector_info){
		.size = sizeof(*info), .in_dim = r->in_dim, .out_dim = r->out_dim, .position_components = 1, .identity = r->identity,
		.max_rows = r->perceives && !r->frames ? r->each : 0, .weight_bytes = r->weight_bytes,
	};
	return 0;
}

/* The pieces that are read together; *groups of them. A perceiver reads all of an item, or as many as the option says; queries read
 * one grid. */
static int resampler_groups(struct percept_call *call, const struct resampler *r, const struct percept_layout *l, uint32_t *together,
			    uint32_t *groups)
{
	struct percept_layout one = *l;
	char text[256];

	*together = one.items = !r->perceives ? 1 : r->frames && r->frames < l->items ? r->frames : l->items;
	const char *fault = r->perceives ? perceiver_fault(&r->perceiver, &one, text) : NULL;

	if (fault)
		return percept_fail(call, -EINVAL, "%s", fault);
	*groups = *together ? l->items / *together : 0;
	if (l->dim != r->in_dim)
		return percept_fail(call, -EINVAL, "The resampler takes features of %u values and was given %u.", r->in_dim, l->dim);
	if (!*groups || l->items % *together || *groups > RESAMPLER_GROUPS_MAX || (uint64_t)*groups * r->each > INT32_MAX)
		return percept_fail(call, -EINVAL, "%u pieces cannot be resampled %u at a time.", l->items, *together);
	if (r->perceives && r->perceiver.n_times && *groups > r->perceiver.n_times)
		return percept_fail(call, -EINVAL, "The resampler was trained for %u pictures and was given %u.", r->perceiver.n_times, *groups);
	return 0;
}

/* The grid of one piece: as the layout says, else a square. */
static int resampler_grid(struct percept_call *call, const struct percept_layout *l, uint32_t *rows, uint32_t *cols)
{
	const uint32_t side = (uint32_t)(sqrt((double)l->tokens) + 0.5);

	*rows = l->rows && l->cols ? l->rows : side;
	*cols = l->rows && l->cols ? l->cols : side;
	if (l->has_class || !l->tokens || l->tokens > QUERIES_ROWS_MAX || (uint64_t)*rows * *cols != l->tokens)
		return percept_fail(call, -EINVAL, "This resampler takes grids of patches without a class token, and was given %u rows.",
				    l->tokens);
	return 0;
}

/* The rows of each picture in its tags. */
static int resampler_pieces(struct percept_call *call, const struct resampler *r, uint32_t groups, struct percept_embeddings *e)
{
	struct percept_piece *pieces = percept_alloc(call, (size_t)groups * 3 * sizeof(*pieces));

	if (!pieces)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < groups; i++) {
		pieces[3 * i] = (struct percept_piece){ .kind = PERCEPT_PIECE_TEXT, .text = "<image>" };
		pieces[3 * i + 1] = (struct percept_piece){ .kind = PERCEPT_PIECE_ROWS, .first = i * r->each, .count = r->each };
		pieces[3 * i + 2] = (struct percept_piece){ .kind = PERCEPT_PIECE_TEXT, .text = "</image>" };
	}
	e->pieces = pieces;
	e->n_pieces = groups * 3;
	return 0;
}

static int resampler_plan(struct percept_call *call, void *connector, const struct percept_layout *layout, struct percept_embeddings *e)
{
	const struct resampler *r = connector;
	uint32_t together, groups, rows, cols;
	int error = resampler_groups(call, r, layout, &together, &groups);

	if (!error && !r->perceives)
		error = resampler_grid(call, layout, &rows, &cols);
	if (error)
		return error;
	*e = (struct percept_embeddings){ .size = sizeof(*e), .n = groups * r->each, .dim = r->out_dim };
	return r->tagged ? resampler_pieces(call, r, groups, e) : 0;
}

/* Each group by itself, to data [groups][each][out_dim]. */
static int resampler_run(struct nn *c, struct percept_call *call, const struct resampler *r, const struct percept_features *f, float *data)
{
	const struct percept_layout *l = &f->layout;
	uint32_t together, groups, rows = 0, cols = 0;
	int error = resampler_groups(call, r, l, &together, &groups);

	if (!error && !r->perceives)
		error = resampler_grid(call, l, &rows, &cols);
	for (uint32_t i = 0; !error && i < groups; i++) {
		const struct nn_arena_mark mark = nn_arena_mark(c->arena);
		const size_t n = (size_t)together * l->tokens;
		struct nn_tensor x = nn_view((float *)f->data + i * n * l->dim, n, l->dim);
		struct nn_tensor y = r->perceives ? perceiver_forward(c, call, &r->perceiver, x, together, i) :
						    queries_forward(c, &r->queries, x, rows, cols);

		if (r->projection.w)
			y = nn_gemm(c, y, r->projection.w, r->projection.b);
		for (size_t row = 0; !c->error && row < y.rows; row++, data += y.cols)
			memcpy(data, y.data + row * y.stride, y.cols * sizeof(*data));
		nn_arena_release(c->arena, mark);
		error = c->error;
	}
	return error;
}

static int resampler_connect(struct percept_call *call, void *connector, const struct percept_features *f, const char *instruction,
			     struct percept_embeddings *e)
{
	const struct resampler *r = connector;
	int error = resampler_plan(call, connector, &f->layout, e);
	struct nn c;

	(void)instruction;
	if (error)
		return error;
	struct nn_arena *arena = nn_arena_new(0);
	float *data = percept_alloc(call, (size_t)e->n * e->dim * sizeof(*data));

	if (!arena || !data) {
		nn_arena_free(arena);
		return percept_fail(call, -ENOMEM, "Memory is out.");
	}
	nn_begin(&c, call, arena);
	error = resampler_run(&c, call, r, f, data);
	e->data = data;
	nn_arena_free(arena);
	if (error)
		percept_fail(call, error, "The resampling %s.", error == -ECANCELED ? "was cancelled" : "failed: memory is out");
	return error;
}

static const struct percept_option options[] = {
	{ .name = "frames", .type = PERCEPT_OPTION_INT, .min = 1, .max = RESAMPLER_GROUPS_MAX,
	  .help = "pieces of an item, frames or tiles, that a perceiver reads at a time; all by default" },
	NN_COMPUTE_OPTION,
};
static const struct percept_connector ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = resampler_open,
	.close = resampler_close, .info = resampler_info, .plan = resampler_plan, .connect = resampler_connect,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_CONNECTOR, .name = "resampler", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Perceiver resamplers of Flamingo and Idefics, query resamplers of MiniCPM-V", .ops = &ops,
};

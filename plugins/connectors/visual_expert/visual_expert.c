/* visual_expert.c - the plugin: a picture's rows through experts of their own inside the decoder's layers. */
#include "plugins/connectors/visual_expert/visual_expert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/compute.h"
#include "sdk/nn/part.h"

/* An item's embeddings, begin and end among them. */
struct remembered {
	uint32_t rows; /* its patches */
	float data[];  /* [rows + EXPERT_AROUND][d_model] */
};

static void expert_close(void *fusion)
{
	visual_expert_fini(fusion);
	free(fusion);
}

static const char *expert_text(const struct percept_open *open, const char *name)
{
	const struct percept_value *value = percept_option(open, name);

	return value && value->string && value->string[0] ? value->string : NULL;
}

static int expert_read(void *fusion, const struct percept_open *open, struct nn_error *error)
{
	struct visual_expert *v = fusion;
	const char *compute = expert_text(open, "compute");
	const int fast = !compute || strcmp(compute, "f32");

	v->max_sequences = open->max_sequences;
	if (visual_expert_load(v, expert_text(open, "experts"), fast, error))
		return error->code ? error->code : -EINVAL;
	snprintf(v->identity, sizeof(v->identity), "visual_expert-1-%s-%s-%s%s", nn_checkpoint_identity(v->checkpoint),
		 nn_checkpoint_identity(v->experts), nn_compute_name(nn_compute_option(open)), fast ? "" : "-exact");
	return 0;
}

static int expert_open(struct percept_call *call, const struct percept_open *open, void **fusion)
{
	static const struct nn_part part = { "visual_expert connector", sizeof(struct visual_expert), expert_read, expert_close };

	return nn_part_open(call, open, &part, fusion);
}

static int expert_info(void *fusion, struct percept_fusion_info *info)
{
	const struct visual_expert *v = fusion;

	*info = (struct percept_fusion_info){
		.size = sizeof(*info), .in_dim = v->in_dim, .d_model = v->d_model, .n_layers = v->n_layers,
		.hooks = PERCEPT_CAN_HOOK_PROJECT, .max_rows = EXPERT_ROWS_MAX + EXPERT_AROUND, .identity = v->identity, .weight_bytes = v->weight_bytes,
		.qkv_dim = v->qkv_dim, .out_dim = v->out_dim,
	};
	return 0;
}

/* All patches stand at one place, between those of begin and end. The end is the language model's to compute. */
static int expert_place(struct percept_call *call, struct percept_embeddings *e, uint32_t rows, uint32_t dim)
{
	struct percept_piece *pieces = percept_alloc(call, 2 * sizeof(*pieces));
	int32_t *positions = percept_alloc(call, ((size_t)rows + EXPERT_AROUND) * 4 * sizeof(*positions));

	if (!pieces || !positions)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	pieces[0] = (struct percept_piece){ .kind = PERCEPT_PIECE_ROWS, .first = 0, .count = rows + 1 };
	pieces[1] = (struct percept_piece){ .kind = PERCEPT_PIECE_ROWS, .first = rows + 1, .count = 1, .unowned = 1 };
	for (size_t i = 0; i < ((size_t)rows + EXPERT_AROUND) * 4; i++)
		positions[i] = i < 4 ? 0 : i < ((size_t)rows + 1) * 4 ? 1 : 2;
	*e = (struct percept_embeddings){ .size = sizeof(*e), .n = rows + EXPERT_AROUND, .dim = dim, .n_pieces = 2, .pieces = pieces,
					  .positions = positions, .position_span = 3 };
	return 0;
}

static int expert_plan(struct percept_call *call, void *fusion, const struct percept_layout *layout, struct percept_embeddings *e)
{
	const struct visual_expert *v = fusion;
	const uint32_t rows = project_rows(call, v, layout);

	return rows ? expert_place(call, e, rows, v->d_model) : -EINVAL;
}

static int expert_remember(struct percept_call *call, void *fusion, const struct percept_features *f, void **memory, uint64_t *bytes)
{
	const struct visual_expert *v = fusion;
	const uint32_t rows = project_rows(call, v, &f->layout);
	const size_t size = sizeof(struct remembered) + ((size_t)rows + EXPERT_AROUND) * v->d_model * sizeof(float);
	struct remembered *m = rows ? malloc(size) : NULL;

	if (!rows)
		return -EINVAL;
	if (!m)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	m->rows = rows;
	const int error = project_features(call, v, f, m->data);

	if (error) {
		free(m);
		return error;
	}
	*memory = m;
	*bytes = size;
	return 0;
}

static void expert_forget(void *fusion, void *memory)
{
	(void)fusion;
	free(memory);
}

static int expert_embed(struct percept_call *call, void *fusion, void *memory, struct percept_embeddings *e)
{
	const struct visual_expert *v = fusion;
	const struct remembered *m = memory;
	const size_t bytes = ((size_t)m->rows + EXPERT_AROUND) * v->d_model * sizeof(float);
	float *data = percept_alloc(call, bytes);

	if (!data)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	memcpy(data, m->data, bytes);
	const int error = expert_place(call, e, m->rows, v->d_model);

	e->data = data;
	return error;
}

/* Which weights take a row, the row says: an item's memory is not looked at again. */
static int expert_bind(struct percept_call *call, void *fusion, uint32_t sequence, uint32_t media, void *memory)
{
	const struct visual_expert *v = fusion;

	if (memory && (sequence >= v->max_sequences || !media))
		return percept_fail(call, -EINVAL, "The visual expert was given item %u of sequence %u; there are %u sequences.", media, sequence,
				    v->max_sequences);
	return 0;
}

static int expert_hooks(struct percept_call *call, void *fusion, struct percept_hooks *hooks)
{
	(void)call;
	*hooks = (struct percept_hooks){ .size = sizeof(*hooks), .state = fusion, .project = experts_project };
	return 0;
}

static const struct percept_option options[] = {
	{ .name = "experts", .type = PERCEPT_OPTION_PATH,
	  .help = "the language model's file or directory, which has the experts, where the model is a projector's GGUF file" },
	NN_COMPUTE_OPTION,
};
static const struct percept_fusion ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = expert_open,
	.close = expert_close, .info = expert_info, .remember = expert_remember, .forget = expert_forget, .embed = expert_embed,
	.bind = expert_bind, .hooks = expert_hooks, .plan = expert_plan,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_FUSION, .name = "visual_expert", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "CogVLM's visual expert: weights of its own for a picture's rows in every layer", .ops = &ops,
};

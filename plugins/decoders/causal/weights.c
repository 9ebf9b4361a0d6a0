/* weights.c - a model's tensors by their names in either kind of file. */
#include "plugins/decoders/causal/model.h"

#include <errno.h>
#include <stdio.h>

#include "plugins/decoders/causal/names.h"

struct nn_weight *model_weight_maybe(struct model *m, size_t rows, size_t cols, const char *name, uint32_t layer)
{
	char full[NN_NAMES_MAX];

	names_tensor(m, name, layer, 0, full);
	return nn_load_maybe(&m->body, rows, cols, "%s", full);
}

struct nn_weight *model_weight(struct model *m, size_t rows, size_t cols, const char *name, uint32_t layer)
{
	char full[NN_NAMES_MAX];

	names_tensor(m, name, layer, 0, full);
	return nn_load(&m->body, rows, cols, "%s", full);
}

/* Counts weights whose codes are not those of their file. */
static void model_recoded(struct model *m, const struct nn_weight *w)
{
	const char *computed = nn_weight_computed(w);
	uint32_t i = 0;

	if (!computed || w->format == nn_block_format_named(computed))
		return;
	while (i + 1 < MODEL_RECODED && m->recoded[i].n && m->recoded[i].format != w->format)
		i++;
	m->recoded[i].format = w->format;
	m->recoded[i].n++;
}

const struct nn_weight *model_pack(struct model *m, struct nn_weight *w)
{
	if (!w && !m->body.error->code)
		nn_fail(m->body.error, -ENOMEM, "Memory is out.");
	if (!w || (m->fast ? nn_weight_pack_codes : nn_weight_pack)(m->checkpoint, w, m->body.error))
		return NULL;
	m->weight_bytes += w->packed_bytes;
	model_recoded(m, w);
	return w;
}

const struct nn_weight *model_matrix(struct model *m, size_t rows, size_t cols, const char *name, uint32_t layer)
{
	struct nn_weight *w = model_weight(m, rows, cols, name, layer);

	return w ? model_pack(m, w) : NULL;
}

const struct nn_weight *model_rows(struct model *m, const struct nn_weight *w, size_t first, size_t rows)
{
	return w ? model_pack(m, nn_weight_rows(m->checkpoint, w, first, rows, 0)) : NULL;
}

const float *model_vector_maybe(struct model *m, size_t n, const char *name, uint32_t layer)
{
	char full[NN_NAMES_MAX];

	names_tensor(m, name, layer, 0, full);
	const float *v = nn_load_vector_maybe(&m->body, n, "%s", full);

	m->weight_bytes += v ? n * sizeof(float) : 0;
	return v;
}

const float *model_vector(struct model *m, size_t n, const char *name, uint32_t layer)
{
	char full[NN_NAMES_MAX];

	names_tensor(m, name, layer, 0, full);
	const float *v = nn_load_vector(&m->body, n, "%s", full);

	m->weight_bytes += v ? n * sizeof(float) : 0;
	return v;
}

/* A norm without weights: they are 1. */
static struct norm model_norm_ones(struct model *m, size_t n)
{
	float *w = nn_checkpoint_alloc(m->checkpoint, n * sizeof(*w));

	if (!w)
		nn_fail(m->body.error, -ENOMEM, "Memory is out.");
	for (size_t i = 0; w && i < n; i++)
		w[i] = 1;
	return (struct norm){ w, NULL };
}

struct norm model_norm(struct model *m, size_t n, const char *name, uint32_t layer)
{
	char full[NN_NAMES_MAX];

	if (m->shape.norm_ones)
		return model_norm_ones(m, n);
	snprintf(full, sizeof(full), "%s.weight", name);
	struct norm norm = { .w = model_vector(m, n, full, layer) };
	float *w = norm.w && m->shape.norm_base ? nn_checkpoint_alloc(m->checkpoint, n * sizeof(*w)) : NULL;

	if (norm.w && m->shape.norm_base && !w)
		nn_fail(m->body.error, -ENOMEM, "Memory is out.");
	for (size_t i = 0; w && i < n; i++)
		w[i] = norm.w[i] + m->shape.norm_base;
	if (w)
		norm.w = w;
	snprintf(full, sizeof(full), "%s.bias", name);
	if (m->shape.layer_norm)
		norm.b = model_vector_maybe(m, n, full, layer);
	return norm;
}

/* load.c - the connector's configuration and weights. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/connectors/gated_cross_attention/gated.h"

enum { LOAD_NAME_MAX = 192 };

static const char *const load_prefixes[] = { "model.", "", "lang_encoder.", NULL };

const struct nn_weight *gated_pack(struct gated *g, struct nn_loader *l, struct nn_weight *w, int once)
{
	const int failed = !w || (once ? nn_weight_pack_as(l->checkpoint, w, g->compute, l->error) :
					 nn_weight_pack_rows(l->checkpoint, w, l->error));

	g->weight_bytes += failed ? 0 : w->bytes;
	return failed ? NULL : w;
}

const struct nn_weight *gated_matrix(struct gated *g, struct nn_loader *l, size_t rows, size_t cols, int once, const char *format, ...)
{
	char name[LOAD_NAME_MAX];
	va_list list;

	va_start(list, format);
	vsnprintf(name, sizeof(name), format, list);
	va_end(list);
	return gated_pack(g, l, nn_load(l, rows, cols, "%s.weight", name), once);
}

struct gated_norm gated_norm(struct gated *g, struct nn_loader *l, size_t n, const char *format, ...)
{
	char name[LOAD_NAME_MAX];
	va_list list;

	va_start(list, format);
	vsnprintf(name, sizeof(name), format, list);
	va_end(list);
	g->weight_bytes += n * sizeof(float) * (g->kind->rms ? 1 : 2);
	return (struct gated_norm){ .w = nn_load_vector(l, n, "%s.weight", name),
				    .b = g->kind->rms ? NULL : nn_load_vector(l, n, "%s.bias", name) };
}

const float *gated_gate(struct gated *g, struct nn_loader *l, const char *format, ...)
{
	char name[LOAD_NAME_MAX];
	va_list list;

	va_start(list, format);
	vsnprintf(name, sizeof(name), format, list);
	va_end(list);
	struct nn_weight *w = nn_load(l, 0, 0, "%s", name);
	const size_t n = w ? w->rows * w->cols : 0;

	if (!w)
		return NULL;
	if (n != 1 && n != g->d_model) {
		nn_fail(l->error, -EINVAL, "%s has %zu values; a gate has one, or %u.", name, n, g->d_model);
		return NULL;
	}
	const float *from = nn_weight_f32(l->checkpoint, w);
	float *to = from ? nn_checkpoint_alloc(l->checkpoint, g->d_model * sizeof(*to)) : NULL;

	if (!to)
		nn_fail(l->error, -ENOMEM, "Memory is out.");
	for (size_t i = 0; to && i < g->d_model; i++)
		to[i] = tanhf(from[n == 1 ? 0 : i]);
	return to;
}

/* Which family the files are of. */
static const struct gated_kind *load_kind(const struct gated *g)
{
	const char *type = nn_config_string(nn_checkpoint_config(g->checkpoint), "model_type", "");

	return strcmp(type, "idefics") ? &gated_flamingo : &gated_idefics;
}

/* The numbers fit together, and each block's place is known. */
static int load_check(struct gated *g, struct nn_error *error)
{
	if (!g->n_blocks)
		return nn_fail(error, -EINVAL, "%s: there are no layers of gated cross-attention in the files.",
			       nn_checkpoint_path(g->checkpoint));
	if (!g->n_heads || !g->head_dim || g->head_dim > NN_HEAD || (uint64_t)g->n_heads * g->head_dim > GATED_DIM_MAX ||
	    !(g->norm_eps >= 0 && isfinite(g->norm_eps)))
		return nn_fail(error, -EINVAL, "config.json: %u heads of %u values, or the norms' epsilon, are out of range.", g->n_heads,
			       g->head_dim);
	return 0;
}

/* Pictures' rows as they come, or resampled. */
static int load_perceiver(struct gated *g, struct nn_error *error)
{
	g->in_dim = g->media_dim;
	if (!g->resamples)
		return 0;
	nn_checkpoint_compute(g->checkpoint, g->compute);
	perceiver_load(&g->perceiver, g->checkpoint, error);
	nn_checkpoint_compute(g->checkpoint, NN_COMPUTE_F32);
	if (!error->code && g->perceiver.dim != g->media_dim)
		return nn_fail(error, -EINVAL, "%s: the resampler gives rows of %u values, and the layers of cross-attention take %u.",
			       nn_checkpoint_path(g->checkpoint), g->perceiver.dim, g->media_dim);
	g->weight_bytes += g->perceiver.weight_bytes;
	return error->code;
}

int gated_load(struct gated *g, struct nn_error *error)
{
	struct nn_loader l = { .checkpoint = g->checkpoint, .prefixes = load_prefixes, .error = error };

	g->kind = load_kind(g);
	g->activation = g->kind->activation;
	g->at = calloc(GATED_LAYERS_MAX, sizeof(*g->at));
	if (!g->at)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	if (g->kind->configure(g, &l, nn_checkpoint_config(g->checkpoint)) || load_check(g, error) || load_perceiver(g, error))
		return error->code;
	g->blocks = calloc(g->n_blocks, sizeof(*g->blocks));
	if (!g->blocks)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	for (uint32_t layer = 0; layer < g->n_at && !error->code; layer++)
		if (g->at[layer])
			g->kind->load(g, &l, &g->blocks[g->at[layer] - 1], layer);
	g->page = (struct nn_page_shape){ .kv_heads = g->n_heads, .dk = g->head_dim, .dv = g->head_dim, .type = NN_PAGE_F32 };
	return error->code;
}

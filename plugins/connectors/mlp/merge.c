/* merge.c - blocks of patches become one row each. */
#include "plugins/connectors/mlp/merge.h"

#include <errno.h>

int merge_load(struct merge *m, struct nn_loader *l, const cJSON *config, size_t dim)
{
	const int64_t side = nn_config_int(config, "spatial_merge_size", 2, 1, 16, l->error);
	const char *name = "multi_modal_projector.patch_merger.merging_layer.weight";

	if (l->error->code || !dim || !nn_load_maybe(l, 0, 0, "%s", name))
		return l->error->code;
	struct nn_weight *w = nn_load(l, dim, dim * (size_t)(side * side), "%s", name);

	m->side = (uint32_t)side;
	m->norm = nn_load_vector(l, dim, "multi_modal_projector.norm.weight");
	m->eps = (float)nn_config_real(nn_config_object(config, "text_config"), "rms_norm_eps", 1e-6, l->error);
	if (!(m->eps >= 0 && m->eps < 1))
		nn_fail(l->error, -EINVAL, "config.json: rms_norm_eps is out of range.");
	nn_weight_pack(l->checkpoint, w, l->error);
	m->w = w;
	return l->error->code;
}

int merge_layout(const struct merge *m, struct percept_layout *l)
{
	if (!m->w)
		return 0;
	if (!l->rows || !l->cols || (uint64_t)l->rows * l->cols != l->tokens || l->rows < m->side || l->cols < m->side)
		return -EINVAL;
	l->rows /= m->side;
	l->cols /= m->side;
	l->tokens = l->rows * l->cols;
	return 0;
}

struct nn_tensor merge_forward(struct nn *c, const struct merge *m, struct nn_tensor x, const struct percept_layout *l)
{
	if (!m->w)
		return x;
	const uint32_t s = m->side, rows = l->rows / s, cols = l->cols / s;
	const size_t dim = x.cols, each = (size_t)rows * cols;
	struct nn_tensor h = nn_rms_norm(c, x, m->norm, m->eps), y = nn_new(c, l->items * each, dim * s * s);

	for (size_t i = 0; h.data && y.data && i < y.rows; i++) {
		const size_t block = i % each, top = block / cols * s, left = block % cols * s;
		float *to = y.data + i * y.stride;

		for (size_t k = 0; k < (size_t)s * s; k++) {
			const float *from = h.data + (i / each * l->tokens + (top + k / s) * l->cols + left + k % s) * h.stride;

			for (size_t channel = 0; channel < dim; channel++)
				to[channel * s * s + k] = from[channel];
		}
	}
	return nn_gemm(c, y, m->w, NULL);
}

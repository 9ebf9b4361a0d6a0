/* relative.c - relative positions: a value for each head and bucket of distances, laid out by distance. */
#include "plugins/decoders/t5/model.h"

#include <math.h>

uint32_t t5_bucket(int32_t distance, int both, uint32_t buckets, uint32_t reach)
{
	const uint32_t half = both ? buckets / 2 : buckets, exact = half / 2, side = both && distance > 0 ? half : 0;
	const uint32_t far = distance < 0 ? (uint32_t)-distance : both ? (uint32_t)distance : 0;

	if (far < exact)
		return side + far;
	/* In float32, as the models were trained: a distance may lie on the edge of its bucket. */
	const float scale = (float)log((double)reach / exact);
	const uint32_t wide = exact + (uint32_t)(logf((float)far / (float)exact) / scale * (float)(half - exact));

	return side + (wide < half ? wide : half - 1);
}

const float *t5_relative(struct t5_model *m, const float *table, int both)
{
	const struct t5_shape *s = &m->shape;
	const size_t width = 2 * (size_t)s->reach + 1;
	float *out = nn_checkpoint_alloc(m->checkpoint, s->n_heads * width * sizeof(*out));

	for (size_t i = 0; out && i < width; i++) {
		const uint32_t bucket = t5_bucket((int32_t)i - (int32_t)s->reach, both, s->buckets, s->reach);

		for (size_t h = 0; h < s->n_heads; h++)
			out[h * width + i] = table[bucket * s->n_heads + h];
	}
	return out;
}

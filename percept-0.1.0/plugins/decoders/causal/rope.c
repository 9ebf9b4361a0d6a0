/* rope.c - frequencies of the rotary positions, as the configuration scales them. */
#include "plugins/decoders/causal/model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

/* Frequency `f` to the one that is used. `config` holds the scaling's parameters. */
typedef double rope_scale(double f, const cJSON *config, const struct shape *shape, struct nn_error *error);

static double rope_plain(double f, const cJSON *config, const struct shape *shape, struct nn_error *error)
{
	return f;
}

/* Chen 2023, position interpolation. */
static double rope_linear(double f, const cJSON *config, const struct shape *shape, struct nn_error *error)
{
	return f / nn_config_real(config, "factor", 1, error);
}

/* Llama 3.1: long waves are stretched, short ones kept, those between blended. */
static double rope_llama3(double f, const cJSON *config, const struct shape *shape, struct nn_error *error)
{
	const double factor = nn_config_real(config, "factor", 8, error);
	const double low = nn_config_real(config, "low_freq_factor", 1, error);
	const double high = nn_config_real(config, "high_freq_factor", 4, error);
	const double trained = nn_config_real(config, "original_max_position_embeddings", 8192, error);
	const double turns = trained * f / (2 * PI);

	if (!(high > low))
		return nan("");
	if (turns <= low)
		return f / factor;
	if (turns >= high)
		return f;
	const double blend = (turns - low) / (high - low);

	return (1 - blend) * f / factor + blend * f;
}

static const struct {
	const char *name;
	rope_scale *scale;
} rope_types[] = {
	{ "default", rope_plain },
	{ "dynamic", rope_plain }, /* scales only beyond the context it was trained with, which is not entered */
	{ "linear", rope_linear },
	{ "llama3", rope_llama3 },
};

static rope_scale *rope_find(const char *name)
{
	for (size_t i = 0; i < sizeof(rope_types) / sizeof(rope_types[0]); i++) {
		if (!strcmp(name, rope_types[i].name))
			return rope_types[i].scale;
	}
	return NULL;
}

int model_rope(struct model *m, const cJSON *config, struct nn_error *error)
{
	const cJSON *scaling = nn_config_object(config, "rope_parameters|rope_scaling");
	const char *type = nn_config_string(scaling, "rope_type|type", "default");
	const double outer = nn_config_real(config, "rope_theta", 10000, error);
	const double theta = nn_config_real(scaling, "rope_theta", outer, error);
	rope_scale *scale = rope_find(type);
	const uint32_t half = m->shape.head_dim / 2;

	if (error->code)
		return error->code;
	if (!scale)
		return nn_fail(error, -ENOTSUP, "config.json: rope type \"%.64s\" is not known here; "
			       "default, dynamic, linear and llama3 are.", type);
	m->inv_freq = calloc(half, sizeof(float));
	if (!m->inv_freq)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < half; i++) {
		const double f = scale(pow(theta, -(double)i / half), scaling, &m->shape, error);

		if (error->code)
			return error->code;
		if (!isfinite(f) || f < 0)
			return nn_fail(error, -EINVAL, "config.json: the parameters of the rotary positions are out of range.");
		m->inv_freq[i] = (float)f;
	}
	m->rope = (struct nn_rope){ .inv_freq = m->inv_freq, .attention_scale = 1, .dim = m->shape.head_dim };
	return 0;
}

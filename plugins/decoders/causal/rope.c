/* rope.c - frequencies of the rotary positions, as the configuration scales them. */
#include "plugins/decoders/causal/model.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

/* Frequencies on their way: [half], from theta^(-i / half) to what is used. */
struct rope_work {
	struct model *m;
	const cJSON *scaling; /* what holds the parameters; may be NULL */
	struct nn_error *error;
	double *f, theta;
	uint32_t half;
	double attention;     /* what cosine and sine are multiplied by */
	double *f_long;       /* longrope: beyond the length that the model was trained for; else NULL */
};

/* Changes w->f; 0, or -errno with *error. */
typedef int rope_scale(struct rope_work *w);

static double rope_real(const struct rope_work *w, const char *names, double fallback)
{
	return nn_config_real(w->scaling, names, fallback, w->error);
}

static double *rope_new(struct rope_work *w)
{
	double *f = nn_checkpoint_alloc(w->m->checkpoint, (w->half + 1) * sizeof(*f));

	for (uint32_t i = 0; f && i < w->half; i++)
		f[i] = pow(w->theta, -(double)i / w->half);
	return f;
}

/* Llama 3 in GGUF: the frequencies' divisors lie in the file. */
static int rope_plain(struct rope_work *w)
{
	const float *divisors = w->m->gguf && w->scaling ? model_vector_maybe(w->m, w->half, "rope_freqs.weight", 0) : NULL;

	for (uint32_t i = 0; divisors && i < w->half; i++)
		w->f[i] /= divisors[i];
	return w->error->code;
}

/* Chen 2023, position interpolation. */
static int rope_linear(struct rope_work *w)
{
	const double factor = rope_real(w, "factor|rope.scaling.factor|rope.scale_linear", 1);

	for (uint32_t i = 0; i < w->half; i++)
		w->f[i] /= factor;
	return rope_plain(w);
}

/* Llama 3.1: long waves are stretched, short ones kept, those between blended. */
static int rope_llama3(struct rope_work *w)
{
	const double factor = rope_real(w, "factor", 8), low = rope_real(w, "low_freq_factor", 1);
	const double high = rope_real(w, "high_freq_factor", 4);
	const double trained = rope_real(w, "original_max_position_embeddings", 8192);

	for (uint32_t i = 0; i < w->half; i++) {
		const double turns = trained * w->f[i] / (2 * PI), blend = (turns - low) / (high - low);

		if (turns <= low)
			w->f[i] /= factor;
		else if (turns < high)
			w->f[i] = (1 - blend) * w->f[i] / factor + blend * w->f[i];
	}
	return 0;
}

static double rope_mscale(double factor, double m)
{
	return factor > 1 ? 0.1 * m * log(factor) + 1 : 1;
}

/* The dimension whose wave turns `turns` times within `trained` positions. */
static double rope_yarn_dimension(const struct rope_work *w, double turns, double trained)
{
	return w->half * log(trained / (turns * 2 * PI)) / log(w->theta);
}

/* Peng 2023, YaRN: dimensions that turn often are kept, those that turn less than once are interpolated. */
static int rope_yarn(struct rope_work *w)
{
	const double factor = rope_real(w, "factor|rope.scaling.factor", 1);
	const double trained = rope_real(w, "original_max_position_embeddings|rope.scaling.original_context_length",
					 w->m->shape.context);
	const double m = rope_real(w, "mscale", 0), m_all = rope_real(w, "mscale_all_dim", 0);
	double low = floor(rope_yarn_dimension(w, rope_real(w, "beta_fast|rope.scaling.yarn_beta_fast", 32), trained));
	double high = ceil(rope_yarn_dimension(w, rope_real(w, "beta_slow|rope.scaling.yarn_beta_slow", 1), trained));

	low = low > 0 ? low : 0;
	high = high < 2 * w->half - 1 ? high : 2 * w->half - 1;
	high += high == low ? 0.001 : 0;
	for (uint32_t i = 0; i < w->half; i++) {
		const double ramp = fmin(fmax((i - low) / (high - low), 0), 1);

		w->f[i] = w->f[i] / factor * ramp + w->f[i] * (1 - ramp);
	}
	/* DeepSeek's GGUF files leave the temperature to the scores. */
	if (rope_real(w, "rope.scaling.yarn_log_multiplier", 0) != 0)
		w->attention = 1;
	else if (m != 0 && m_all != 0)
		w->attention = rope_mscale(factor, m) / rope_mscale(factor, m_all);
	else
		w->attention = rope_mscale(factor, 1) * rope_real(w, "rope.scaling.attn_factor", 1);
	w->attention = rope_real(w, "attention_factor", w->attention);
	return 0;
}

/* f /= the divisors called `name` in the configuration, or in GGUF the tensor of that name. */
static int rope_divide(struct rope_work *w, double *f, const char *name, const char *tensor)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(w->scaling, name), *item;
	const float *divisors = w->m->gguf ? model_vector(w->m, w->half, tensor, 0) : NULL;
	uint32_t i = 0;

	if (!f)
		return nn_fail(w->error, -ENOMEM, "Memory is out.");
	if (!w->m->gguf && cJSON_GetArraySize(list) != (int)w->half)
		return nn_fail(w->error, -EINVAL, "config.json: \"%s\" must hold %u numbers.", name, w->half);
	for (uint32_t k = 0; divisors && k < w->half; k++)
		f[k] /= divisors[k];
	cJSON_ArrayForEach(item, list)
		f[i++] /= cJSON_IsNumber(item) ? item->valuedouble : NAN;
	return w->error->code;
}

/* Ding 2024, LongRoPE: divisors for each dimension, others beyond the length that the model was trained for. */
static int rope_long(struct rope_work *w)
{
	const cJSON *config = nn_checkpoint_config(w->m->checkpoint);
	const char *const trained_names = "original_max_position_embeddings|rope.scaling.original_context_length";
	const double trained = nn_config_real(config, trained_names, rope_real(w, trained_names, 0), w->error);
	double factor = rope_real(w, "factor", 1);

	if (!w->error->code && !(trained >= 2 && trained <= 1 << 26))
		return nn_fail(w->error, -EINVAL, "config.json: longrope needs \"original_max_position_embeddings\".");
	if (trained != 0)
		factor = w->m->shape.context / trained;
	w->m->rope_trained = (uint32_t)trained;
	w->attention = factor > 1 ? sqrt(1 + log(factor) / log(trained)) : 1;
	w->attention = rope_real(w, "attention_factor|rope.scaling.attn_factor", w->attention);
	w->f_long = rope_new(w);
	if (rope_divide(w, w->f_long, "long_factor", "rope_factors_long.weight"))
		return w->error->code;
	return rope_divide(w, w->f, "short_factor", "rope_factors_short.weight");
}

static const struct {
	const char *name;
	rope_scale *scale;
} rope_types[] = {
	{ "default", rope_plain },
	{ "none", rope_plain },
	{ "mrope", rope_plain },   /* the sections are the family's to read */
	{ "dynamic", rope_plain }, /* scales only beyond the context it was trained with, which is not entered */
	{ "linear", rope_linear },
	{ "llama3", rope_llama3 },
	{ "yarn", rope_yarn },
	{ "longrope", rope_long },
	{ "su", rope_long },
};

static rope_scale *rope_find(const struct rope_work *w, const char *name)
{
	/* These divisors need no word in the file. */
	if (w->m->gguf && w->scaling && nn_checkpoint_weight(w->m->checkpoint, "rope_factors_long.weight"))
		return rope_long;
	for (size_t i = 0; i < sizeof(rope_types) / sizeof(rope_types[0]); i++) {
		if (!strcmp(name, rope_types[i].name))
			return rope_types[i].scale;
	}
	nn_fail(w->error, -ENOTSUP, "config.json: rope type \"%.64s\" is not known here; "
		"default, dynamic, linear, llama3, yarn and longrope are.", name);
	return NULL;
}

static int rope_set(struct rope_work *w, const double *f, struct nn_rope *rope)
{
	float *inv_freq = f ? nn_checkpoint_alloc(w->m->checkpoint, (w->half + 1) * sizeof(*inv_freq)) : NULL;

	if (!inv_freq)
		return nn_fail(w->error, -ENOMEM, "Memory is out.");
	for (uint32_t i = 0; i < w->half; i++) {
		if (!isfinite(f[i]) || f[i] < 0)
			return nn_fail(w->error, -EINVAL, "config.json: the parameters of the rotary positions are out of range.");
		inv_freq[i] = (float)f[i];
	}
	*rope = (struct nn_rope){ .inv_freq = inv_freq, .attention_scale = (float)w->attention, .dim = w->m->shape.rope_dim,
				  .interleaved = w->m->shape.rope_interleaved };
	return 0;
}

int model_rope(struct model *m, uint32_t i, const cJSON *scaling, double theta, struct nn_error *error)
{
	struct rope_work w = { .m = m, .scaling = scaling, .error = error, .half = m->shape.rope_dim / 2, .attention = 1 };

	w.theta = nn_config_real(scaling, "rope_theta", theta, error);
	rope_scale *scale = rope_find(&w, nn_config_string(scaling, "rope_type|type|rope.scaling.type", "default"));

	if (!scale)
		return error->code;
	w.f = rope_new(&w);
	if (!w.f)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	if (scale(&w) || error->code || rope_set(&w, w.f, &m->rope[i]))
		return error->code;
	return w.f_long ? rope_set(&w, w.f_long, &m->rope_long[i]) : 0;
}

int model_rope_axes(struct model *m, uint32_t i, const double *sections, uint32_t n, struct nn_error *error)
{
	const uint32_t half = m->shape.rope_dim / 2;
	unsigned char *axis = nn_checkpoint_alloc(m->checkpoint, half + 1);
	uint32_t at = 0;

	if (!axis)
		return nn_fail(error, -ENOMEM, "Memory is out.");
	for (uint32_t k = 0; k < n; k++) {
		if (!(sections[k] >= 0 && sections[k] <= half - at) || sections[k] != floor(sections[k]))
			return nn_fail(error, -EINVAL, "config.json: the sections of the rotary positions are not whole numbers that "
				       "sum to %u.", half);
		memset(axis + at, k % MODEL_AXES, (size_t)sections[k]);
		at += (uint32_t)sections[k];
	}
	if (at != half)
		return nn_fail(error, -EINVAL, "config.json: the sections of the rotary positions sum to %u instead of %u.", at, half);
	m->rope[i].axis = axis;
	if (m->rope_long[i].inv_freq)
		m->rope_long[i].axis = axis;
	return 0;
}

const cJSON *model_rope_scaling(const struct model *m, const cJSON *config)
{
	return m->gguf ? config : nn_config_object(config, "rope_parameters|rope_scaling");
}

int model_positions(struct model *m, const cJSON *config, struct nn_error *error)
{
	if (m->family->positions)
		return m->family->positions(m, config, error);
	return model_rope(m, 0, model_rope_scaling(m, config),
			  nn_config_real(config, "rope_theta|rotary_emb_base|rope.freq_base", 10000, error), error);
}

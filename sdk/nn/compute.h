/* compute.h - the option of encoders and connectors that says how they compute. */
#ifndef NN_COMPUTE_H
#define NN_COMPUTE_H

#include <percept/plugin.h>

#include "sdk/nn/ops.h"

/* A row of the plugin's table of options. */
#define NN_COMPUTE_OPTION                                                                                              \
	{                                                                                                              \
		.name = "compute", .type = PERCEPT_OPTION_ENUM, .fallback = "fast", .choices = "fast|f32|bf16",        \
		.help = "bf16: products of numbers rounded to BF16; fast: bf16 where the processor and the size gain by it, else f32" \
	}

/* What the option says. [any] */
static inline enum nn_compute nn_compute_option(const struct percept_open *open)
{
	const struct percept_value *value = percept_option(open, "compute");
	const int how = nn_compute_named(value && value->string ? value->string : "fast");

	return how < 0 ? NN_COMPUTE_F32 : (enum nn_compute)how;
}

/* For identities: results differ. [any] */
static inline const char *nn_compute_name(enum nn_compute how)
{
	return how == NN_COMPUTE_FAST ? "fast" : how == NN_COMPUTE_BF16 ? "bf16" : "f32";
}

#endif

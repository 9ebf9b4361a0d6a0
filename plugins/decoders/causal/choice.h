/* choice.h - the options that decoders with paged keys and values share, and what they say. */
#ifndef CAUSAL_CHOICE_H
#define CAUSAL_CHOICE_H

#include <string.h>
#include <percept/plugin.h>

#include "plugins/decoders/causal/kv.h"

/* Rows of the plugin's table of options. */
#define CHOICE_OPTIONS                                                                                                       \
	{ .name = "compute", .type = PERCEPT_OPTION_ENUM, .fallback = "fast", .choices = "fast|f32",                         \
	  .help = "how rows meet quantised weights: rounded to 8 bits twice where that is faster, or in float32" },          \
	{ .name = "kv", .type = PERCEPT_OPTION_ENUM, .choices = "f16|q8_0|f32",                                              \
	  .help = "how keys and values are kept: f16 by default, f32 where compute is f32" },                                \
	{ .name = "kv_memory", .type = PERCEPT_OPTION_INT, .min = 1, .max = 1 << 24,                                         \
	  .help = "MiB that keys and values may take; half of what is free at the start by default" }

static inline uint32_t choice_number(const struct percept_open *open, const char *name, uint32_t fallback)
{
	const struct percept_value *v = percept_option(open, name);

	return v ? (uint32_t)v->integer : fallback;
}

static inline int choice_is(const struct percept_open *open, const char *name, const char *value)
{
	const struct percept_value *v = percept_option(open, name);

	return v && !strcmp(v->string, value);
}

/* As `kv` says; else in 16 bits, and whole where everything is computed in float32. */
static inline enum nn_page_type choice_pages(const struct percept_open *open)
{
	if (choice_is(open, "kv", "q8_0"))
		return NN_PAGE_Q8;
	return choice_is(open, "kv", "f32") || (choice_is(open, "compute", "f32") && !choice_is(open, "kv", "f16")) ? NN_PAGE_F32
														       : NN_PAGE_F16;
}

/* Bytes that keys and values may take. */
static inline uint64_t choice_budget(const struct percept_open *open)
{
	const uint64_t most = (uint64_t)choice_number(open, "kv_memory", 0) << 20;

	return most ? most : kv_budget_default();
}

#endif

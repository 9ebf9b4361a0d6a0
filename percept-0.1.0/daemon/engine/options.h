/* options.h - a plugin's options: from configured text to typed values. */
#ifndef ENGINE_OPTIONS_H
#define ENGINE_OPTIONS_H

#include <cjson/cJSON.h>
#include <percept/plugin.h>

#include "sdk/wire/frame.h"

/* The values of one instance; everything they point to is owned here. */
struct options {
	struct percept_value *values;
	uint32_t n;
	cJSON *texts; /* copies of the configured texts */
};

/* Reads `given` (an object of texts, numbers or booleans; NULL: none) by the plugin's table of `n` options. 0, or -32602 in
 * *error with a sentence that names the plugin, the option, its value and what was expected. [any] */
int options_parse(const char *plugin, const struct percept_option *table, uint32_t n, const cJSON *given,
		  struct options *options, struct wire_error *error);
void options_fini(struct options *options);

#endif

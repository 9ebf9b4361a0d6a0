/* bundle.h - which parts a model directory, a GGUF file, or a pair of those holds. */
#ifndef ENGINE_BUNDLE_H
#define ENGINE_BUNDLE_H

#include <cjson/cJSON.h>

#include "sdk/wire/frame.h"

/* The parts of the bundle `model` with the picture tower `mmproj` (a GGUF file, "none", NULL: the one beside it), overridden by role
 * by `parts` (all as in the resolved assistant; `model` NULL: no bundle): a new array of {role, plugin, model, options}. NULL and *error (-32015) if nothing is known of the bundle. [worker] */
cJSON *bundle_parts(const char *model, const char *mmproj, const cJSON *parts, struct wire_error *error);

#endif

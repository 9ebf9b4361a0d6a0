/* sweep.h - which encoders, connectors and decoders fit together: every combination of what is named and what is installed. */
#ifndef ENGINE_SWEEP_H
#define ENGINE_SWEEP_H

#include <cjson/cJSON.h>

/* Tries the parts of `assistants` (resolved, as engine.open takes them), and every installed encoder, connector and decoder with
 * each model that these name, each part in a process of its own; then every combination of those that open. Prints one line of
 * JSON: {"parts": [{"role", "plugin", "model", "opens", "reason"?}], "assemblies": [{"modality", "encoder", "connector",
 * "decoder": indices of parts, "fits", "reason"?}]}. The program's exit code. [one] */
int sweep_run(const cJSON *assistants, const char *program);

#endif

/* names.h - a tensor's name in the files that a model is in. */
#ifndef CAUSAL_NAMES_H
#define CAUSAL_NAMES_H

#include "plugins/decoders/causal/model.h"
#include "sdk/nn/names.h"

/* `name` is GGUF's with its suffix; `expert` counts where the files have a tensor for each. */
void names_tensor(const struct model *m, const char *name, uint32_t layer, uint32_t expert, char out[NN_NAMES_MAX]);

#endif

/* families.h - the families that there are. */
#ifndef CAUSAL_FAMILIES_H
#define CAUSAL_FAMILIES_H

#include "plugins/decoders/causal/model.h"

extern const struct family family_llama;

#endif

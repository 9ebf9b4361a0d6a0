/* names.c - a tensor's name in the files that the model is in. */
#include "plugins/decoders/causal/names.h"

#include <stdio.h>
#include <string.h>

void names_tensor(const struct model *m, const char *name, uint32_t layer, uint32_t expert, char out[NN_NAMES_MAX])
{
	const char *suffix = strrchr(name, '.');
	const size_t n = suffix ? (size_t)(suffix - name) : strlen(name);
	const struct nn_tensor_name *known = nn_names_find(m->family->name, name, n);

	if (!m->gguf)
		nn_names_write(known ? known->hf : "%u.", m->file_layers ? m->file_layers[layer] : layer, expert, suffix ? suffix : "", out);
	else if (known && strchr(known->hf, '%'))
		snprintf(out, NN_NAMES_MAX, "blk.%u.%s", layer, name);
	else
		snprintf(out, NN_NAMES_MAX, "%s", name);
}

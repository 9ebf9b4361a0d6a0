/* kernels.c - which inner loops this processor runs. */
#include "sdk/nn/kernels.h"

#include <stdlib.h>
#include <string.h>

/* Best first. */
static const struct nn_kernels *const kernels_all[] = {
#if defined(__x86_64__)
	&kernels_amx,
	&kernels_avx512bf16,
	&kernels_avx512vnni,
	&kernels_avx512,
	&kernels_avx2,
#endif
	&kernels_portable,
};

enum { KERNELS_N = sizeof(kernels_all) / sizeof(*kernels_all) };

const struct nn_kernels *nn_kernels_named(const char *name)
{
	for (size_t i = 0; i < KERNELS_N; i++)
		if (!strcmp(kernels_all[i]->name, name))
			return kernels_all[i]->usable() ? kernels_all[i] : NULL;
	return NULL;
}

const struct nn_kernels *kernels_of(struct nn *c)
{
	const char *wish = c->kernels ? NULL : getenv("PERCEPT_CPU");

	if (wish)
		c->kernels = nn_kernels_named(wish);
	for (size_t i = 0; i < KERNELS_N && !c->kernels; i++)
		if (kernels_all[i]->usable())
			c->kernels = kernels_all[i];
	return c->kernels;
}

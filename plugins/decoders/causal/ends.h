/* ends.h - which tokens end an answer. */
#ifndef CAUSAL_ENDS_H
#define CAUSAL_ENDS_H

#include "sdk/nn/checkpoint.h"

struct ends {
	int32_t *ids; /* owned: free() */
	uint32_t n;
};

/* From generation_config.json beside the model, else from its configurations, `config` before `root`; of a GGUF file from its
 * values and the names of its control tokens. 0, or *error: ids that are not of the vocabulary. [any] */
int ends_read(struct ends *ends, const struct nn_checkpoint *checkpoint, uint32_t vocab, const cJSON *config, const cJSON *root,
	      struct nn_error *error);

#endif

/* llava.h - checkpoints of LLaVA's own code and MobileVLM's, as Hugging Face's form would have their configuration. */
#ifndef NN_LLAVA_H
#define NN_LLAVA_H

#include "sdk/nn/checkpoint.h"

/* config.json with "vision_config" and "preprocessor_config"; cJSON to delete. NULL with error->code, or without it where the files are
 * in that form already, or none of these. [any] */
cJSON *nn_llava_config(struct nn_checkpoint *checkpoint, struct nn_error *error);

#endif

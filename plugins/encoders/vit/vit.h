/* vit.h - ViTs of Hugging Face and of timm. */
#ifndef VIT_H
#define VIT_H

#include "plugins/encoders/clip/clip.h"

/* timm.c: the configuration of timm's files and OpenCLIP's in Hugging Face's form; NULL with error->code, or for Hugging Face's. */
cJSON *timm_translate(struct nn_checkpoint *checkpoint, struct nn_error *error);
/* What timm's arguments say of names, pooling and norms. 0 or error->code. */
int timm_configure(struct vision *v, const cJSON *args, struct nn_error *error);

#endif

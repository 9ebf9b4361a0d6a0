/* eva.h - towers of EVA-CLIP in other checkpoints than timm's and OpenCLIP's. */
#ifndef EVA_H
#define EVA_H

#include "plugins/encoders/clip/clip.h"

/* cogvlm.c: whether config.json is a CogVLM's; its picture tower's configuration in Hugging Face's keys, as clip_kind.translate; and what
 * sets that tower apart, as clip_kind.configure. */
int eva_is_cogvlm(const cJSON *root);
cJSON *eva_cogvlm_translate(struct nn_checkpoint *checkpoint, struct nn_error *error);
void eva_cogvlm_configure(struct vision *v);

#endif

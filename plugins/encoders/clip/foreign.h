/* foreign.h - configurations of OpenCLIP and timm in the form of Hugging Face's, which the towers read. */
#ifndef CLIP_FOREIGN_H
#define CLIP_FOREIGN_H

#include <cjson/cJSON.h>

#include "sdk/nn/checkpoint.h"
#include "plugins/encoders/clip/tower.h"

struct text_names;
extern const struct text_names openclip_text_names;

/* "model_cfg" of open_clip_config.json; NULL: this is another file. */
const cJSON *foreign_openclip(const cJSON *root);
/* Adds "text_config" where OpenCLIP's own text tower is configured, and "preprocessor_config". 0 or error->code. */
int foreign_openclip_rest(cJSON *made, const cJSON *root, struct nn_error *error);
/* Numbers of a tower of OpenCLIP's: `object` has `width`, `layers`, mlp_ratio ...; `heads` is the number of heads. 0 or error->code. */
int foreign_openclip_tower(cJSON *made, const cJSON *object, uint32_t width, int64_t heads, int quick_gelu, struct nn_error *error);
/* The names of OpenCLIP's layers, as the flags of such an object have them. */
void foreign_openclip_layers(struct tower_names *names, const cJSON *config);
/* The same beside a tower of timm's: as OpenCLIP's file says, or "preprocessor_config" from "pretrained_cfg", if there is one. 0 or
 * error->code. */
int foreign_timm_rest(cJSON *made, const cJSON *root, struct nn_error *error);
/* Arguments of a timm model: what config.json or timm_model.json tells over what the table knows of its name; to delete. */
cJSON *foreign_timm_arguments(const struct nn_checkpoint *cp, const cJSON *root, const char *const (*known)[2], struct nn_error *error);

#endif

/* llava.c - checkpoints of LLaVA's own code and MobileVLM's: config.json has the language model's keys and mm_* ones, and no word on
 * the picture tower but its name. What is missing is read off the tensors. */
#include "sdk/nn/llava.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { LLAVA_HEAD = 64 /* columns of a head in every CLIP that was published */, LLAVA_LAYERS_MAX = 1024 };

static const char *const llava_prefixes[] = { "model.vision_tower.vision_tower.vision_model.", "model.vision_tower.vision_model.", NULL };

static void llava_number(cJSON *to, const char *name, double value)
{
	cJSON_AddNumberToObject(to, name, value);
}

/* "vision_config" by the shapes of the tower's tensors. 0 or l->error->code. */
static int llava_tower(cJSON *made, struct nn_loader *l, uint32_t *image_size)
{
	const struct nn_weight *patches = nn_load(l, 0, 0, "embeddings.patch_embedding.weight");
	const struct nn_weight *positions = nn_load(l, 0, 0, "embeddings.position_embedding.weight");
	const struct nn_weight *fc1 = nn_load(l, 0, 0, "encoder.layers.0.mlp.fc1.weight");
	cJSON *tower = l->error->code ? NULL : cJSON_AddObjectToObject(made, "vision_config");
	uint32_t layers = 1;

	if (!tower)
		return l->error->code ? l->error->code : nn_fail(l->error, -ENOMEM, "Memory is out.");
	while (layers < LLAVA_LAYERS_MAX && nn_load_maybe(l, 0, 0, "encoder.layers.%u.mlp.fc1.weight", layers))
		layers++;
	const double patch = floor(sqrt((double)patches->cols / 3)), side = floor(sqrt((double)positions->rows - 1));

	*image_size = (uint32_t)fmin(patch * side, 1 << 14);
	llava_number(tower, "hidden_size", (double)patches->rows);
	llava_number(tower, "intermediate_size", (double)fc1->rows);
	llava_number(tower, "num_hidden_layers", layers);
	llava_number(tower, "num_attention_heads", patches->rows < LLAVA_HEAD ? 1 : (double)(patches->rows / LLAVA_HEAD));
	llava_number(tower, "patch_size", patch);
	llava_number(tower, "image_size", patch * side);
	return l->error->code;
}

/* "image_grid_pinpoints" are pairs of width and height here, and of height and width in Hugging Face's processor. */
static cJSON *llava_pinpoints(const cJSON *root)
{
	cJSON *list = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(root, "image_grid_pinpoints"), 1), *pair;

	cJSON_ArrayForEach(pair, list) {
		cJSON *width = cJSON_DetachItemFromArray(pair, 0);

		if (width)
			cJSON_AddItemToArray(pair, width);
	}
	return list;
}

/* "preprocessor_config" by image_aspect_ratio: the picture's middle, the picture on a square, or tiles. */
static void llava_processor(cJSON *made, const cJSON *root, uint32_t image_size)
{
	const char *aspect = nn_config_string(root, "image_aspect_ratio", "square");
	const int tiles = !strncmp(aspect, "anyres", 6), pad = !strcmp(aspect, "pad");
	cJSON *p = cJSON_AddObjectToObject(made, "preprocessor_config");

	cJSON_AddStringToObject(p, "image_processor_type", tiles ? "LlavaNextImageProcessor" : pad ? "LlavaImageProcessor" :
				"CLIPImageProcessor");
	cJSON_AddBoolToObject(p, "do_pad", pad);
	llava_number(p, "size", image_size);
	llava_number(p, "crop_size", image_size);
	if (tiles)
		cJSON_AddItemToObject(p, "image_grid_pinpoints", llava_pinpoints(root));
}

cJSON *nn_llava_config(struct nn_checkpoint *cp, struct nn_error *error)
{
	const cJSON *root = nn_checkpoint_config(cp);
	struct nn_loader l = { .checkpoint = cp, .prefixes = llava_prefixes, .error = error };
	const char *tower = nn_config_string(root, "mm_vision_tower", NULL);
	uint32_t image_size = 0;

	if (!tower || nn_config_object(root, "vision_config"))
		return NULL;
	if (!nn_load_maybe(&l, 0, 0, "embeddings.patch_embedding.weight")) {
		nn_fail(error, -EINVAL, "%s: the picture tower %.128s is not in the files; name its own with image.encoder = clip model=FOLDER.",
			nn_checkpoint_path(cp), tower);
		return NULL;
	}
	cJSON *made = cJSON_Duplicate(root, 1);

	if (made && !llava_tower(made, &l, &image_size))
		llava_processor(made, root, image_size);
	if (!made)
		nn_fail(error, -ENOMEM, "Memory is out.");
	if (error->code) {
		cJSON_Delete(made);
		made = NULL;
	}
	return made;
}

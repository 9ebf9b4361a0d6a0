/* image-processor.c - preprocessor_config.json: which kind of processor it names, and its values. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <string.h>

#include "sdk/nn/text.h"

enum { PROCESSOR_FILE_LIMIT = 1 << 20 };

#define OPENAI_MEAN {0.48145466f, 0.4578275f, 0.40821073f}
#define OPENAI_STD {0.26862954f, 0.26130258f, 0.27577711f}
#define HALF {0.5f, 0.5f, 0.5f}
#define IMAGENET_MEAN {0.485f, 0.456f, 0.406f}
#define IMAGENET_STD {0.229f, 0.224f, 0.225f}

/* The first is for files without a name. */
static const struct image_kind processor_kinds[] = {
	{"CLIP", &image_single, 1, 1, 0, 0, 224, NN_BICUBIC, OPENAI_MEAN, OPENAI_STD},
	{"LlavaNext", &image_anyres, 1, 1, 0, 0, 224, NN_BICUBIC, OPENAI_MEAN, OPENAI_STD},
	{"LlavaImage", &image_single, 1, 1, 1, 0, 224, NN_BICUBIC, OPENAI_MEAN, OPENAI_STD},
	{"Siglip2", &image_flex, 0, 0, 0, 0, 0, NN_BILINEAR, HALF, HALF},
	{"Siglip", &image_single, 0, 0, 0, 0, 224, NN_BICUBIC, HALF, HALF},
	{"Blip", &image_single, 0, 0, 0, 0, 384, NN_BICUBIC, OPENAI_MEAN, OPENAI_STD},
	{"Idefics3", &image_split, 0, 0, 0, 0, 364, NN_LANCZOS, HALF, HALF},
	{"SmolVLM", &image_split, 0, 0, 0, 0, 364, NN_LANCZOS, HALF, HALF},
	{"Gemma3", &image_crops, 0, 0, 0, 0, 224, NN_BILINEAR, HALF, HALF},
	{"GotOcr2", &image_tiling, 0, 0, 0, 0, 384, NN_BICUBIC, OPENAI_MEAN, OPENAI_STD},
	{"IdeficsImage", &image_single, 0, 0, 0, 0, 224, NN_BICUBIC, OPENAI_MEAN, OPENAI_STD},
	{"ConvNext", &image_convnext, 1, 0, 0, 1, 384, NN_BILINEAR, IMAGENET_MEAN, IMAGENET_STD},
	{"Qwen2VL", &image_native, 0, 0, 0, 0, 0, NN_BICUBIC, OPENAI_MEAN, OPENAI_STD},
	{"Qwen2_5_VL", &image_native, 0, 0, 0, 0, 0, NN_BICUBIC, OPENAI_MEAN, OPENAI_STD},
	{"Mllama", &image_canvas, 0, 0, 0, 0, 224, NN_BILINEAR, HALF, HALF},
	{"Pixtral", &image_fit, 0, 0, 0, 0, 1024, NN_BICUBIC, OPENAI_MEAN, OPENAI_STD},
	{"ViT", &image_single, 0, 0, 0, 0, 224, NN_BILINEAR, HALF, HALF},
	{"Bit", &image_single, 1, 1, 0, 0, 224, NN_BICUBIC, OPENAI_MEAN, OPENAI_STD},
};

static const struct image_kind *processor_kind(const cJSON *root)
{
	const cJSON *type = cJSON_GetObjectItemCaseSensitive(root, "image_processor_type");

	if (!cJSON_IsString(type))
		type = cJSON_GetObjectItemCaseSensitive(root, "feature_extractor_type");
	for (size_t i = 0; cJSON_IsString(type) && i < sizeof(processor_kinds) / sizeof(*processor_kinds); i++)
		if (!strncmp(type->valuestring, processor_kinds[i].name, strlen(processor_kinds[i].name)))
			return &processor_kinds[i];
	return &processor_kinds[0];
}

/* FNV-1a of the file's text and the size that is used where it is silent. */
static uint64_t processor_digest(const char *text, size_t bytes, uint32_t image_size)
{
	uint64_t h = 0xcbf29ce484222325u ^ image_size;

	for (size_t i = 0; i < bytes; i++)
		h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
	return h;
}

static int processor_read(struct nn_image_processor *p, const cJSON *root, uint32_t image_size, struct nn_error *error)
{
	struct image_reader r = {.root = root, .kind = processor_kind(root), .image_size = image_size, .error = error};

	*p = (struct nn_image_processor){.rules = r.kind->rules};
	p->do_resize = image_read_flag(&r, "do_resize", 1);
	p->do_center_crop = image_read_flag(&r, "do_center_crop", r.kind->crop);
	p->do_rescale = image_read_flag(&r, "do_rescale", 1);
	p->do_normalize = image_read_flag(&r, "do_normalize", 1);
	image_read_numbers(&r, p);
	p->rules->read(&r, p);
	return r.failed;
}

int nn_image_processor_parse(struct nn_image_processor *p, const char *json, size_t bytes, uint32_t image_size,
			     struct nn_error *error)
{
	cJSON *root = cJSON_ParseWithLength(json, bytes);
	int failed = -EINVAL;

	if (cJSON_IsObject(root))
		failed = processor_read(p, root, image_size, error);
	else
		nn_fail(error, failed, "preprocessor_config.json is not a JSON object.");
	p->digest = processor_digest(json, bytes, image_size);
	cJSON_Delete(root);
	return failed;
}

/* preprocessor_config.json, or the same object inside processor_config.json, or neither. */
int nn_image_processor_load(struct nn_image_processor *p, const char *directory, uint32_t image_size, struct nn_error *error)
{
	struct text text;
	int failed = nn_model_text(&text, directory, "preprocessor_config.json", PROCESSOR_FILE_LIMIT, error);
	cJSON *root;

	if (!failed) {
		failed = nn_image_processor_parse(p, text.data, text.n, image_size, error);
		text_free(&text);
		return failed;
	}
	if (failed == -ENOENT)
		failed = nn_model_text(&text, directory, "processor_config.json", PROCESSOR_FILE_LIMIT, error);
	if (failed && failed != -ENOENT)
		return failed;
	root = failed ? NULL : cJSON_ParseWithLength(text.data, text.n);
	const uint64_t digest = processor_digest(text.data, failed ? 0 : text.n, image_size);

	text_free(&text);
	cJSON *inner = cJSON_GetObjectItemCaseSensitive(root, "image_processor");
	cJSON *class = cJSON_GetObjectItemCaseSensitive(root, "processor_class");

	if (cJSON_IsObject(inner) && class && !cJSON_HasObjectItem(inner, class->string))
		cJSON_AddItemReferenceToObject(inner, class->string, class);
	failed = processor_read(p, inner, image_size, error);
	p->digest = digest;
	cJSON_Delete(root);
	return failed;
}

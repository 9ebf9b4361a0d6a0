/* image-processor.c - preprocessor_config.json, and pictures prepared as it says. */
#include "sdk/nn/image-parts.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <cjson/cJSON.h>

#include "sdk/nn/text.h"

enum { PROCESSOR_FILE_LIMIT = 1 << 20, PROCESSOR_SIDE_MOST = 16384, PROCESSOR_PIXELS_MOST = 1 << 26 };

#define PROCESSOR_OPENAI_MEAN {0.48145466f, 0.4578275f, 0.40821073f}
#define PROCESSOR_OPENAI_STD {0.26862954f, 0.26130258f, 0.27577711f}
#define PROCESSOR_HALF {0.5f, 0.5f, 0.5f}
#define PROCESSOR_IMAGENET_MEAN {0.485f, 0.456f, 0.406f}
#define PROCESSOR_IMAGENET_STD {0.229f, 0.224f, 0.225f}

/* What an image processor does where its file is silent, by the beginning of its name. The first is for files without. */
static const struct processor_kind {
	const char *name;
	int shortest_edge; /* a plain "size" is the shortest edge, not both sides */
	int crop, pads, crop_pct;
	uint32_t size;
	enum nn_filter filter;
	float mean[3], std[3];
} processor_kinds[] = {
	{"CLIP", 1, 1, 0, 0, 224, NN_BICUBIC, PROCESSOR_OPENAI_MEAN, PROCESSOR_OPENAI_STD},
	{"LlavaImage", 1, 1, 1, 0, 224, NN_BICUBIC, PROCESSOR_OPENAI_MEAN, PROCESSOR_OPENAI_STD},
	{"Siglip", 0, 0, 0, 0, 224, NN_BICUBIC, PROCESSOR_HALF, PROCESSOR_HALF},
	{"Blip", 0, 0, 0, 0, 384, NN_BICUBIC, PROCESSOR_OPENAI_MEAN, PROCESSOR_OPENAI_STD},
	{"IdeficsImage", 0, 0, 0, 0, 224, NN_BICUBIC, PROCESSOR_OPENAI_MEAN, PROCESSOR_OPENAI_STD},
	{"ConvNext", 1, 0, 0, 1, 384, NN_BILINEAR, PROCESSOR_IMAGENET_MEAN, PROCESSOR_IMAGENET_STD},
	{"ViT", 0, 0, 0, 0, 224, NN_BILINEAR, PROCESSOR_HALF, PROCESSOR_HALF},
	{"Bit", 1, 1, 0, 0, 224, NN_BICUBIC, PROCESSOR_OPENAI_MEAN, PROCESSOR_OPENAI_STD},
};

static const struct processor_kind *processor_kind(const cJSON *root)
{
	const cJSON *type = cJSON_GetObjectItemCaseSensitive(root, "image_processor_type");

	if (!cJSON_IsString(type))
		type = cJSON_GetObjectItemCaseSensitive(root, "feature_extractor_type");
	for (size_t i = 0; cJSON_IsString(type) && i < sizeof(processor_kinds) / sizeof(*processor_kinds); i++)
		if (!strncmp(type->valuestring, processor_kinds[i].name, strlen(processor_kinds[i].name)))
			return &processor_kinds[i];
	return &processor_kinds[0];
}

/* One file's values; the first wrong one is the error. */
struct processor_reader {
	const cJSON *root;
	struct nn_error *error;
	int failed;
};

static void processor_refuse(struct processor_reader *r, const char *name, const char *what)
{
	if (!r->failed)
		r->failed = nn_fail(r->error, -EINVAL, "preprocessor_config.json: \"%s\" must be %s.", name, what);
}

static int processor_flag(struct processor_reader *r, const char *name, int fallback)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(r->root, name);

	if (!value || cJSON_IsNull(value))
		return fallback;
	if (!cJSON_IsBool(value))
		processor_refuse(r, name, "true or false");
	return cJSON_IsTrue(value);
}

static uint32_t processor_side(struct processor_reader *r, const cJSON *value, const char *name)
{
	if (cJSON_IsNumber(value) && value->valuedouble >= 1 && value->valuedouble <= PROCESSOR_SIDE_MOST &&
	    value->valuedouble == floor(value->valuedouble))
		return (uint32_t)value->valuedouble;
	processor_refuse(r, name, "a whole number of pixels from 1 to 16384");
	return 1;
}

/* "size": n, {"shortest_edge": n}, or {"height": n, "width": n}. */
static void processor_size(struct processor_reader *r, struct nn_image_processor *p, const struct processor_kind *kind,
			   uint32_t image_size)
{
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(r->root, "size");
	const cJSON *shortest = cJSON_GetObjectItemCaseSensitive(size, "shortest_edge");
	uint32_t side = image_size ? image_size : kind->size;

	p->shortest_edge = 0;
	if (cJSON_IsObject(size) && !shortest) {
		p->height = processor_side(r, cJSON_GetObjectItemCaseSensitive(size, "height"), "size");
		p->width = processor_side(r, cJSON_GetObjectItemCaseSensitive(size, "width"), "size");
		return;
	}
	if (size && !cJSON_IsNull(size))
		side = processor_side(r, shortest ? shortest : size, "size");
	if (shortest || kind->shortest_edge)
		p->shortest_edge = side;
	p->height = p->width = side;
}

static void processor_crop(struct processor_reader *r, struct nn_image_processor *p)
{
	const cJSON *crop = cJSON_GetObjectItemCaseSensitive(r->root, "crop_size");

	p->crop_height = p->height;
	p->crop_width = p->width;
	if (cJSON_IsObject(crop)) {
		p->crop_height = processor_side(r, cJSON_GetObjectItemCaseSensitive(crop, "height"), "crop_size");
		p->crop_width = processor_side(r, cJSON_GetObjectItemCaseSensitive(crop, "width"), "crop_size");
	} else if (crop && !cJSON_IsNull(crop)) {
		p->crop_height = p->crop_width = processor_side(r, crop, "crop_size");
	}
}

static void processor_colours(struct processor_reader *r, const char *name, float colours[3])
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(r->root, name);

	if (!list || cJSON_IsNull(list))
		return;
	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != 3)
		processor_refuse(r, name, "three numbers");
	for (int i = 0; !r->failed && i < 3; i++) {
		const cJSON *value = cJSON_GetArrayItem(list, i);

		if (!cJSON_IsNumber(value) || !isfinite((float)value->valuedouble))
			processor_refuse(r, name, "three numbers");
		colours[i] = cJSON_IsNumber(value) ? (float)value->valuedouble : 0;
	}
}

/* ConvNeXt: the shorter edge to size / crop_pct and a crop to size; from 384 up the whole picture to a square. */
static void processor_convnext(struct processor_reader *r, struct nn_image_processor *p)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(r->root, "crop_pct");
	double part = cJSON_IsNumber(value) ? value->valuedouble : 224.0 / 256;
	uint32_t side = p->height;

	if (!(part > 0.01 && part <= 1))
		processor_refuse(r, "crop_pct", "a number above 0.01, at most 1");
	else if (p->shortest_edge && side < 384) {
		p->shortest_edge = (uint32_t)(side / part);
		p->do_center_crop = 1;
	} else {
		p->shortest_edge = 0;
		p->do_center_crop = 0;
	}
	p->crop_height = p->crop_width = side;
}

static void processor_numbers(struct processor_reader *r, struct nn_image_processor *p, const struct processor_kind *kind)
{
	const cJSON *filter = cJSON_GetObjectItemCaseSensitive(r->root, "resample");
	const cJSON *rescale = cJSON_GetObjectItemCaseSensitive(r->root, "rescale_factor");

	p->filter = kind->filter;
	p->rescale = 1.0 / 255;
	memcpy(p->mean, kind->mean, sizeof(p->mean));
	memcpy(p->std, kind->std, sizeof(p->std));
	if (filter && !cJSON_IsNull(filter)) {
		if (cJSON_IsNumber(filter) && filter->valuedouble >= 0 && filter->valuedouble <= 5)
			p->filter = (enum nn_filter)filter->valueint;
		else
			processor_refuse(r, "resample", "a number from 0 to 5");
	}
	if (cJSON_IsNumber(rescale) && isfinite(rescale->valuedouble))
		p->rescale = rescale->valuedouble;
	else if (rescale && !cJSON_IsNull(rescale))
		processor_refuse(r, "rescale_factor", "a number");
	processor_colours(r, "image_mean", p->mean);
	processor_colours(r, "image_std", p->std);
	for (int i = 0; i < 3; i++) {
		double level = p->mean[i] * 255.0;

		if (p->do_normalize && p->std[i] == 0)
			processor_refuse(r, "image_std", "three numbers other than 0");
		p->background[i] = (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
	}
}

static int processor_read(struct nn_image_processor *p, const cJSON *root, uint32_t image_size, struct nn_error *error)
{
	struct processor_reader r = {.root = root, .error = error};
	const struct processor_kind *kind = processor_kind(root);

	*p = (struct nn_image_processor){0};
	p->do_resize = processor_flag(&r, "do_resize", 1);
	p->do_center_crop = processor_flag(&r, "do_center_crop", kind->crop);
	p->do_rescale = processor_flag(&r, "do_rescale", 1);
	p->do_normalize = processor_flag(&r, "do_normalize", 1);
	p->do_pad = kind->pads && processor_flag(&r, "do_pad", 0);
	processor_size(&r, p, kind, image_size);
	processor_crop(&r, p);
	if (kind->crop_pct && !r.failed)
		processor_convnext(&r, p);
	processor_numbers(&r, p, kind);
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
	text_free(&text);
	failed = processor_read(p, cJSON_GetObjectItemCaseSensitive(root, "image_processor"), image_size, error);
	cJSON_Delete(root);
	return failed;
}

/* LLaVA: a square with the picture in its middle. */
static int processor_pad(struct nn *c, const struct nn_image_processor *p, struct image_view *image)
{
	uint32_t side = image->width > image->height ? image->width : image->height;
	size_t left = (side - image->width) / 2, top = (side - image->height) / 2;
	size_t row = (size_t)side * 3;
	uint8_t *made = nn_memory(c, side, row);

	if (!made)
		return c->error;
	for (size_t i = 0; i < row; i++)
		made[i] = p->background[i % 3];
	for (size_t y = 1; y < side; y++)
		memcpy(made + y * row, made, row);
	for (size_t y = 0; y < image->height; y++)
		memcpy(made + (top + y) * row + left * 3, image->data + y * image->width * 3, (size_t)image->width * 3);
	*image = (struct image_view){made, side, side};
	return 0;
}

/* The size that a picture is resized to. */
static void processor_target(const struct nn_image_processor *p, struct image_view image, uint64_t *width, uint64_t *height)
{
	uint64_t w = image.width, h = image.height, s = p->shortest_edge;

	if (!p->do_resize) {
		*width = w;
		*height = h;
	} else if (!s) {
		*width = p->width;
		*height = p->height;
	} else {
		*width = w <= h ? s : (uint64_t)((double)(s * w) / (double)h);
		*height = w <= h ? (uint64_t)((double)(s * h) / (double)w) : s;
	}
}

/* One axis of a centre crop: output [at, at + n) is input [from, from + n); the rest is black. */
struct processor_span {
	uint32_t from, at, n;
};

static struct processor_span processor_centre(uint64_t full, uint32_t crop)
{
	if (full >= crop)
		return (struct processor_span){(uint32_t)((full - crop) / 2), 0, crop};
	return (struct processor_span){0, (uint32_t)((crop - full + 1) / 2), (uint32_t)full};
}

/* Planar float of every level, once for each colour. */
static void processor_levels(const struct nn_image_processor *p, float table[3][256])
{
	for (int colour = 0; colour < 3; colour++) {
		for (int level = 0; level < 256; level++) {
			float x = p->do_rescale ? (float)(level * p->rescale) : (float)level;

			table[colour][level] = p->do_normalize ? (x - p->mean[colour]) / p->std[colour] : x;
		}
	}
}

static void processor_put(float *out, uint32_t width, uint32_t height, const uint8_t *rgb, struct processor_span across,
			  struct processor_span down, float table[3][256])
{
	for (size_t colour = 0; colour < 3; colour++) {
		float *plane = out + colour * width * height;

		for (size_t i = 0; (across.n < width || down.n < height) && i < (size_t)width * height; i++)
			plane[i] = table[colour][0];
		for (size_t y = 0; y < down.n; y++) {
			const uint8_t *in = rgb + y * across.n * 3 + colour;
			float *row = plane + (down.at + y) * width + across.at;

			for (size_t x = 0; x < across.n; x++)
				row[x] = table[colour][in[x * 3]];
		}
	}
}

float *nn_image_prepare(struct nn *c, const struct nn_image_processor *p, const uint8_t *rgb, uint32_t width, uint32_t height,
			uint32_t *out_width, uint32_t *out_height, struct nn_error *error)
{
	struct image_view image = {rgb, width, height};
	float table[3][256], *out;
	uint64_t full_width, full_height;

	if (!width || !height || width > INT32_MAX || height > INT32_MAX) {
		c->error = nn_fail(error, -EINVAL, "A picture of %u x %u cannot be prepared.", width, height);
		return NULL;
	}
	if (p->do_pad && width != height && processor_pad(c, p, &image))
		goto fail;
	processor_target(p, image, &full_width, &full_height);
	uint64_t wide = p->do_center_crop ? p->crop_width : full_width;
	uint64_t high = p->do_center_crop ? p->crop_height : full_height;

	if (full_width < 1 || full_height < 1 || full_width > 1 << 30 || full_height > 1 << 30 || wide > 1 << 30 ||
	    high > 1 << 30 || wide * high > PROCESSOR_PIXELS_MOST) {
		c->error = nn_fail(error, -EINVAL, "A picture of %u x %u is too long and thin for this model.", width, height);
		return NULL;
	}
	struct processor_span across = processor_centre(full_width, (uint32_t)wide);
	struct processor_span down = processor_centre(full_height, (uint32_t)high);
	struct image_window window = {(uint32_t)full_width, (uint32_t)full_height, across.from, down.from, across.n, down.n};
	uint8_t *small = nn_memory(c, (size_t)across.n * down.n, 3);

	out = nn_memory(c, (size_t)wide * high * 3, sizeof(*out));
	if (!small || !out || image_resize_window(c, image, small, window, p->filter))
		goto fail;
	processor_levels(p, table);
	processor_put(out, (uint32_t)wide, (uint32_t)high, small, across, down, table);
	*out_width = (uint32_t)wide;
	*out_height = (uint32_t)high;
	return out;
fail:
	nn_fail(error, c->error, c->error == -ECANCELED ? "The work was stopped." : "There is not enough memory for a picture of "
		"%u x %u.", width, height);
	return NULL;
}

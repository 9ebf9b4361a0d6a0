/* image-read.c - what the kinds of image processors share in reading preprocessor_config.json. */
#include "sdk/nn/image-kind.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void image_refuse(struct image_reader *r, const char *name, const char *what)
{
	if (!r->failed)
		r->failed = nn_fail(r->error, -EINVAL, "preprocessor_config.json: \"%s\" must be %s.", name, what);
}

int image_read_flag(struct image_reader *r, const char *name, int fallback)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(r->root, name);

	if (!value || cJSON_IsNull(value))
		return fallback;
	if (!cJSON_IsBool(value))
		image_refuse(r, name, "true or false");
	return cJSON_IsTrue(value);
}

int64_t image_read_whole(struct image_reader *r, const char *name, int64_t fallback, int64_t least, int64_t most)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(r->root, name);
	char range[96];

	if (!value || cJSON_IsNull(value))
		return fallback;
	if (cJSON_IsNumber(value) && value->valuedouble >= (double)least && value->valuedouble <= (double)most &&
	    value->valuedouble == floor(value->valuedouble))
		return (int64_t)value->valuedouble;
	snprintf(range, sizeof(range), "a whole number from %lld to %lld", (long long)least, (long long)most);
	image_refuse(r, name, range);
	return fallback;
}

uint32_t image_read_side(struct image_reader *r, const cJSON *value, const char *name)
{
	if (cJSON_IsNumber(value) && value->valuedouble >= 1 && value->valuedouble <= IMAGE_SIDE_LIMIT &&
	    value->valuedouble == floor(value->valuedouble))
		return (uint32_t)value->valuedouble;
	image_refuse(r, name, "a whole number of pixels from 1 to 16384");
	return 1;
}

void image_read_size(struct image_reader *r, struct nn_image_processor *p)
{
	const cJSON *size = cJSON_GetObjectItemCaseSensitive(r->root, "size");
	const cJSON *shortest = cJSON_GetObjectItemCaseSensitive(size, "shortest_edge");
	uint32_t side = r->image_size ? r->image_size : r->kind->size;

	p->shortest_edge = 0;
	if (cJSON_IsObject(size) && !shortest) {
		p->height = image_read_side(r, cJSON_GetObjectItemCaseSensitive(size, "height"), "size");
		p->width = image_read_side(r, cJSON_GetObjectItemCaseSensitive(size, "width"), "size");
		return;
	}
	if (size && !cJSON_IsNull(size))
		side = image_read_side(r, shortest ? shortest : size, "size");
	if (shortest || r->kind->shortest_edge)
		p->shortest_edge = side;
	p->height = p->width = side;
}

void image_read_crop(struct image_reader *r, struct nn_image_processor *p)
{
	const cJSON *crop = cJSON_GetObjectItemCaseSensitive(r->root, "crop_size");

	p->crop_height = p->height;
	p->crop_width = p->width;
	if (cJSON_IsObject(crop)) {
		p->crop_height = image_read_side(r, cJSON_GetObjectItemCaseSensitive(crop, "height"), "crop_size");
		p->crop_width = image_read_side(r, cJSON_GetObjectItemCaseSensitive(crop, "width"), "crop_size");
	} else if (crop && !cJSON_IsNull(crop)) {
		p->crop_height = p->crop_width = image_read_side(r, crop, "crop_size");
	}
}

static void image_read_colours(struct image_reader *r, const char *name, float colours[3])
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(r->root, name);

	if (!list || cJSON_IsNull(list))
		return;
	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != 3)
		image_refuse(r, name, "three numbers");
	for (int i = 0; !r->failed && i < 3; i++) {
		const cJSON *value = cJSON_GetArrayItem(list, i);

		if (!cJSON_IsNumber(value) || !isfinite((float)value->valuedouble))
			image_refuse(r, name, "three numbers");
		colours[i] = cJSON_IsNumber(value) ? (float)value->valuedouble : 0;
	}
}

void image_read_numbers(struct image_reader *r, struct nn_image_processor *p)
{
	const cJSON *rescale = cJSON_GetObjectItemCaseSensitive(r->root, "rescale_factor");
	const cJSON *filter = cJSON_GetObjectItemCaseSensitive(r->root, "resample");

	p->filter = r->kind->filter;
	p->rescale = 1.0 / 255;
	memcpy(p->mean, r->kind->mean, sizeof(p->mean));
	memcpy(p->std, r->kind->std, sizeof(p->std));
	if (filter && !cJSON_IsNull(filter)) {
		if (cJSON_IsNumber(filter) && filter->valuedouble >= 0 && filter->valuedouble <= 5)
			p->filter = (enum nn_filter)filter->valueint;
		else
			image_refuse(r, "resample", "a number from 0 to 5");
	}
	if (cJSON_IsNumber(rescale) && isfinite(rescale->valuedouble))
		p->rescale = rescale->valuedouble;
	else if (rescale && !cJSON_IsNull(rescale))
		image_refuse(r, "rescale_factor", "a number");
	image_read_colours(r, "image_mean", p->mean);
	image_read_colours(r, "image_std", p->std);
	for (int i = 0; i < 3; i++) {
		const double level = p->mean[i] * 255.0;

		if (p->do_normalize && p->std[i] == 0)
			image_refuse(r, "image_std", "three numbers other than 0");
		p->background[i] = (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
	}
}

/* look-answer.c - the answer to image.look: an object that tells where in the tail everything lies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/engine.h"
#include "daemon/engine/look.h"
#include "daemon/engine/textout.h"

struct look_tail {
	char *data;
	size_t n, room;
	int failed;
};

/* Room for `n` more bytes, told to the object as member `name`; NULL when memory is out. */
static void *look_tail_add(struct look_tail *tail, cJSON *object, const char *name, size_t n)
{
	if (tail->n + n > tail->room) {
		const size_t room = (tail->n + n) * 2;
		char *data = realloc(tail->data, room);

		if (!data) {
			tail->failed = 1;
			return NULL;
		}
		tail->data = data;
		tail->room = room;
	}
	cJSON *range = cJSON_AddArrayToObject(object, name);

	cJSON_AddItemToArray(range, cJSON_CreateNumber((double)tail->n));
	cJSON_AddItemToArray(range, cJSON_CreateNumber((double)n));
	tail->n += n;
	return tail->data + tail->n - n;
}

static void look_tail_floats(struct look_tail *tail, cJSON *object, const char *name, const float *data, size_t n)
{
	void *to = look_tail_add(tail, object, name, n * sizeof(float));

	if (to)
		memcpy(to, data, n * sizeof(float));
}

/* The tiles in true colours: u8 [tiles][height][width][3]. */
static void look_tail_pixels(struct look_tail *tail, cJSON *object, const struct look_image *image)
{
	const size_t plane = (size_t)image->tile_width * image->tile_height;
	uint8_t *to = look_tail_add(tail, object, "pixels", 3 * plane * image->tiles);

	for (size_t i = 0; to && i < image->tiles; i++)
		for (size_t k = 0; k < plane; k++)
			for (size_t c = 0; c < 3; c++) {
				const float x = image->pixels[(i * 3 + c) * plane + k] * image->scale[1][c] + image->scale[0][c];

				*to++ = (uint8_t)(x <= 0 ? 0 : x >= 1 ? 255 : x * 255 + 0.5f);
			}
}

static cJSON *look_image_json(const struct look_image *image, const struct item *item, struct look_tail *tail)
{
	static const char *const overviews[] = {"none", "first", "last"};
	const struct percept_layout *l = &image->layout;
	const struct {
		const char *name;
		uint32_t value;
	} numbers[] = {
		{"width", l->width ? l->width : item->media.width}, {"height", l->height ? l->height : item->media.height},
		{"tiles", l->items}, {"tile_width", image->tile_width}, {"tile_height", image->tile_height},
		{"grid_rows", l->grid_rows}, {"grid_cols", l->grid_cols}, {"rows", l->rows}, {"cols", l->cols}, {"tokens", item->rows},
	};
	cJSON *object = cJSON_CreateObject();

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		cJSON_AddNumberToObject(object, numbers[i].name, numbers[i].value);
	cJSON_AddStringToObject(object, "overview", overviews[l->has_overview <= PERCEPT_OVERVIEW_LAST ? l->has_overview : 0]);
	if (image->pixels && image->tiles == l->items)
		look_tail_pixels(tail, object, image);
	if (image->views)
		look_tail_floats(tail, object, "views", image->views, (size_t)4 * l->items);
	if (image->areas)
		look_tail_floats(tail, object, "areas", image->areas, (size_t)4 * item->rows);
	if (image->unmapped[0])
		cJSON_AddStringToObject(object, "unmapped", image->unmapped);
	return object;
}

/* A token and how much of its attention each picture had. */
static cJSON *look_token_json(const struct request *request, uint32_t token)
{
	const struct look *look = request->look;
	const float *attention = look->attention + (size_t)token * look->rows;
	cJSON *one = cJSON_CreateObject(), *shares;
	size_t n;
	const char *bytes = text_piece(&request->engine->assembly.text, request->tokens[token], &n);
	char *valid = textout_valid(bytes, n);

	cJSON_AddNumberToObject(one, "id", request->tokens[token]);
	cJSON_AddStringToObject(one, "text", valid ? valid : "");
	free(valid);
	shares = cJSON_AddArrayToObject(one, "shares");
	for (size_t i = 0; i < request->n_items; i++) {
		double sum = 0;

		for (uint32_t k = 0; k < request->items[i].rows; k++)
			sum += *attention++;
		cJSON_AddItemToArray(shares, cJSON_CreateNumber(sum));
	}
	return one;
}

static void look_add_answer(const struct request *request, cJSON *result, struct look_tail *tail)
{
	const struct look *look = request->look;
	char text[128];
	cJSON *tokens;

	cJSON_AddStringToObject(result, "output_text", request->text ? request->text : "");
	cJSON_AddStringToObject(result, "finish_reason", request->finish ? request->finish : "stop");
	cJSON_AddNumberToObject(result, "layers", look->layers);
	cJSON_AddNumberToObject(result, "heads", look->heads);
	tokens = cJSON_AddArrayToObject(result, "tokens");
	for (uint32_t t = 0; t < look->tokens && t < request->n_tokens; t++)
		cJSON_AddItemToArray(tokens, look_token_json(request, t));
	if (look->layers && look->tokens) {
		look_tail_floats(tail, result, "attention", look->attention, (size_t)look->tokens * look->rows);
		return;
	}
	snprintf(text, sizeof(text), "Decoder %.64s does not show what its rows attend.",
		 request->engine->assembly.decoder->plugin.api->name);
	cJSON_AddStringToObject(result, "unseen", text);
}

cJSON *look_result(const struct request *request, void **tail, size_t *bytes)
{
	struct look_tail out = {0};
	cJSON *result = cJSON_CreateObject(), *images = cJSON_AddArrayToObject(result, "images");

	for (size_t i = 0; i < request->n_items; i++)
		cJSON_AddItemToArray(images, look_image_json(&request->look->images[i], &request->items[i], &out));
	if (!request->mute)
		look_add_answer(request, result, &out);
	*tail = out.data;
	*bytes = out.n;
	if (!out.failed)
		return result;
	free(out.data);
	cJSON_Delete(result);
	return NULL;
}

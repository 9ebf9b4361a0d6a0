/* look.c - gathers what plugins show while somebody looks. */
#include "daemon/engine/look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/size.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/pipeline.h"

#define LOOK_PIXELS ((size_t)1 << 24)  /* of all tiles: their colours fit a frame's tail */
#define LOOK_SIDE 4096                 /* patches in a direction */
#define LOOK_WEIGHTS ((size_t)1 << 23) /* rows of pictures times tokens: the same */

struct look *look_new(size_t n_images)
{
	struct look *look = calloc(1, sizeof(*look));

	if (!look)
		return NULL;
	look->images = calloc(n_images ? n_images : 1, sizeof(*look->images));
	look->n_images = n_images;
	if (look->images)
		return look;
	free(look);
	return NULL;
}

void look_free(struct look *look)
{
	if (!look)
		return;
	for (size_t i = 0; i < look->n_images; i++) {
		free(look->images[i].pixels);
		free(look->images[i].views);
		free(look->images[i].areas);
	}
	free(look->images);
	free(look->sum);
	free(look->attention);
	free(look);
}

static float *look_copy(const float *data, size_t n)
{
	float *copy = malloc(n * sizeof(*copy));

	return copy ? memcpy(copy, data, n * sizeof(*copy)) : NULL;
}

/* ---- the encoder ---- */

static void look_take_pixels(struct look_image *image, const float *data, const uint64_t *shape)
{
	size_t n;

	if (image->pixels || shape[1] != 3 || shape[0] == 0 || shape[0] > UINT32_MAX || shape[2] > UINT32_MAX || shape[3] > UINT32_MAX ||
	    !size_mul(shape[0], shape[2], &n) || !size_mul(n, shape[3], &n) || n == 0 || n > LOOK_PIXELS)
		return;
	image->pixels = look_copy(data, 3 * n);
	image->tiles = (uint32_t)shape[0];
	image->tile_height = (uint32_t)shape[2];
	image->tile_width = (uint32_t)shape[3];
}

void look_on_encoder(void *observer, const char *name, const float *data, const uint64_t *shape, uint32_t rank)
{
	struct look_image *image = observer;

	if (rank == 4 && strcmp(name, "pixel_values") == 0)
		look_take_pixels(image, data, shape);
	else if (rank == 2 && strcmp(name, "pixel_scale") == 0 && shape[0] == 2 && shape[1] == 3)
		memcpy(image->scale, data, sizeof(image->scale));
	else if (rank == 2 && strcmp(name, "views") == 0 && shape[1] == 4 && shape[0] == image->tiles && !image->views)
		image->views = look_copy(data, 4 * (size_t)shape[0]);
}

/* ---- the decoder ---- */

/* attention_layerN [rows][heads][keys]: one row wants logits in a step. */
void look_on_decoder(void *observer, const char *name, const float *data, const uint64_t *shape, uint32_t rank)
{
	struct look *look = observer;

	if (rank != 3 || shape[0] != 1 || strncmp(name, "attention_layer", 15) != 0)
		return;
	const uint64_t keys = shape[2] < look->n_sum ? shape[2] : look->n_sum;

	for (uint64_t h = 0; h < shape[1]; h++)
		for (uint64_t k = 0; k < keys; k++)
			look->sum[k] += data[h * shape[2] + k];
	look->count += (uint32_t)shape[1];
	look->heads = (uint32_t)shape[1];
}

void look_begin_step(struct look *look)
{
	memset(look->sum, 0, look->n_sum * sizeof(*look->sum));
	look->count = 0;
}

int look_keep_step(struct request *request)
{
	struct look *look = request->look;

	if (look->tokens == look->room) {
		uint32_t room = look->room ? look->room * 2 : 16;
		float *more = reallocarray(look->attention, (size_t)room * look->rows, sizeof(*more));

		if (!more)
			return -ENOMEM;
		look->attention = more;
		look->room = room;
	}
	float *to = look->attention + (size_t)look->tokens++ * look->rows;

	for (size_t i = 0; i < request->n_items; i++)
		for (uint32_t k = 0; k < request->items[i].rows; k++)
			*to++ = look->count ? look->sum[request->items[i].first + k] / (float)look->count : 0;
	look->layers = look->heads ? look->count / look->heads : 0;
	return 0;
}

/* ---- between them ---- */

/* A connector with queries of its own gives as many rows whatever it is given: they are no grid, even if they could be one. */
static int look_has_queries(const struct lane *lane, const struct look_image *image, struct call *call, uint32_t n)
{
	struct percept_embeddings answer;
	struct percept_piece piece;
	struct percept_layout finer = image->layout;

	if (!finer.rows || !finer.cols || finer.rows > LOOK_SIDE || finer.cols > LOOK_SIDE)
		return 0;
	finer.tokens += 3 * finer.rows * finer.cols;
	finer.rows *= 2;
	finer.cols *= 2;
	call_reset(call, lane->connector->plugin.api->name);
	return connect_plan(lane, call, &finer, &piece, &answer) == 0 && answer.n == n;
}

/* The item's rows in the prompt, of which some are tokens around its embeddings. */
static int look_map_item(struct request *request, struct call *call, size_t i)
{
	const struct lane *lane = &request->engine->assembly.lanes[request->items[i].lane];
	struct look_image *image = &request->look->images[i];
	const struct item *item = &request->items[i];
	const struct embeddings *e = &item->entry->embeddings;
	const struct percept_row *row = request->rows.rows + item->first;
	float *of = calloc((size_t)e->n + 1, 4 * sizeof(*of)), *areas = calloc((size_t)item->rows + 1, 4 * sizeof(*areas));
	uint32_t piece = 0, at = 0;

	if (!of || !areas) {
		free(of);
		free(areas);
		return -ENOMEM;
	}
	const int queries = look_has_queries(lane, image, call, e->n);
	const int unknown = look_map(image, lane->connector->plugin.api->name, queries ? 0 : e->n, of);

	for (uint32_t k = 0; k < item->rows && !unknown; k++) {
		if (row[k].token >= 0)
			continue;
		while (piece < e->n_pieces && (e->pieces[piece].kind != PERCEPT_PIECE_ROWS || at == e->pieces[piece].count))
			piece++, at = 0;
		if (piece < e->n_pieces)
			memcpy(areas + (size_t)4 * k, of + (size_t)4 * (e->pieces[piece].first + at++), 4 * sizeof(*areas));
	}
	free(of);
	image->areas = unknown ? NULL : areas;
	if (unknown)
		free(areas);
	return 0;
}

int look_prepare(struct request *request, struct call *call, struct wire_error *error)
{
	struct look *look = request->look;

	for (size_t i = 0; i < request->n_items; i++) {
		look->rows += request->items[i].rows;
		if (look_map_item(request, call, i))
			return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	}
	if (look->rows * request->max_output > LOOK_WEIGHTS)
		return wire_error_path(error, "max_output_tokens", "is %u, and the pictures have %zu tokens: what so many tokens attend "
				       "does not fit an answer; ask for at most %zu", request->max_output, look->rows,
				       LOOK_WEIGHTS / look->rows);
	look->n_sum = request->rows.n;
	look->sum = calloc((size_t)look->n_sum + 1, sizeof(*look->sum));
	return look->sum ? 0 : wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
}

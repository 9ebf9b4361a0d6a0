/* image-paint.c - a part of a resized picture becomes planar floats. */
#include "sdk/nn/image-kind.h"

struct image_span image_centre(uint64_t full, uint32_t crop)
{
	if (full >= crop)
		return (struct image_span){(uint32_t)((full - crop) / 2), 0, crop};
	return (struct image_span){0, (uint32_t)((crop - full + 1) / 2), (uint32_t)full};
}

/* Rows [begin, end) of a piece. */
struct image_rows {
	const struct image_place *place;
	const uint8_t *rgb; /* the window */
	float *out;
	float levels[3][256]; /* what each level of each colour becomes */
};

static void image_levels(const struct nn_image_processor *p, float levels[3][256])
{
	for (int colour = 0; colour < 3; colour++) {
		for (int level = 0; level < 256; level++) {
			const float x = p->do_rescale ? (float)(level * p->rescale) : (float)level;

			levels[colour][level] = p->do_normalize ? (x - p->mean[colour]) / p->std[colour] : x;
		}
	}
}

static void image_fill(float *out, size_t n, float value)
{
	for (size_t i = 0; i < n; i++)
		out[i] = value;
}

static void image_paint_rows(void *arg, size_t begin, size_t end)
{
	const struct image_rows *job = arg;
	const struct image_place *place = job->place;
	const size_t plane = (size_t)place->width * place->height, n = place->window.width;
	const size_t right = place->width - place->x - n;

	for (size_t y = begin; y < end; y++) {
		const int outside = y < place->y || y >= (size_t)place->y + place->window.height;
		const uint8_t *in = outside ? NULL : job->rgb + (y - place->y) * n * 3;

		for (size_t colour = 0; colour < 3; colour++) {
			const float *levels = job->levels[colour];
			float *row = job->out + colour * plane + y * place->width;

			image_fill(row, outside ? place->width : place->x, levels[0]);
			for (size_t x = 0; in && x < n; x++)
				row[place->x + x] = levels[in[x * 3 + colour]];
			if (in)
				image_fill(row + place->x + n, right, levels[0]);
		}
	}
}

int image_paint(struct nn *c, const struct nn_image_processor *p, struct image_view image, const struct image_place *place,
		float *out)
{
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);
	uint8_t *window = nn_memory(c, (size_t)place->window.width * place->window.height, 3);
	struct image_rows job = {.place = place, .rgb = window, .out = out};

	if (!window || image_resize_window(c, image, window, place->window, p->filter))
		return c->error;
	image_levels(p, job.levels);
	nn_split(c, place->height, 32, image_paint_rows, &job);
	nn_arena_release(c->arena, mark);
	return c->error;
}

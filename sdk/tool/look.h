/* look.h - what the files of "percept look" share. */
#ifndef TOOL_LOOK_H
#define TOOL_LOOK_H

#include <stdint.h>

#include "sdk/tool/tool.h"

/* The answer to image.look about one picture. What was not told is NULL. */
struct look {
	cJSON *result;
	const cJSON *image, *tokens;
	uint32_t width, height;    /* of the picture */
	uint32_t tiles, tile_width, tile_height, grid_rows, grid_cols, n_tokens;
	int overview;              /* the tile that is the whole picture; -1: none */
	const uint8_t *pixels;     /* [tiles][tile_height][tile_width][3] */
	float *views;              /* [tiles][4], owned */
	float *areas;              /* [n_tokens][4], owned */
	float *attention;          /* [answer's tokens][n_tokens], owned */
	uint32_t answer;           /* tokens of it */
};

/* A picture to show; rgb u8 [height][width][3], owned; NULL: there is none. */
struct look_canvas {
	uint32_t width, height;
	uint8_t *rgb;
};

/* Reads an answer; takes over nothing of it but what it parses. 0, or an exit code after saying why. */
int look_read(const struct tool *tool, const struct percept_answer *answer, struct look *look);
void look_fini(struct look *look);

/* look-canvas.c. 0 or -ENOMEM; a canvas without rgb where nothing is known to draw. */
/* The tiles as they were encoded, in their grid, the overview before or behind it. */
int look_draw_tiles(const struct look *look, struct look_canvas *canvas);
/* The picture put together from what the tiles show of it; what none shows is grey. */
int look_draw_picture(const struct look *look, struct look_canvas *canvas);
/* How much attention token `token` of the answer (-1: all of them, in the mean) gave to each pixel of a canvas of the
 * picture: heat [height][width], the most being 1. */
int look_draw_heat(const struct look *look, int64_t token, const struct look_canvas *canvas, float *heat);
/* Lays heat over the picture: cold parts darken, hot ones glow. */
void look_lay_heat(struct look_canvas *canvas, const float *heat);
/* Doubled, tripled ... until it is large enough to be looked at. */
int look_enlarge(struct look_canvas *canvas);

/* look-print.c: the canvas, or in shades of ASCII the heat (NULL: the canvas' brightness), as wide as the terminal allows. */
void look_print(const struct look_canvas *canvas, const float *heat);
/* Whether the output can show colours. */
int look_has_colours(void);

#endif

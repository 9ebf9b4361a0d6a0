/* look-print.c - pictures on a terminal: two pixels a character in true colours, or shades of ASCII. */
#include "sdk/tool/look.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { PRINT_COLS = 80, PRINT_ROWS = 40 };

int look_has_colours(void)
{
	const char *term = getenv("TERM"), *none = getenv("NO_COLOR");
	return isatty(1) && !(none && *none) && term && *term && strcmp(term, "dumb") != 0;
}

/* Characters that a picture of that shape takes; a character is twice as high as it is wide. */
static void print_size(const struct look_canvas *canvas, uint32_t *cols, uint32_t *rows)
{
	struct winsize size;
	double most_cols = PRINT_COLS, most_rows = PRINT_ROWS;
	if (isatty(1) && ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 4) {
		most_cols = size.ws_col - 1;
		most_rows = size.ws_row - 4;
	}
	const double scale = fmin(most_cols / canvas->width, most_rows * 2 / canvas->height);
	*cols = (uint32_t)fmax(1, canvas->width * scale);
	*rows = (uint32_t)fmax(1, canvas->height * scale / 2);
}

/* The mean over part (x, y) of cols x rows parts: of the colours, or of the heat in mean[0]. */
static void print_mean(const struct look_canvas *canvas, const float *heat, const uint32_t parts[2], const uint32_t at[2], double mean[3])
{
	uint32_t lo[2], hi[2];
	const uint32_t size[2] = {canvas->width, canvas->height};
	double sum[3] = {0};
	for (int i = 0; i < 2; i++) {
		lo[i] = (uint32_t)((uint64_t)size[i] * at[i] / parts[i]);
		hi[i] = (uint32_t)((uint64_t)size[i] * (at[i] + 1) / parts[i]);
		hi[i] = hi[i] > lo[i] ? hi[i] : lo[i] + 1;
	}
	for (uint32_t y = lo[1]; y < hi[1]; y++)
		for (uint32_t x = lo[0]; x < hi[0]; x++) {
			const size_t i = (size_t)y * canvas->width + x;
			for (int c = 0; c < 3; c++)
				sum[c] += heat ? heat[i] : canvas->rgb[3 * i + (size_t)c];
		}
	for (int c = 0; c < 3; c++)
		mean[c] = sum[c] / ((double)(hi[0] - lo[0]) * (hi[1] - lo[1]));
}

/* The upper half block has the one colour, what is under it the other. */
static void print_colours(const struct look_canvas *canvas, uint32_t cols, uint32_t rows)
{
	const uint32_t parts[2] = {cols, 2 * rows};
	for (uint32_t y = 0; y < rows; y++) {
		for (uint32_t x = 0; x < cols; x++) {
			double up[3], down[3];
			print_mean(canvas, NULL, parts, (const uint32_t[]){x, 2 * y}, up);
			print_mean(canvas, NULL, parts, (const uint32_t[]){x, 2 * y + 1}, down);
			printf("\033[38;2;%.0f;%.0f;%.0fm\033[48;2;%.0f;%.0f;%.0fm\xe2\x96\x80", up[0], up[1], up[2], down[0], down[1],
			       down[2]);
		}
		puts("\033[0m");
	}
}

static void print_shades(const struct look_canvas *canvas, const float *heat, uint32_t cols, uint32_t rows)
{
	static const char shades[] = " .:-=+*#%@";
	const uint32_t parts[2] = {cols, rows};
	for (uint32_t y = 0; y < rows; y++) {
		for (uint32_t x = 0; x < cols; x++) {
			double m[3];
			print_mean(canvas, heat, parts, (const uint32_t[]){x, y}, m);
			const double light = heat ? sqrt(m[0]) : (0.299 * m[0] + 0.587 * m[1] + 0.114 * m[2]) / 255;
			putchar(shades[(int)fmin(light * (sizeof shades - 1), sizeof shades - 2)]);
		}
		putchar('\n');
	}
}

void look_print(const struct look_canvas *canvas, const float *heat)
{
	uint32_t cols, rows;
	print_size(canvas, &cols, &rows);
	if (look_has_colours())
		print_colours(canvas, cols, rows);
	else
		print_shades(canvas, heat, cols, rows);
}

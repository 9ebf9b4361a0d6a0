/* png.h - writing pictures. */
#ifndef TOOL_PNG_H
#define TOOL_PNG_H

#include <stdint.h>

/* Writes rgb, u8 [height][width][3], as a PNG file. 0 or a negative errno; a file that could not be written whole is removed. */
int png_write(const char *path, const uint8_t *rgb, uint32_t width, uint32_t height);

#endif

/* picture.h - a picture file, decoded by percept-media. */
#ifndef TESTS_GOLDEN_PICTURE_H
#define TESTS_GOLDEN_PICTURE_H

#include <percept/plugin.h>

/* path/file as a media item of 8-bit RGB samples. 0; -1 if it cannot be read or decoded. */
int picture_open(struct percept_media *media, const char *path, const char *file);
void picture_close(struct percept_media *media);

#endif

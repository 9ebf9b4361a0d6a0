/* folder.h - a golden folder whose configuration a fuzz target's input changes. */
#ifndef TESTS_FUZZ_FOLDER_H
#define TESTS_FUZZ_FOLDER_H

#include <stdint.h>

/* Input that is read byte by byte; behind its end are zeroes. */
struct bytes {
	const uint8_t *at, *end;
};

unsigned take(struct bytes *b);
/* A folder like the golden folder `name` (lent for good), with its configuration edited as the input says. It is gone with the program. */
const char *fuzz_folder(const char *name, struct bytes *in);

#endif

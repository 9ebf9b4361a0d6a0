/* golden.h - reading golden data in the tests of this room. */
#ifndef TEST_GOLDEN_H
#define TEST_GOLDEN_H

#include <stddef.h>
#include <cjson/cJSON.h>

/* The path of tests/goldens/NAME, or of another path below the source tree's top; valid until the next call. */
const char *golden_path(const char *name);
const char *golden_top_path(const char *name);
/* A file's bytes with a NUL behind them, malloc'ed; ends the test if there is none. */
char *golden_read(const char *path, size_t *n);
cJSON *golden_json(const char *path);
/* A tensor's bytes in a safetensors file that golden_read read; ends the test if there is none. */
const void *golden_tensor(const char *file, const char *name, size_t *shape);
/* A new folder under $TMPDIR; and its end, with the files in it. */
char *golden_folder(void);
void golden_folder_write(const char *folder, const char *name, const char *text);
void golden_folder_remove(char *folder);

#endif

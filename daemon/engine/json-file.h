/* json-file.h - the small JSON files of a model's directory. */
#ifndef ENGINE_JSON_FILE_H
#define ENGINE_JSON_FILE_H

#include <cjson/cJSON.h>

/* DIRECTORY/NAME, or NULL if it is not there, larger than 16 MiB, or no JSON. Of a picture tower's GGUF file
 * what stands in that file's place. One thread at a time. */
cJSON *json_file_read(const char *directory, const char *name);
/* The directory itself, or a file's directory; malloc'ed. */
char *json_file_directory(const char *path);
/* `item` if it is an array, else NULL: what cJSON_ArrayForEach does nothing with. */
static inline const cJSON *json_list(const cJSON *item)
{
	return cJSON_IsArray(item) ? item : NULL;
}

#endif

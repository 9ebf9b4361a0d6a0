/* json-file.c - the small JSON files of a model's directory. */
#include "config.h"
#include "daemon/engine/json-file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sdk/nn/mmproj.h"

#define JSON_FILE_MAX (16 * 1024 * 1024)

cJSON *json_file_read(const char *directory, const char *name)
{
	char *path = NULL, *text = NULL;
	cJSON *json = NULL;
	struct nn_error ignored = {0};
	struct stat st;

	if (nn_gguf_is_path(directory))
		return nn_mmproj_json(directory, name, &ignored);
	if (asprintf(&path, "%s/%s", directory, name) < 0)
		return NULL;
	FILE *file = stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= JSON_FILE_MAX ? fopen(path, "re") : NULL;

	if (file && (text = malloc((size_t)st.st_size + 1)))
		json = cJSON_ParseWithLength(text, fread(text, 1, (size_t)st.st_size, file));
	if (file)
		fclose(file);
	free(text);
	free(path);
	return json;
}

char *json_file_directory(const char *path)
{
	struct stat st;
	const char *slash = strrchr(path, '/');

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode) && slash)
		return strndup(path, slash == path ? 1 : (size_t)(slash - path));
	return strdup(path);
}

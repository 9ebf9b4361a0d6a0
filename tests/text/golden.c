/* golden.c - reading golden data in the tests of this room. */
#include "tests/text/golden.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

const char *golden_top_path(const char *name)
{
	static char path[4096];
	const char *top = getenv("top_srcdir");

	snprintf(path, sizeof(path), "%s/%s", top ? top : ".", name);
	return path;
}

const char *golden_path(const char *name)
{
	char below[1024];

	snprintf(below, sizeof(below), "tests/goldens/%s", name);
	return golden_top_path(below);
}

char *golden_read(const char *path, size_t *n)
{
	FILE *file = fopen(path, "rb");
	char *bytes = NULL;
	size_t room = 0, got = 0;

	if (!file)
		fail_msg("%s cannot be opened", path);
	do {
		room = room * 2 + 4096;
		bytes = realloc(bytes, room + 1);
		assert_non_null(bytes);
		got += fread(bytes + got, 1, room - got, file);
	} while (got == room);
	fclose(file);
	bytes[got] = '\0';
	if (n)
		*n = got;
	return bytes;
}

cJSON *golden_json(const char *path)
{
	char *text = golden_read(path, NULL);
	cJSON *json = cJSON_Parse(text);

	free(text);
	assert_non_null(json);
	return json;
}

const void *golden_tensor(const char *file, const char *name, size_t *shape)
{
	uint64_t header;

	memcpy(&header, file, 8);
	cJSON *json = cJSON_ParseWithLength(file + 8, header);
	const cJSON *tensor = cJSON_GetObjectItemCaseSensitive(json, name), *side;
	size_t rank = 0;

	if (!tensor)
		fail_msg("there is no tensor %s", name);
	cJSON_ArrayForEach(side, cJSON_GetObjectItem(tensor, "shape"))
	{
		shape[rank++] = (size_t)side->valuedouble;
	}
	double at = cJSON_GetArrayItem(cJSON_GetObjectItem(tensor, "data_offsets"), 0)->valuedouble;

	cJSON_Delete(json);
	return file + 8 + header + (size_t)at;
}

char *golden_folder(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[4096];

	snprintf(path, sizeof(path), "%s/percept-text-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(path));
	return strdup(path);
}

void golden_folder_write(const char *folder, const char *name, const char *text)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

void golden_folder_remove(char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(folder);
	free(folder);
}

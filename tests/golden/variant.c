/* variant.c - a model's folder again, with another configuration. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden/part.h"

static int variant_link(const char *path, const char *out, const char *file, const char *as)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (snprintf(from, sizeof(from), "%s/%s", path, file) >= (int)sizeof(from) ||
	    snprintf(to, sizeof(to), "%s/%s", out, as) >= (int)sizeof(to))
		return -1;
	return symlink(from, to);
}

static int variant_write(const char *out, const char *name, const char *text)
{
	char to[PATH_MAX];

	if (snprintf(to, sizeof(to), "%s/%s", out, name) >= (int)sizeof(to))
		return -1;
	FILE *f = fopen(to, "we");

	if (!f)
		return -1;
	const int failed = fputs(text, f) < 0;

	return fclose(f) || failed ? -1 : 0;
}

int variant_make(const char *path, const char *config, const char *tokenizer, char out[PATH_MAX])
{
	const char *temporary = getenv("TMPDIR");
	const struct dirent *entry;
	int failed = 0;

	snprintf(out, PATH_MAX, "%s/run-golden-XXXXXX", temporary ? temporary : "/tmp");
	if (!mkdtemp(out))
		return -1;
	DIR *folder = opendir(path);

	while (folder && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "config.json") ||
		    (tokenizer && !strcmp(entry->d_name, "tokenizer.json")))
			continue;
		failed |= variant_link(path, out, entry->d_name, entry->d_name);
	}
	if (folder)
		closedir(folder);
	if (config)
		failed |= config[0] == '{' ? variant_write(out, "config.json", config) : variant_link(path, out, config, "config.json");
	if (tokenizer)
		failed |= variant_write(out, "tokenizer.json", tokenizer);
	if (failed)
		variant_remove(out);
	return failed ? -1 : 0;
}

void variant_remove(const char *path)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		char inner[PATH_MAX];

		if (entry->d_name[0] != '.' && unlinkat(dirfd(folder), entry->d_name, 0) &&
		    snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name) < (int)sizeof(inner))
			variant_remove(inner);
	}
	if (folder)
		closedir(folder);
	rmdir(path);
}

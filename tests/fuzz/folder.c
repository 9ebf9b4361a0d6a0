/* folder.c - a golden folder whose configuration a fuzz target's input changes. */
#include "tests/fuzz/folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "tests/plugins/host.h"

enum { FUZZ_FILE = 1 << 16, FUZZ_EDITS = 8, FUZZ_FOLDERS = 64 };

static const char *const files[] = { "config.json", "preprocessor_config.json", "open_clip_config.json", "timm_model.json" };
enum { FUZZ_FILES = sizeof(files) / sizeof(files[0]) };

/* What a value becomes. */
static const char *const values[] = {
	"0", "1", "2", "3", "4", "7", "8", "16", "64", "255", "1024", "4096", "16384", "65536", "16777216", "2147483647", "2147483648",
	"4294967295", "4294967296", "9007199254740993", "1e18", "1e19", "1e30", "1e308", "-1", "-2", "-3", "-8", "-2147483648", "-1e30",
	"0.5", "0.1", "-0.5", "1e-30", "1.5", "null", "true", "false", "\"\"", "\"gelu\"", "\"silu\"", "\"full\"", "\"odd\"", "[]", "{}",
	"[0]", "[-1]", "[1,2]", "[0,0,0]", "[1e9,1e9]", "[[0,0]]", "[[28,56],[56,28]]", "{\"height\":0,\"width\":0}",
	"{\"height\":7,\"width\":9}", "{\"shortest_edge\":1}", "{\"longest_edge\":100000}", "[1,2,3,4,5,6,7,8,9,10]",
};
enum { FUZZ_VALUES = sizeof(values) / sizeof(values[0]) };

unsigned take(struct bytes *b)
{
	return b->at < b->end ? *b->at++ : 0;
}

/* The n-th value within, depth first; n counts down. */
static cJSON *fuzz_find(cJSON *item, unsigned *n)
{
	cJSON *child;

	cJSON_ArrayForEach(child, item) {
		if ((*n)-- == 0)
			return child;
		cJSON *found = fuzz_find(child, n);

		if (found)
			return found;
	}
	return NULL;
}

static cJSON *fuzz_parent(cJSON *root, const cJSON *item)
{
	cJSON *child;

	cJSON_ArrayForEach(child, root) {
		cJSON *found = child == item ? root : fuzz_parent(child, item);

		if (found)
			return found;
	}
	return NULL;
}

/* One value becomes another, or is taken out. */
static void fuzz_edit(cJSON *root, struct bytes *in)
{
	unsigned n = take(in);
	const unsigned value = take(in) % (FUZZ_VALUES + 1);
	cJSON *item = fuzz_find(root, &n), *parent = item ? fuzz_parent(root, item) : NULL;

	if (!parent)
		return;
	if (value == FUZZ_VALUES)
		cJSON_Delete(cJSON_DetachItemViaPointer(parent, item));
	else if (cJSON_IsObject(parent))
		cJSON_ReplaceItemInObjectCaseSensitive(parent, item->string, cJSON_Parse(values[value]));
	else
		cJSON_ReplaceItemViaPointer(parent, item, cJSON_Parse(values[value]));
}

static cJSON *fuzz_read(const char *path)
{
	static char text[FUZZ_FILE];
	FILE *file = fopen(path, "r");
	const size_t n = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	if (file)
		fclose(file);
	text[n] = '\0';
	return n ? cJSON_Parse(text) : NULL;
}

static void fuzz_write(const char *path, const cJSON *root)
{
	char *text = cJSON_PrintUnformatted(root);
	FILE *file = fopen(path, "w");

	if (!text || !file || fputs(text, file) < 0)
		abort();
	fclose(file);
	cJSON_free(text);
}

static int fuzz_is_edited(const char *name)
{
	for (size_t i = 0; i < FUZZ_FILES; i++)
		if (!strcmp(files[i], name))
			return 1;
	return 0;
}

/* `folder` links to all files of the golden folder `name` but those that are edited. */
static void fuzz_links(const char *name, const char *folder)
{
	char golden[4096], from[8192], to[8192], *absolute = realpath(host_golden(name, golden), NULL);
	DIR *dir = absolute ? opendir(absolute) : NULL;

	if (!dir)
		abort();
	for (const struct dirent *e; (e = readdir(dir));) {
		snprintf(from, sizeof(from), "%s/%s", absolute, e->d_name);
		snprintf(to, sizeof(to), "%s/%s", folder, e->d_name);
		if (e->d_name[0] != '.' && !fuzz_is_edited(e->d_name) && symlink(from, to))
			abort();
	}
	closedir(dir);
	free(absolute);
}

/* Those that were made. */
static struct fuzz_made {
	const char *name;
	char path[64];
} folders[FUZZ_FOLDERS];

static void fuzz_drop(const char *path)
{
	char name[8192];
	DIR *dir = opendir(path);

	for (const struct dirent *e; dir && (e = readdir(dir));) {
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		unlink(name);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

/* Behind a program that ends by itself. */
static void fuzz_end(void)
{
	for (size_t i = 0; i < FUZZ_FOLDERS && folders[i].name; i++)
		fuzz_drop(folders[i].path);
}

/* The place of a golden folder, made when it is first asked for. */
static struct fuzz_made *fuzz_made(const char *name)
{
	static int registered;
	size_t i = 0;

	if (!registered++)
		atexit(fuzz_end);
	while (i < FUZZ_FOLDERS && folders[i].name && strcmp(folders[i].name, name))
		i++;
	if (i == FUZZ_FOLDERS)
		abort();
	if (!folders[i].name) {
		strcpy(folders[i].path, "/tmp/percept-fuzz-XXXXXX");
		if (!mkdtemp(folders[i].path))
			abort();
		fuzz_links(name, folders[i].path);
		folders[i].name = name;
	}
	return &folders[i];
}

const char *fuzz_folder(const char *name, struct bytes *in)
{
	struct fuzz_made *made = fuzz_made(name);
	char golden[4096], path[8192];
	cJSON *roots[FUZZ_FILES];

	for (size_t k = 0; k < FUZZ_FILES; k++) {
		snprintf(path, sizeof(path), "%s/%s", host_golden(name, golden), files[k]);
		roots[k] = fuzz_read(path);
	}
	for (unsigned edits = take(in) % FUZZ_EDITS; edits > 0; edits--)
		fuzz_edit(roots[take(in) % FUZZ_FILES], in);
	for (size_t k = 0; k < FUZZ_FILES; k++) {
		snprintf(path, sizeof(path), "%s/%s", made->path, files[k]);
		if (roots[k])
			fuzz_write(path, roots[k]);
		cJSON_Delete(roots[k]);
	}
	return made->path;
}

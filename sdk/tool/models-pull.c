/* models-pull.c - percept models pull: a model of the catalogue, checked before it takes its name. */
#include "sdk/tool/models-pull.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sdk/tool/models.h"
#include "sdk/wire/place.h"

enum { PULL_BUFFER = 1 << 20, CATALOGUE_BYTES = 1 << 20 };

/* ---- the catalogue ---- */

static cJSON *catalogue_read(const char *path)
{
	FILE *in = fopen(path, "re");
	char *text = in ? malloc(CATALOGUE_BYTES + 1) : NULL;
	size_t n = text ? fread(text, 1, CATALOGUE_BYTES, in) : 0;
	cJSON *json = n < CATALOGUE_BYTES ? cJSON_ParseWithLength(text ? text : "", n) : NULL;
	free(text);
	if (in)
		fclose(in);
	return json;
}

cJSON *catalogue_find(struct tool *tool, const char *name)
{
	char file[PATH_MAX], path[PATH_MAX];
	char *folders = place_model_path(NULL);
	size_t n = strlen(name);
	cJSON *json = NULL;
	if (n > 5 && strcmp(name + n - 5, ".gguf") == 0)
		n -= 5;
	if (folders && !strchr(name, '/') && snprintf(file, sizeof file, "catalogue/%.*s.json", (int)n, name) < (int)sizeof file &&
	    place_find(folders, file, path) == 0) {
		json = catalogue_read(path);
		if (!json)
			tool_say(tool, 0, "%s is not JSON.", path);
	}
	free(folders);
	return json;
}

static void catalogue_list_folder(const char *folder)
{
	struct dirent **entries;
	char path[PATH_MAX];
	int n = scandir(folder, &entries, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		cJSON *json = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name) < (int)sizeof path &&
			      entries[i]->d_name[0] != '.' ? catalogue_read(path) : NULL;
		if (json)
			fprintf(stderr, "  %-36s %s; %s\n", json_text(json, "name"), json_text(json, "summary"), json_text(json, "licence"));
		cJSON_Delete(json);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

void catalogue_list(struct tool *tool)
{
	char *folders = place_model_path(NULL), *rest = folders, *folder, path[PATH_MAX];
	(void)tool;
	while (rest && (folder = strsep(&rest, ":")))
		if (snprintf(path, sizeof path, "%s/catalogue", folder) < (int)sizeof path)
			catalogue_list_folder(path);
	free(folders);
}

/* ---- the part ---- */

int pull_append(struct pull *p, const void *data, size_t n)
{
	errno = 0;
	if (fwrite(data, 1, n, p->file) != n || fflush(p->file) != 0)
		return errno ? -errno : -EIO;
	p->have += (double)n;
	progress_show(&p->progress, "downloading", p->have, p->bytes);
	return 0;
}

int pull_restart(struct pull *p)
{
	if (ftruncate(fileno(p->file), 0) != 0)
		return -errno;
	p->have = 0;
	return 0;
}

int pull_digest(const char *path, char hex[NN_DIGEST_HEX])
{
	FILE *in = fopen(path, "rbe");
	struct nn_digest *d = in ? nn_digest_new() : NULL;
	unsigned char *buffer = d ? malloc(PULL_BUFFER) : NULL;
	int error = !in ? -errno : buffer ? 0 : -ENOMEM;
	for (size_t n; !error && (n = fread(buffer, 1, PULL_BUFFER, in)) > 0;)
		nn_digest_add(d, buffer, n);
	if (!error && ferror(in))
		error = -EIO;
	if (!error)
		error = nn_digest_end(d, hex);
	free(buffer);
	nn_digest_free(d);
	if (in)
		fclose(in);
	return error;
}

int pull_file(struct pull *p, const char *path)
{
	unsigned char *buffer = malloc(PULL_BUFFER);
	FILE *in = buffer ? fopen(path, "rbe") : NULL;
	int error = in && fseeko(in, (off_t)p->have, SEEK_SET) == 0 ? 0 : errno ? -errno : -EIO;
	for (size_t n; !error && (n = fread(buffer, 1, PULL_BUFFER, in)) > 0;)
		error = pull_append(p, buffer, n);
	if (!error && ferror(in))
		error = -EIO;
	if (in)
		fclose(in);
	free(buffer);
	progress_clear(&p->progress);
	return error ? tool_say(p->tool, -1, "%s cannot be copied: %s.", path, strerror(-error)) : 0;
}

/* ---- one file ---- */

/* One process at a time writes the part. */
static int pull_open(struct pull *p)
{
	const int fd = open(p->part, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	struct stat st;
	if (fd < 0)
		return tool_say(p->tool, -1, "%s cannot be written: %s.", p->part, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &st) != 0 || !(p->file = fdopen(fd, "ab"))) {
		close(fd);
		return tool_say(p->tool, -1, "%s is being written by another process.", p->part);
	}
	p->have = (double)st.st_size;
	if (p->bytes > 0 && p->have > p->bytes)
		pull_restart(p);
	return 0;
}

static int pull_source(struct pull *p, const cJSON *source)
{
	const char *url = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(source, "url"));
	const char *file = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(source, "file"));
	const cJSON *python = cJSON_GetObjectItemCaseSensitive(source, "python");
	if (url)
		return pull_url(p, url);
	if (file)
		return pull_file(p, file);
	if (cJSON_IsArray(python))
		return pull_python(p, python);
	return tool_say(p->tool, -1, "A source is neither \"url\" nor \"file\" nor \"python\".");
}

/* What came is what was meant, or it goes. */
static int pull_check(struct pull *p)
{
	char hex[NN_DIGEST_HEX];
	if (p->bytes > 0 && p->have < p->bytes)
		return tool_say(p->tool, -1, "%s has %.0f of %.0f bytes; the same command goes on there.", p->part, p->have, p->bytes);
	const int error = fsync(fileno(p->file)) != 0 ? -errno : pull_digest(p->part, hex);
	if (error)
		return tool_say(p->tool, -1, "%s cannot be checked: %s.", p->part, strerror(-error));
	if ((p->bytes > 0 && p->have > p->bytes) || (p->sha256 && strcasecmp(hex, p->sha256) != 0)) {
		unlink(p->part);
		return tool_say(p->tool, -1, "What came is not the file of the catalogue (SHA-256 %s instead of %s); it was removed.", hex,
				p->sha256 ? p->sha256 : "any");
	}
	if (rename(p->part, p->path) != 0)
		return tool_say(p->tool, -1, "%s cannot take its name: %s.", p->part, strerror(errno));
	return 0;
}

static int pull_all(struct pull *p, const cJSON *sources)
{
	const cJSON *source;
	if (pull_open(p) != 0)
		return -1;
	int r = -1;
	progress_init(&p->progress);
	cJSON_ArrayForEach(source, sources)
		if (r != 0 && (r = p->bytes > 0 && p->have == p->bytes ? 0 : pull_source(p, source)) == 0)
			r = pull_check(p);
	progress_clear(&p->progress);
	fclose(p->file);
	return r;
}

/* Makes every folder of the path. */
static int pull_folder(char *path)
{
	for (char *slash = path; (slash = strchr(slash + 1, '/')); *slash = '/') {
		*slash = '\0';
		if (mkdir(path, 0755) != 0 && errno != EEXIST) {
			const int error = -errno;
			*slash = '/';
			return error;
		}
	}
	return 0;
}

/* Where a model goes: into the first of the model folders. */
static int pull_place(struct pull *p, const char *name)
{
	char *folders = place_model_path(NULL);
	if (!folders)
		return tool_no_memory(p->tool), -1;
	const int n = snprintf(p->path, sizeof p->path, "%.*s/%s", (int)strcspn(folders, ":"), folders, name);
	free(folders);
	if (n >= (int)sizeof p->path)
		return tool_say(p->tool, -1, "The name of the model folder is too long.");
	const int error = pull_folder(p->path);
	return error ? tool_say(p->tool, -1, "The folder of %s cannot be made: %s.", p->path, strerror(-error)) : 0;
}

/* One file of an entry, or the entry where it is one; to p->path, unless it is there already. */
static int pull_one(struct pull *p, const cJSON *entry)
{
	char hex[NN_DIGEST_HEX];
	if (snprintf(p->part, sizeof p->part, "%s.part", p->path) >= (int)sizeof p->part)
		return tool_say(p->tool, -1, "The name of the model folder is too long.");
	p->bytes = json_number(entry, "bytes");
	p->sha256 = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "sha256"));
	if (pull_digest(p->path, hex) == 0 && (!p->sha256 || strcasecmp(hex, p->sha256) == 0))
		return 0;
	return pull_all(p, cJSON_GetObjectItemCaseSensitive(entry, "sources"));
}

static int pull_contents(struct pull *p, const char *folder, const cJSON *contents)
{
	const cJSON *item;
	char path[PATH_MAX];
	cJSON_ArrayForEach(item, contents) {
		FILE *out = !strchr(item->string, '/') && snprintf(path, sizeof path, "%s/%s", folder, item->string) < (int)sizeof path ?
			    fopen(path, "we") : NULL;
		char *text = out ? cJSON_Print(item) : NULL;
		int failed = !text || fprintf(out, "%s\n", text) < 0;
		free(text);
		if (!out || fclose(out) != 0 || failed)
			return tool_say(p->tool, -1, "%s/%s cannot be written: %s.", folder, item->string, strerror(errno));
	}
	return 0;
}

/* A model of several files grows in NAME.part and takes its name when all is there. */
static int pull_several(struct pull *p, const cJSON *entry, const char *name)
{
	const char *convert = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "convert"));
	char whole[PATH_MAX], folder[PATH_MAX];
	const cJSON *file;
	snprintf(whole, sizeof whole, "%s", p->path);
	if (access(whole, F_OK) == 0)
		return 0;
	if (snprintf(folder, sizeof folder, "%s.part", whole) >= (int)sizeof folder || (mkdir(folder, 0755) != 0 && errno != EEXIST))
		return tool_say(p->tool, -1, "The folder %s.part cannot be made: %s.", whole, strerror(errno));
	cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(entry, "files")) {
		const char *part = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(file, "name"));
		if (!part || strchr(part, '/') || *part == '.' || snprintf(p->path, sizeof p->path, "%s/%s", folder, part) >= (int)sizeof p->path)
			return tool_say(p->tool, -1, "The catalogue's entry %s has a file without a name.", name);
		if (pull_one(p, file) != 0)
			return -1;
	}
	if (convert && models_convert_whisper(p->tool, folder, convert) != 0)
		return -1;
	if (pull_contents(p, folder, cJSON_GetObjectItemCaseSensitive(entry, "contents")) != 0)
		return -1;
	snprintf(p->path, sizeof p->path, "%s", whole);
	p->sha256 = NULL;
	return rename(folder, whole) == 0 ? 0 : tool_say(p->tool, -1, "%s cannot take its name: %s.", folder, strerror(errno));
}

static int pull_entry(struct pull *p, const cJSON *entry)
{
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "name"));
	const int several = cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(entry, "files"));
	if (!name || strchr(name, '/') || *name == '.' ||
	    (!several && !cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(entry, "sources"))))
		return tool_say(p->tool, -1, "The catalogue's entry has no name and sources.");
	if (pull_place(p, name) != 0)
		return -1;
	return several ? pull_several(p, entry, name) : pull_one(p, entry);
}

int models_pull(struct tool *tool, const struct models_values *values, const char *const *words)
{
	struct pull p = {.tool = tool};
	cJSON *entry = catalogue_find(tool, words[0]);
	(void)values;
	if (!entry) {
		tool_say(tool, 0, "The catalogue has no model '%s'. It has:", words[0]);
		catalogue_list(tool);
		return TOOL_FAILED;
	}
	const int r = pull_entry(&p, entry);
	if (r == 0 && tool->json) {
		cJSON *json = cJSON_CreateObject();
		cJSON_AddStringToObject(json, "path", p.path);
		cJSON_AddStringToObject(json, "sha256", p.sha256 ? p.sha256 : ""); /* of a folder: none */
		cJSON_AddStringToObject(json, "licence", json_text(entry, "licence"));
		char *text = cJSON_PrintUnformatted(json);
		puts(text ? text : "{}");
		free(text);
		cJSON_Delete(json);
	} else if (r == 0) {
		printf("%s is here. Its licence: %s\n", p.path, json_text(entry, "licence"));
	}
	cJSON_Delete(entry);
	return r == 0 ? TOOL_DONE : TOOL_FAILED;
}

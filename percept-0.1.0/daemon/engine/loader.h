/* loader.h - plugins: finding them, opening them, refusing them with a reason. The only user of dlopen. */
#ifndef ENGINE_LOADER_H
#define ENGINE_LOADER_H

#include <stddef.h>
#include <cjson/cJSON.h>
#include <percept/plugin.h>

/* A file that is, or claims to be, a plugin. */
struct plugin {
	char *path;
	const struct percept_plugin *api; /* NULL: refused */
	void *handle;
	char reason[384]; /* why it is refused; else empty */
};

/* Opens and checks one file in this process. 0, or -ENOEXEC with plugin->reason. Its memory is the caller's. [one] */
int loader_open(const char *path, struct plugin *plugin);
void loader_close(struct plugin *plugin);
/* Checks what a plugin exports: abi, size, name, kind, operations. 0, or -ENOEXEC and the reason. [any] */
int loader_check(const struct percept_plugin *api, char *reason, size_t bytes);

/* "encoder", "connector", ...; NULL if there is no such kind. */
const char *loader_kind_name(uint32_t kind);

/* The .so files of the directories in `path` (an array of texts), in order, as malloc'ed names; NULL-terminated. */
char **loader_files(const cJSON *path);
void loader_files_free(char **files);

/* Everything found in `path`, for plugin.list: an array of {name, kind, version, abi, path, license, state, reason?}. Each
 * file is opened in a process of its own (`program` --probe FILE): one that crashes or hangs is refused for that. [worker] */
cJSON *loader_list(const char *program, const cJSON *path);
/* The path of the plugin called `name`, malloc'ed: DIRECTORY/NAME.so, or what the list says. NULL, and the reason, if there
 * is none that can be used. [worker] */
char *loader_find(const char *program, const cJSON *path, const char *name, char *reason, size_t bytes);

/* The other side of loader_list: opens `path` and prints what it is as one line of JSON. The program's exit code. [one] */
int loader_probe(const char *path);

#endif

/* loader-list.c - what plugins there are, each looked at in a process of its own. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <dirent.h>

#include "daemon/engine/loader.h"

#define LOADER_PROBE_MS 10000
#define LOADER_ANSWER (64 * 1024)

extern char **environ;

static int loader_is_library(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 3 && entry->d_name[0] != '.' && strcmp(entry->d_name + n - 3, ".so") == 0;
}

char **loader_files(const cJSON *path)
{
	size_t n = 0;
	char **files = calloc(1, sizeof(*files));
	const cJSON *directory;

	cJSON_ArrayForEach(directory, path) {
		struct dirent **entries;
		int count = cJSON_IsString(directory)
				    ? scandir(directory->valuestring, &entries, loader_is_library, alphasort) : -1;

		for (int i = 0; i < count; i++) {
			char **more = files ? reallocarray(files, n + 2, sizeof(*files)) : NULL;
			char *file = NULL;

			if (more && asprintf(&file, "%s/%s", directory->valuestring, entries[i]->d_name) >= 0) {
				files = more;
				files[n++] = file;
				files[n] = NULL;
			} else if (more) {
				files = more;
			}
			free(entries[i]);
		}
		if (count >= 0)
			free(entries);
	}
	return files;
}

void loader_files_free(char **files)
{
	for (char **file = files; file && *file; file++)
		free(*file);
	free(files);
}

int loader_probe(const char *path)
{
	struct plugin plugin;
	cJSON *row = cJSON_CreateObject();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	loader_open(path, &plugin);
	if (plugin.api) {
		cJSON_AddStringToObject(row, "name", plugin.api->name);
		cJSON_AddStringToObject(row, "kind", loader_kind_name(plugin.api->kind));
		cJSON_AddStringToObject(row, "version", plugin.api->version ? plugin.api->version : "");
		cJSON_AddNumberToObject(row, "abi", plugin.api->abi);
		cJSON_AddStringToObject(row, "license", plugin.api->license ? plugin.api->license : "");
		cJSON_AddStringToObject(row, "summary", plugin.api->summary ? plugin.api->summary : "");
	} else {
		cJSON_AddStringToObject(row, "reason", plugin.reason);
	}
	char *text = cJSON_PrintUnformatted(row);

	if (text)
		puts(text);
	cJSON_free(text);
	cJSON_Delete(row);
	loader_close(&plugin);
	return fflush(stdout) == 0 && text ? 0 : 1;
}

static long loader_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Starts `program` --probe `file` with its output in *from. A pid, or -errno. */
static pid_t loader_spawn(const char *program, const char *file, int *from)
{
	char *argv[] = {(char *)program, (char *)"--probe", (char *)file, NULL};
	posix_spawn_file_actions_t actions;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	int r = posix_spawn(&pid, program, &actions, NULL, argv, environ);

	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (r) {
		close(ends[0]);
		return -r;
	}
	*from = ends[0];
	return pid;
}

/* Reads all of `from` until its end. Bytes, or -ETIME. */
static ssize_t loader_read(int from, char *answer, size_t room)
{
	long end = loader_now_ms() + LOADER_PROBE_MS;
	size_t n = 0;

	for (;;) {
		struct pollfd p = {from, POLLIN, 0};
		long left = end - loader_now_ms();

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return -ETIME;
		ssize_t got = n < room ? read(from, answer + n, room - n) : 0;

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return (ssize_t)n;
		n += (size_t)got;
	}
}

/* What the file is: the probe's row, or a row with the reason. */
static cJSON *loader_look(const char *program, const char *file)
{
	char *answer = malloc(LOADER_ANSWER), reason[160] = "memory is out";
	int from = -1, status = 0;
	pid_t pid = answer ? loader_spawn(program, file, &from) : -ENOMEM;
	ssize_t n = -1;
	cJSON *row = NULL;

	if (pid > 0) {
		n = loader_read(from, answer, LOADER_ANSWER);
		if (n == -ETIME)
			kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		close(from);
		if (n == -ETIME)
			snprintf(reason, sizeof(reason), "it hangs while it is loaded (more than %d s)", LOADER_PROBE_MS / 1000);
		else if (WIFSIGNALED(status))
			snprintf(reason, sizeof(reason), "it crashes while it is loaded (signal %d, %s)", WTERMSIG(status),
				 strsignal(WTERMSIG(status)));
		else if (!WIFEXITED(status) || WEXITSTATUS(status) || n <= 0)
			snprintf(reason, sizeof(reason), "it ends the program that loads it (exit code %d)", WEXITSTATUS(status));
		else if (!(row = cJSON_ParseWithLength(answer, (size_t)n)))
			snprintf(reason, sizeof(reason), "it writes to the output of the program that loads it");
	} else if (answer) {
		snprintf(reason, sizeof(reason), "no process could be started to look at it (%s)", strerror((int)-pid));
	}
	free(answer);
	if (!row && (row = cJSON_CreateObject()))
		cJSON_AddStringToObject(row, "reason", reason);
	return row;
}

static const char *loader_member_of(const cJSON *row, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, name));

	return text ? text : "";
}

/* A refused file is called by its file name. */
static void loader_name_refused(cJSON *row, const char *file)
{
	const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
	char name[256];

	snprintf(name, sizeof(name), "%.*s", (int)strlen(base) - 3, base);
	cJSON_AddStringToObject(row, "name", name);
	cJSON_AddStringToObject(row, "kind", "");
	cJSON_AddStringToObject(row, "version", "");
	cJSON_AddNumberToObject(row, "abi", 0);
	cJSON_AddStringToObject(row, "license", "");
}

cJSON *loader_list(const char *program, const cJSON *path)
{
	char **files = loader_files(path);
	cJSON *list = cJSON_CreateArray();

	for (char **file = files; file && *file; file++) {
		cJSON *row = loader_look(program, *file), *other;

		if (!row)
			continue;
		if (!cJSON_HasObjectItem(row, "name"))
			loader_name_refused(row, *file);
		cJSON_ArrayForEach(other, list)
			if (!cJSON_HasObjectItem(row, "reason") && !cJSON_HasObjectItem(other, "reason") &&
			    strcmp(loader_member_of(other, "name"), loader_member_of(row, "name")) == 0) {
				char reason[512];

				snprintf(reason, sizeof(reason), "another plugin is called %.64s and comes first: %.300s",
					 loader_member_of(row, "name"), loader_member_of(other, "path"));
				cJSON_AddStringToObject(row, "reason", reason);
			}
		cJSON_AddStringToObject(row, "path", *file);
		cJSON_AddStringToObject(row, "state", cJSON_HasObjectItem(row, "reason") ? "refused" : "ready");
		cJSON_AddItemToArray(list, row);
	}
	loader_files_free(files);
	return list;
}

/* DIRECTORY/NAME.so of the first directory that has it. */
static char *loader_file_named(const cJSON *path, const char *name)
{
	const cJSON *directory;

	cJSON_ArrayForEach(directory, path) {
		char *file = NULL;

		if (cJSON_IsString(directory) && asprintf(&file, "%s/%s.so", directory->valuestring, name) >= 0 &&
		    access(file, R_OK) == 0)
			return file;
		free(file);
	}
	return NULL;
}

char *loader_find(const char *program, const cJSON *path, const char *name, char *reason, size_t bytes)
{
	char *found = strchr(name, '/') ? NULL : loader_file_named(path, name);

	if (found)
		return found;
	char *names = cJSON_PrintUnformatted(path);
	cJSON *list = loader_list(program, path), *row;

	snprintf(reason, bytes, "no plugin is called %.64s; looked in %.300s", name, names ? names : "the plugin path");
	cJSON_ArrayForEach(row, list) {
		if (strcmp(loader_member_of(row, "name"), name) != 0)
			continue;
		if (!cJSON_HasObjectItem(row, "reason"))
			found = strdup(loader_member_of(row, "path"));
		else
			snprintf(reason, bytes, "%.300s is refused: %.300s", loader_member_of(row, "path"),
				 loader_member_of(row, "reason"));
		break;
	}
	cJSON_free(names);
	cJSON_Delete(list);
	return found;
}

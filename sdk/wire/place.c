/* place.c - where the programs, plugins and models are, installed or in a build tree. */
#include "config.h"
#include "sdk/wire/place.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* snprintf that tells when the text did not fit. */
static int place_format(char path[PATH_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));
static int place_format(char path[PATH_MAX], const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(path, PATH_MAX, format, args);
	va_end(args);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* The folder of the running program, without a trailing `.libs`. */
static int place_own_folder(char folder[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	folder[n] = '\0';
	char *slash = strrchr(folder, '/');
	if (slash == NULL || slash == folder)
		return -ENOENT;
	*slash = '\0';
	slash = strrchr(folder, '/');
	if (slash && slash != folder && strcmp(slash, "/.libs") == 0)
		*slash = '\0';
	return 0;
}

/* The value of the line "srcdir=..." of a file. */
static int place_read_srcdir(const char *file, char srcdir[PATH_MAX])
{
	char line[PATH_MAX + 16];
	FILE *f = fopen(file, "re");
	if (f == NULL)
		return -errno;
	int rc = -ENOENT;
	while (rc < 0 && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "srcdir=", 7) == 0)
			rc = place_format(srcdir, "%s", line + 7);
	}
	fclose(f);
	return rc;
}

int place_build_tree(char builddir[PATH_MAX], char srcdir[PATH_MAX])
{
	char folder[PATH_MAX], file[PATH_MAX], source[PATH_MAX];
	if (place_own_folder(folder) < 0 || place_format(file, "%s/build-tree.conf", folder) < 0 ||
	    place_read_srcdir(file, source) < 0)
		return 0;
	if (builddir)
		memcpy(builddir, folder, PATH_MAX);
	if (srcdir)
		memcpy(srcdir, source, PATH_MAX);
	return 1;
}

int place_program(const char *name, char path[PATH_MAX])
{
	char folder[PATH_MAX];
	if (place_build_tree(folder, NULL))
		return place_format(path, "%s/%s", folder, name) < 0 || access(path, X_OK) < 0 ? -ENOENT : 0;
	if (place_own_folder(folder) == 0 && place_format(path, "%s/%s", folder, name) == 0 && access(path, X_OK) == 0)
		return 0;
	if (place_format(path, "%s/%s", PERCEPT_BINDIR, name) == 0 && access(path, X_OK) == 0)
		return 0;
	return place_format(path, "%s/%s", PERCEPT_LIBEXECDIR, name) < 0 || access(path, X_OK) < 0 ? -ENOENT : 0;
}

static int place_home(char home[PATH_MAX])
{
	const char *set = getenv("HOME");
	if (set && *set == '/')
		return place_format(home, "%s", set);
	struct passwd entry, *found;
	char text[4096];
	if (getpwuid_r(getuid(), &entry, text, sizeof(text), &found) != 0 || found == NULL)
		return -ENOENT;
	return place_format(home, "%s", found->pw_dir);
}

int place_expand(const char *text, char path[PATH_MAX])
{
	char home[PATH_MAX];
	if (strncmp(text, "~/", 2) != 0 || place_home(home) < 0)
		return place_format(path, "%s", text);
	return place_format(path, "%s%s", home, text + 1);
}

/* The first element of *list (of `n` bytes), and *list behind it; NULL at the end. Blanks around it are left out. */
static const char *place_next(const char **list, size_t *n)
{
	const char *at = *list;
	at += strspn(at, ": \t");
	if (*at == '\0')
		return NULL;
	*n = strcspn(at, ":");
	*list = at + *n;
	while (*n && (at[*n - 1] == ' ' || at[*n - 1] == '\t'))
		(*n)--;
	return at;
}

static int place_has(const char *list, const char *folder)
{
	size_t n;
	for (const char *at = list; (at = place_next(&list, &n)) != NULL;)
		if (n == strlen(folder) && memcmp(at, folder, n) == 0)
			return 1;
	return 0;
}

/* Appends the folders of `more` (may be NULL) to *list. */
static int place_join(char **list, const char *more)
{
	char one[PATH_MAX], folder[PATH_MAX];
	size_t n;
	for (const char *at; more && (at = place_next(&more, &n)) != NULL;) {
		if (n >= sizeof(one))
			continue;
		memcpy(one, at, n);
		one[n] = '\0';
		if (place_expand(one, folder) < 0 || (*list && place_has(*list, folder)))
			continue;
		char *grown;
		if (asprintf(&grown, "%s%s%s", *list ? *list : "", *list ? ":" : "", folder) < 0)
			return -ENOMEM;
		free(*list);
		*list = grown;
	}
	return 0;
}

static char *place_path(const char *variable, const char *configured, const char *own, const char *system)
{
	char *list = NULL;
	if (place_join(&list, getenv(variable)) == 0 && place_join(&list, configured) == 0 &&
	    place_join(&list, own) == 0 && place_join(&list, system) == 0 && list)
		return list;
	free(list);
	return NULL;
}

char *place_plugin_path(const char *configured)
{
	char folder[PATH_MAX], path[PATH_MAX];
	if (place_build_tree(folder, NULL) && place_format(path, "%s/plugins/.libs", folder) == 0)
		return place_path("PERCEPT_PLUGIN_PATH", configured, NULL, path);
	return place_path("PERCEPT_PLUGIN_PATH", configured, NULL, PERCEPT_PLUGINDIR);
}

char *place_model_path(const char *configured)
{
	char folder[PATH_MAX], own[PATH_MAX] = "", path[PATH_MAX];
	const char *data = getenv("XDG_DATA_HOME");
	int rc = data && *data == '/' ? place_format(own, "%s/percept/models", data)
				      : place_expand("~/.local/share/percept/models", own);
	if (rc < 0 || *own != '/')
		*own = '\0';
	if (place_build_tree(NULL, folder) && place_format(path, "%s/models", folder) == 0)
		return place_path("PERCEPT_MODELS", configured, own, path);
	return place_path("PERCEPT_MODELS", configured, own, PERCEPT_DATADIR "/models");
}

int place_find(const char *folders, const char *name, char path[PATH_MAX])
{
	static const char *const ends[] = { "", ".gguf" };
	struct stat st;
	size_t n;
	if (*name == '/' || strncmp(name, "~/", 2) == 0)
		return place_expand(name, path) == 0 && stat(path, &st) == 0 ? 0 : -ENOENT;
	for (const char *at; (at = place_next(&folders, &n)) != NULL;)
		for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
			if (n < PATH_MAX && place_format(path, "%.*s/%s%s", (int)n, at, name, ends[i]) == 0 && stat(path, &st) == 0)
				return 0;
	return -ENOENT;
}

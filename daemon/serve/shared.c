/* shared.c - the folder in which this daemon's engines share what encoders gave. */
#include "config.h"
#include "daemon/serve/shared.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"

#define SHARED_VARIABLE "PERCEPT_FEATURES"

static int shared_path(const char *socket, char path[PATH_MAX])
{
	const int n = snprintf(path, PATH_MAX, "%s.features", socket);

	return socket[0] == '/' && n > 0 && n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Files of an earlier daemon that did not end in order. */
static void shared_empty(const char *path)
{
	const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		unlinkat(fd, entry->d_name, 0);
	if (folder)
		closedir(folder);
	else if (fd >= 0)
		close(fd);
}

void shared_begin(const char *socket)
{
	char path[PATH_MAX];
	struct stat st;

	if (getenv(SHARED_VARIABLE) || shared_path(socket, path))
		return;
	if (mkdir(path, 0700) && errno != EEXIST) {
		log_warn("features", "folder=%s error=\"%s\"", path, strerror(errno));
		return;
	}
	if (lstat(path, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 0077) {
		log_warn("features", "folder=%s error=\"it is not this user's alone\"", path);
		return;
	}
	shared_empty(path);
	setenv(SHARED_VARIABLE, path, 1);
}

void shared_end(const char *socket)
{
	char path[PATH_MAX];
	const char *set = getenv(SHARED_VARIABLE);

	if (!set || shared_path(socket, path) || strcmp(set, path))
		return;
	shared_empty(path);
	rmdir(path);
}

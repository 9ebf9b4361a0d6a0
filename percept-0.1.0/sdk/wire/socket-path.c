/* socket-path.c - where the daemon's socket is, and that its folder is safe. */
#include "sdk/wire/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_LONGEST (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define SOCKET_NAME "percept.sock"

int wire_socket_path_check(const char *path, struct wire_error *error)
{
	size_t n = strlen(path);
	if (n == 0) {
		wire_error_set(error, WIRE_INTERNAL, "The socket's path is empty; name one with PERCEPT_SOCKET.");
		return -EINVAL;
	}
	if (n <= SOCKET_LONGEST)
		return 0;
	wire_error_set(error, WIRE_INTERNAL,
		       "The socket's path has %zu bytes, and the system allows %zu: %.120s... Choose a shorter one with "
		       "PERCEPT_SOCKET.",
		       n, SOCKET_LONGEST, path);
	return -ENAMETOOLONG;
}

static int socket_is_folder(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The path by the environment; what snprintf says. */
static int socket_format(char *path, size_t size)
{
	const char *set = getenv("PERCEPT_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");
	char user[64];
	if (set && *set)
		return snprintf(path, size, "%s", set);
	if (runtime && *runtime == '/')
		return snprintf(path, size, "%s/percept/" SOCKET_NAME, runtime);
	snprintf(user, sizeof(user), "/run/user/%lu", (unsigned long)getuid());
	if (socket_is_folder(user))
		return snprintf(path, size, "%s/percept/" SOCKET_NAME, user);
	return snprintf(path, size, "/tmp/percept-%lu/" SOCKET_NAME, (unsigned long)getuid());
}

int wire_socket_path(char *path, size_t size, struct wire_error *error)
{
	int n = socket_format(path, size);
	if (n < 0 || (size_t)n >= size) {
		wire_error_set(error, WIRE_INTERNAL,
			       "The socket's path has %d bytes, and the system allows %zu. Choose a shorter one with "
			       "PERCEPT_SOCKET.",
			       n, SOCKET_LONGEST);
		return -ENAMETOOLONG;
	}
	return wire_socket_path_check(path, error);
}

static int socket_refuse(struct wire_error *error, const char *folder, const char *why)
{
	wire_error_set(error, WIRE_INTERNAL, "The socket's folder %.200s %s", folder, why);
	return -EPERM;
}

/* True if `folder` is one that Percept makes for itself, not one that somebody named. */
static int socket_is_own(const char *folder)
{
	const char *name = strrchr(folder, '/');
	return name && (strcmp(name, "/percept") == 0 || strncmp(name, "/percept-", 9) == 0);
}

int wire_socket_folder(const char *path, struct wire_error *error)
{
	char folder[PATH_MAX];
	struct stat st;
	const char *slash = strrchr(path, '/');
	if (slash == NULL || slash == path || (size_t)(slash - path) >= sizeof(folder))
		return 0;
	memcpy(folder, path, (size_t)(slash - path));
	folder[slash - path] = '\0';
	if (socket_is_own(folder) && mkdir(folder, 0700) < 0 && errno != EEXIST) {
		int rc = -errno;
		wire_error_set(error, WIRE_INTERNAL, "The socket's folder %.200s cannot be made: %s.", folder, strerror(errno));
		return rc;
	}
	if (lstat(folder, &st) < 0) {
		wire_error_set(error, WIRE_INTERNAL, "The socket's folder %.200s does not exist; make it first.", folder);
		return -ENOENT;
	}
	if (!socket_is_own(folder))
		return 0;
	if (!S_ISDIR(st.st_mode))
		return socket_refuse(error, folder, "is no folder; remove it, or choose another place with PERCEPT_SOCKET.");
	if (st.st_uid != getuid())
		return socket_refuse(error, folder, "belongs to another user; choose another place with PERCEPT_SOCKET.");
	if (st.st_mode & 022)
		return socket_refuse(error, folder, "can be written by others; make it 0700 (chmod).");
	return 0;
}

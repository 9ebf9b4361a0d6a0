/* listen.c - the listening socket: made or inherited, and who may come in. */
#include "config.h"
#include "daemon/serve/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/file.h"
#include "sdk/wire/place.h"

enum { LISTEN_FIRST_FD = 3, LISTEN_BACKLOG = 4096 };

static int listen_fail(struct wire_error *error, const char *what, const char *path, int code)
{
	return wire_error_set(error, WIRE_INTERNAL, "%s %s: %s.", what, path, strerror(code));
}

/* What the mode of the socket's file says about who may come in. */
static void listen_learn_mode(struct listener *listener)
{
	struct stat st;

	listener->group = (gid_t)-1;
	if (!listener->path[0] || stat(listener->path, &st))
		return;
	if (st.st_mode & S_IWGRP)
		listener->group = st.st_gid;
	listener->everybody = st.st_mode & S_IWOTH;
	listener->device = st.st_dev;
	listener->inode = st.st_ino;
}

/* 1 if there was a socket to inherit, 0 if not, < 0 on errors. */
static int listen_inherit(struct listener *listener, struct wire_error *error)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	struct sockaddr_un address = {0};
	socklen_t n = sizeof(address);
	int listening = 0, type = 0;
	socklen_t size = sizeof(int);

	if (!pid || !fds || strtol(pid, NULL, 10) != getpid() || strtol(fds, NULL, 10) < 1)
		return 0;
	if (strtol(fds, NULL, 10) > 1)
		return wire_error_set(error, WIRE_INTERNAL, "LISTEN_FDS passes more than one socket; perceptd serves one.");
	if (getsockname(LISTEN_FIRST_FD, (struct sockaddr *)&address, &n) || address.sun_family != AF_UNIX ||
	    getsockopt(LISTEN_FIRST_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) || !listening ||
	    getsockopt(LISTEN_FIRST_FD, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_STREAM)
		return wire_error_set(error, WIRE_INTERNAL, "The socket of LISTEN_FDS is no listening Unix stream socket; use "
				      "ListenStream= with a path.");
	file_set_cloexec(LISTEN_FIRST_FD);
	file_set_nonblocking(LISTEN_FIRST_FD);
	if (n > sizeof(sa_family_t) && n <= sizeof(address) && address.sun_path[0])
		snprintf(listener->path, sizeof(listener->path), "%.*s", (int)sizeof(address.sun_path), address.sun_path);
	listener->socket = LISTEN_FIRST_FD;
	listener->inherited = true;
	return 1;
}

/* Holds path.lock as long as this process lives. */
static int listen_lock(struct listener *listener, struct wire_error *error)
{
	char path[PATH_MAX + 8];
	struct stat held, there;

	snprintf(path, sizeof(path), "%s.lock", listener->path);
	for (;;) {
		listener->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (listener->lock < 0)
			return listen_fail(error, "Cannot make the lock file", path, errno);
		if (flock(listener->lock, LOCK_EX | LOCK_NB))
			return wire_error_set(error, WIRE_INTERNAL, "Another perceptd serves %s (it holds %s); end it first "
					      "(percept shutdown), or use --socket.", listener->path, path);
		/* The one who held it before may have removed it between open and flock. */
		if (!fstat(listener->lock, &held) && !stat(path, &there) && held.st_ino == there.st_ino &&
		    held.st_dev == there.st_dev)
			return 0;
		file_close(&listener->lock);
	}
}

/* Removes a socket that nobody answers on. */
static int listen_take_over(const struct listener *listener, const struct sockaddr_un *address, struct wire_error *error)
{
	struct stat st;
	int fd, rc;

	if (lstat(listener->path, &st))
		return errno == ENOENT ? 0 : listen_fail(error, "Cannot look at", listener->path, errno);
	if (!S_ISSOCK(st.st_mode))
		return wire_error_set(error, WIRE_INTERNAL, "%s is no socket; remove it, or use --socket.", listener->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return listen_fail(error, "Cannot make a socket for", listener->path, errno);
	rc = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? errno : 0;
	close(fd);
	if (rc == 0 || rc == EAGAIN)
		return wire_error_set(error, WIRE_INTERNAL, "Somebody answers on %s already; end it first (percept shutdown), or "
				      "use --socket.", listener->path);
	if (unlink(listener->path) && errno != ENOENT)
		return listen_fail(error, "Cannot remove the stale socket", listener->path, errno);
	return 0;
}

static int listen_make(struct listener *listener, const char *path, struct wire_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char folder[PATH_MAX];
	char *slash;

	if (path) {
		if (wire_socket_path_check(path, error) < 0)
			return error->code;
		snprintf(listener->path, sizeof(listener->path), "%s", path);
	} else if (wire_socket_path(listener->path, sizeof(listener->path), error) < 0 ||
		   wire_socket_folder(listener->path, error) < 0) {
		return error->code;
	}
	snprintf(folder, sizeof(folder), "%s", listener->path);
	slash = strrchr(folder, '/');
	if (slash && slash != folder) {
		*slash = '\0';
		if (mkdir(folder, 0700) && errno != EEXIST)
			return listen_fail(error, "Cannot make the folder", folder, errno);
	}
	if (strlen(listener->path) >= sizeof(address.sun_path))
		return wire_error_set(error, WIRE_INTERNAL, "The path %s is too long for a socket; use --socket with one of at most "
				      "%zu bytes.", listener->path, sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, listener->path);
	if (listen_lock(listener, error) || listen_take_over(listener, &address, error))
		return error->code;
	listener->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->socket < 0 || bind(listener->socket, (const struct sockaddr *)&address, sizeof(address)))
		return listen_fail(error, "Cannot make the socket", listener->path, errno);
	if (chmod(listener->path, 0600) || listen(listener->socket, LISTEN_BACKLOG))
		return listen_fail(error, "Cannot listen on", listener->path, errno);
	return 0;
}

int listen_open(struct listener *listener, const char *path, struct wire_error *error)
{
	int rc;

	*listener = (struct listener){.socket = -1, .lock = -1};
	rc = listen_inherit(listener, error);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (rc == 0)
		rc = listen_make(listener, path, error);
	if (rc < 0) {
		file_close(&listener->socket);
		file_close(&listener->lock);
		return rc;
	}
	listen_learn_mode(listener);
	return 0;
}

void listen_close(struct listener *listener)
{
	char path[PATH_MAX + 8];
	struct stat st;

	file_close(&listener->socket);
	if (listener->inherited || listener->lock < 0)
		return;
	if (!lstat(listener->path, &st) && st.st_ino == listener->inode && st.st_dev == listener->device)
		unlink(listener->path);
	snprintf(path, sizeof(path), "%s.lock", listener->path);
	unlink(path);
	file_close(&listener->lock);
}

/* True if the peer is a member of the group. */
static bool listen_in_group(int socket, gid_t gid, gid_t group)
{
	gid_t groups[1024];
	socklen_t n = sizeof(groups);

	if (gid == group)
		return true;
	if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &n))
		return false;
	for (size_t i = 0; i < n / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}

int listen_judge(const struct listener *listener, int socket, uid_t *uid, enum wire_role *role, struct wire_error *error)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &n))
		return wire_error_set(error, WIRE_UNAUTHORIZED, "The kernel does not tell who you are.");
	*uid = peer.uid;
	*role = WIRE_ADMIN;
	if (peer.uid == geteuid() || peer.uid == 0)
		return 0;
	*role = WIRE_USER;
	if (listener->everybody)
		return 0;
	if (listener->group != (gid_t)-1 && listen_in_group(socket, peer.gid, listener->group))
		return 0;
	return wire_error_set(error, WIRE_UNAUTHORIZED, "This daemon serves user %u and the members of its socket's group; ask its "
			      "administrator to let you in.", (unsigned)geteuid());
}

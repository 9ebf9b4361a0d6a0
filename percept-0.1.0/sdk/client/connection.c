/* connection.c - a socket to perceptd: opened, closed, and told to cancel. */
#include "sdk/client/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sdk/wire/place.h"

#define CLIENT_SYSTEM_SOCKET "/run/percept/percept.sock"

int client_fail(struct percept_error *error, int code, const char *format, ...)
{
	if (!error)
		return code;
	percept_error_clear(error);
	error->code = code;
	va_list list;
	va_start(list, format);
	vsnprintf(error->text, sizeof error->text, format, list);
	va_end(list);
	return code;
}

void percept_error_clear(struct percept_error *error)
{
	free(error->data);
	memset(error, 0, sizeof *error);
}

void percept_answer_clear(struct percept_answer *answer)
{
	free(answer->result);
	free(answer->tail);
	memset(answer, 0, sizeof *answer);
}

int percept_socket_path(char *path, size_t size, struct percept_error *error)
{
	struct wire_error why = {0};
	const char *set = getenv("PERCEPT_SOCKET");
	int r = wire_socket_path(path, size, &why);
	if (r < 0) {
		client_fail(error, r, "%s", why.text);
		wire_error_fini(&why);
		return r;
	}
	if ((!set || !*set) && access(path, F_OK) != 0 && access(CLIENT_SYSTEM_SOCKET, F_OK) == 0 &&
	    size >= sizeof CLIENT_SYSTEM_SOCKET)
		memcpy(path, CLIENT_SYSTEM_SOCKET, sizeof CLIENT_SYSTEM_SOCKET);
	return 0;
}

struct percept_connection *percept_adopt(int socket, struct percept_error *error)
{
	int code = -ENOMEM;
	struct percept_connection *c = calloc(1, sizeof *c);
	if (!c)
		goto fail_socket;
	c->socket = socket;
	c->cancel_on = -1;
	c->next_id = 1;
	int flags = fcntl(socket, F_GETFL);
	if (flags < 0 || fcntl(socket, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(socket, F_SETFD, FD_CLOEXEC) < 0) {
		code = -errno;
		goto fail_connection;
	}
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake < 0) {
		code = -errno;
		goto fail_connection;
	}
	c->reader = wire_reader_new(&wire_answer_limits, &client_reader_events, c);
	if (!c->reader)
		goto fail_wake;
	c->writer = wire_writer_new();
	if (!c->writer)
		goto fail_reader;
	return c;
fail_reader:
	wire_reader_free(c->reader);
fail_wake:
	close(c->wake);
fail_connection:
	free(c);
fail_socket:
	if (socket >= 0)
		close(socket);
	client_fail(error, code, "The connection could not be set up: %s.", strerror(-code));
	return NULL;
}

static int connect_fail(struct percept_error *error, int code, const char *path)
{
	if (code == -ENOENT || code == -ECONNREFUSED)
		return client_fail(error, code, "No perceptd answers on %s.", path);
	if (code == -EACCES || code == -EPERM)
		return client_fail(error, code,
				   "This user may not connect to %s: ask its owner to be let in, or start a perceptd of "
				   "your own on another socket.",
				   path);
	return client_fail(error, code, "%s: %s.", path, strerror(-code));
}

struct percept_connection *percept_connect(const char *path, struct percept_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char found[sizeof address.sun_path];
	if (!path) {
		if (percept_socket_path(found, sizeof found, error) < 0)
			return NULL;
		path = found;
	}
	size_t n = strlen(path);
	if (n == 0 || n >= sizeof address.sun_path) {
		client_fail(error, -ENAMETOOLONG, "%s: a socket's path has 1 to %zu bytes: choose a shorter one.", path,
			    sizeof address.sun_path - 1);
		return NULL;
	}
	memcpy(address.sun_path, path, n + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		connect_fail(error, -errno, path);
		return NULL;
	}
	int r;
	do
		r = connect(fd, (struct sockaddr *)&address, sizeof address);
	while (r < 0 && errno == EINTR);
	if (r < 0) {
		connect_fail(error, -errno, path);
		close(fd);
		return NULL;
	}
	return percept_adopt(fd, error);
}

void percept_close(struct percept_connection *c)
{
	if (!c)
		return;
	wire_writer_free(c->writer);
	wire_reader_free(c->reader);
	close(c->socket);
	close(c->wake);
	free(c);
}

void percept_cancel(struct percept_connection *c)
{
	int saved = errno;
	uint64_t one = 1;
	while (write(c->wake, &one, sizeof one) < 0 && errno == EINTR)
		;
	errno = saved;
}

void percept_cancel_on(struct percept_connection *c, int fd)
{
	c->cancel_on = fd;
}

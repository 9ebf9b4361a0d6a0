/* media-peer.c - perceptd's side of percept-media, for tests. */
#include "config.h"
#include "tests/media/media-peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PEER_ARGUMENTS = 16, PEER_SOCKET = 3 };

static void peer_exec(const char *program, const char *const *arguments, int socket)
{
	const char *top = getenv("top_builddir"), *argv[PEER_ARGUMENTS + 2] = { program };
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", top ? top : ".", program);
	for (int i = 0; arguments && arguments[i] && i < PEER_ARGUMENTS; i++)
		argv[i + 1] = arguments[i];
	if (socket == PEER_SOCKET)
		fcntl(socket, F_SETFD, 0);
	else if (dup2(socket, PEER_SOCKET) < 0)
		_exit(127);
	execv(path, (char **)argv);
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

struct media_peer peer_start(const char *program, const char *const *arguments)
{
	struct media_peer peer;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 || (peer.pid = fork()) < 0) {
		perror("media-peer");
		exit(EXIT_FAILURE);
	}
	if (!peer.pid)
		peer_exec(program, arguments, ends[1]);
	close(ends[1]);
	peer.socket = ends[0];
	return peer;
}

int peer_stop(struct media_peer *peer)
{
	int status = -1;

	close(peer->socket);
	waitpid(peer->pid, &status, 0);
	return status;
}

struct media_request peer_request(uint64_t id)
{
	return (struct media_request){ .magic = MEDIA_WIRE_MAGIC,
				       .verb = MEDIA_DECODE,
				       .id = id,
				       .kind = MEDIA_IMAGE,
				       .background = MEDIA_BACKGROUND_NONE };
}

int peer_send(const struct media_peer *peer, const struct media_request *request, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec vector = { (void *)request, sizeof(*request) };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
	}
	return sendmsg(peer->socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int peer_receive(const struct media_peer *peer, struct media_answer *answer, int *fd, int timeout_ms)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec vector = { answer, sizeof(*answer) };
	struct msghdr message = { .msg_iov = &vector,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct pollfd poll_one = { peer->socket, POLLIN, 0 };
	ssize_t n;

	*fd = -1;
	if (poll(&poll_one, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	n = recvmsg(peer->socket, &message, MSG_CMSG_CLOEXEC);
	if (n != (ssize_t)sizeof(*answer))
		return n < 0 ? -errno : n ? -EPROTO : -EPIPE;
	if (CMSG_FIRSTHDR(&message) && control.head.cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(&control.head), sizeof(int));
	return 0;
}

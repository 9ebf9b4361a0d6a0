/* media-peer.h - perceptd's side of percept-media, for tests. */
#ifndef TEST_MEDIA_PEER_H
#define TEST_MEDIA_PEER_H

#include <stdint.h>
#include <sys/types.h>
#include "sdk/wire/media-wire.h"

struct media_peer {
	pid_t pid;
	int socket;
};

/* Starts percept-media from the build tree (top_builddir, or the current folder) with these further arguments, at most 16,
 * NULL-ended; the program's name can be another. Ends the test program when it cannot. */
struct media_peer peer_start(const char *program, const char *const *arguments);

/* Closes the socket and waits. Returns the exit status as waitpid gives it. */
int peer_stop(struct media_peer *peer);

/* Sends a decode (with `fd`, borrowed, -1: none) or a cancel. 0 or a negative errno. */
int peer_send(const struct media_peer *peer, const struct media_request *request, int fd);

/* Receives an answer within timeout_ms; *fd is the memfd or -1. 0, -ETIMEDOUT, -EPIPE (closed) or another errno. */
int peer_receive(const struct media_peer *peer, struct media_answer *answer, int *fd, int timeout_ms);

/* A decode request for a picture with the program's own limits. */
struct media_request peer_request(uint64_t id);

#endif

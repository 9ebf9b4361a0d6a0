/* zygote.h - the process that forks a worker for each media item, watches it, and answers perceptd. */
#ifndef MEDIA_ZYGOTE_H
#define MEDIA_ZYGOTE_H

#include "daemon/media/worker.h"

struct zygote_config {
	int socket;             /* SOCK_SEQPACKET, borrowed */
	unsigned workers;       /* at once, > 0 */
	struct media_limits limits;
	worker_function *work;  /* worker_decode, but for tests */
};

/*
 * Serves requests until the other end of the socket is closed; then kills the workers and returns 0. A negative errno
 * means that it could not start or that the socket failed. Needs SIGPIPE ignored. [one]
 */
int zygote_run(const struct zygote_config *config);

#endif

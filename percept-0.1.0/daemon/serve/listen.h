/* listen.h - the listening socket: made or inherited, and who may come in. */
#ifndef SERVE_LISTEN_H
#define SERVE_LISTEN_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "sdk/wire/frame.h"
#include "sdk/wire/schema.h"

struct listener {
	int socket;
	int lock;            /* of path.lock; -1 when the socket was inherited */
	char path[PATH_MAX]; /* empty when unknown */
	bool inherited;
	gid_t group;         /* whose members are users; (gid_t)-1: nobody's */
	bool everybody;      /* the socket's mode lets all in */
	dev_t device;        /* of the socket that was made, so that only that one is removed */
	ino_t inode;
};

/* Takes the socket of LISTEN_FDS, or makes one at `path` (NULL: the default place): folder 0700, socket 0600. One that
 * nobody answers on is taken over. 0, or a code in *error. [one] */
int listen_open(struct listener *listener, const char *path, struct wire_error *error);
/* Removes what listen_open made. [one] */
void listen_close(struct listener *listener);
/* The peer of a connection, by SO_PEERCRED: 0, or -32002 in *error. [loop] */
int listen_judge(const struct listener *listener, int socket, uid_t *uid, enum wire_role *role, struct wire_error *error);

#endif

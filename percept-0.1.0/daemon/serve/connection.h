/* connection.h - one client: bytes to frames, and back. */
#ifndef SERVE_CONNECTION_H
#define SERVE_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "daemon/base/list.h"
#include "sdk/wire/frame.h"
#include "sdk/wire/schema.h"

struct request;
struct server;

enum { CONNECTION_RECENT = 8 };

/* Owned by its server's list; closed only from the server's reaper, so it stays valid within any callback. */
struct connection {
	struct server *server;
	struct list node;            /* of server->connections, or server->doomed */
	uv_poll_t poll;
	int socket;
	uid_t uid;
	enum wire_role role;
	struct wire_reader *reader;  /* NULL until the first byte */
	struct wire_writer *writer;
	struct list requests;        /* in flight */
	unsigned n_requests;
	struct request *newest;      /* made by the bytes that are being read */
	size_t waiting_bytes;        /* of the frames of requests in flight */
	size_t held_bytes;           /* of deltas that wait to be merged with the next ones */
	uint64_t over_since_ms;      /* since when too much is queued; 0: it is not */
	uint32_t recent[CONNECTION_RECENT]; /* hashes of ids that were answered lately */
	unsigned n_recent;
	bool began;                  /* a request was read: hello comes too late */
	bool ended;                  /* the client shut down its write side */
	bool watched;                /* server->hangups tells when it is gone */
	bool doomed;                 /* will be closed by the reaper */
	bool last_words;             /* closed as soon as everything is sent */
};

/* Takes `socket` over, in every case. [loop] */
void connection_open(struct server *server, int socket, uid_t uid, enum wire_role role);
/* Sends `json` (taken over, NULL is ignored). [loop] */
void connection_send(struct connection *connection, cJSON *json, const void *tail, size_t tail_bytes);
/* Will be closed as the loop turns; nothing is sent any more. `why` is logged unless NULL. [loop] */
void connection_doom(struct connection *connection, const char *why);
/* Queued to be sent, in bytes. */
size_t connection_pending(const struct connection *connection);
/* Reads or does not read, as its requests allow; closes a half-closed one that has all its answers. [loop] */
void connection_settle(struct connection *connection);
/* The client's end is gone, says server->hangups. [loop] */
void connection_hung_up(struct connection *connection);
/* The reaper's: frees it. [loop] */
void connection_free(struct connection *connection);
/* True if the time is over for a client that does not read. */
bool connection_is_late(const struct connection *connection, uint64_t now_ms);

#endif

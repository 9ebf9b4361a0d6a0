/* server.h - perceptd's middle: the socket, the connections, the assistants, the configuration. */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "daemon/assist/assist.h"
#include "daemon/base/list.h"
#include "daemon/serve/connection.h"
#include "daemon/serve/listen.h"
#include "daemon/serve/notify.h"
#include "daemon/serve/settings.h"

/* The last reload, for `status`. */
struct server_reload {
	double at;             /* seconds since the epoch; 0: there was none */
	struct wire_error error; /* code 0: it succeeded */
};

struct reload_waiter;

struct server {
	uv_loop_t *loop;
	struct settings settings;
	const char *config;         /* its file, or NULL */
	struct assist assist;
	struct listener listener;
	uv_poll_t accept_poll;
	uv_timer_t accept_timer;    /* tries again when descriptors were out */
	struct list connections, doomed;
	unsigned n_connections;
	uv_timer_t reap_timer, slow_timer;
	int hangups;                /* an epoll that tells which clients are gone */
	uv_poll_t hangups_poll;
	char instance[17];
	uint64_t started_ms;
	struct server_reload last_reload;
	struct reload_waiter *reload_now, *reload_next; /* of the one under way, of the one behind it */
	struct settings reload_settings;
	struct notify notify;
	char engine_program[PATH_MAX], media_program[PATH_MAX];
	bool draining;
	uint64_t flush_until_ms, trimmed_ms;
	uv_timer_t watchdog_timer;
	uv_signal_t signals[3];
};

/* Fills the caller's `server`; it listens, and its assistants are starting. `socket` NULL: the default place. 0, or a
 * code in *error. [loop] */
int server_start(struct server *server, uv_loop_t *loop, const char *config, const char *socket, struct wire_error *error);
/* Takes no new work, lets the rest end, then stops the loop. [loop] */
void server_drain(struct server *server, const char *why);
/* Closes everything; the loop must be run to its end behind it. [loop] */
void server_fini(struct server *server);
/* Much memory was given back: the system may have it. [loop] */
void server_freed_some(struct server *server);
/* Where a program of ours is: $`variable` (for tests), else beside the others. 0, or a code in *error. [one] */
int server_find_program(const char *variable, const char *name, char path[PATH_MAX], struct wire_error *error);

/* For server.c: takes new connections, tells of lost ones. 0 or a negative errno. */
int server_accept_start(struct server *server);
void server_accept_stop(struct server *server);

/* For connections: */
void server_reap_later(struct server *server, struct connection *connection);
void server_watch_slow(struct server *server);
void server_watch_hangup(struct server *server, struct connection *connection);
void server_unwatch_hangup(struct server *server, struct connection *connection);

#endif

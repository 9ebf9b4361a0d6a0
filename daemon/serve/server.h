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
#include "daemon/serve/settings.h"

/* The last reload, for `status`. */
struct server_reload {
	double at;             /* seconds since the epoch; 0: there was none */
	struct wire_error error; /* code 0: it succeeded */
};

/* Somebody who waits for a reload. */
struct server_reload_waiter {
	void (*told)(void *arg, const struct wire_error *error);
	void *arg;
	struct server_reload_waiter *next;
};

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
	struct server_reload_waiter *reload_now, *reload_next; /* of the one under way, of the one behind it */
	struct settings reload_settings;
	bool draining, watchdog;
	uv_timer_t watchdog_timer;
	uv_signal_t signals[4];
};

/* Fills the caller's `server`; it listens, and its assistants are starting. `socket` NULL: the default place. 0, or a
 * code in *error. [loop] */
int server_start(struct server *server, uv_loop_t *loop, const char *config, const char *socket, struct wire_error *error);
/* Takes no new work, lets the rest end, then stops the loop. [loop] */
void server_drain(struct server *server, const char *why);
/* Frees everything; the loop must be run once more behind it. [loop] */
void server_fini(struct server *server);
/* Reads the configuration again. `told` is called once, now or later, with NULL when it is in force. [loop] */
void server_reload(struct server *server, void (*told)(void *arg, const struct wire_error *error), void *arg);

/* For connections: */
void server_reap_later(struct server *server, struct connection *connection);
void server_watch_slow(struct server *server);
void server_watch_hangup(struct server *server, struct connection *connection);
void server_unwatch_hangup(struct server *server, struct connection *connection);

#endif

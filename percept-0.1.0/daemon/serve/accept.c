/* accept.c - new clients in, lost ones out. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/serve/server.h"

enum { ACCEPT_TURN = 64, ACCEPT_PAUSE_MS = 100, ACCEPT_RETRY_MS = 1000, ACCEPT_SLOW_TICK_MS = 500 };

static void accept_on_poll(uv_poll_t *poll, int status, int events);

/* Says why, and hangs up. */
static void accept_refuse(int socket, struct wire_error *error)
{
	cJSON *answer = wire_error_answer(NULL, error);
	struct wire_writer *writer = wire_writer_new();

	log_warn("connection.refused", "code=%d", error->code);
	if (answer && writer && !wire_writer_add(writer, answer, NULL, 0, NULL, 0))
		wire_writer_push(writer, socket);
	cJSON_Delete(answer);
	wire_writer_free(writer);
	wire_error_fini(error);
	close(socket);
}

/* 0, or -32004 in *error when it is one too many. */
static int accept_count(struct server *server, uid_t uid, struct wire_error *error)
{
	struct list *node, *after;
	unsigned of_uid = 0;

	if (server->n_connections >= server->settings.connections) {
		wire_error_set(error, WIRE_OVERLOADED, "The daemon has %u connections, the most it takes; try again later.",
			       server->n_connections);
	} else if (uid != geteuid()) {
		list_each(node, after, &server->connections)
			of_uid += list_entry(node, struct connection, node)->uid == uid;
		if (of_uid >= server->settings.foreign_connections)
			wire_error_set(error, WIRE_OVERLOADED, "User %u has %u connections, the most that one may have; close some.",
				       (unsigned)uid, of_uid);
	}
	if (error->code)
		wire_error_number(error, "retry_after_ms", ACCEPT_RETRY_MS);
	return error->code;
}

static void accept_one(struct server *server, int socket)
{
	struct wire_error error = {0};
	enum wire_role role;
	uid_t uid;

	if (listen_judge(&server->listener, socket, &uid, &role, &error) || accept_count(server, uid, &error))
		accept_refuse(socket, &error);
	else
		connection_open(server, socket, uid, role);
}

static void accept_on_timer(uv_timer_t *timer)
{
	struct server *server = timer->data;

	uv_poll_start(&server->accept_poll, UV_READABLE, accept_on_poll);
}

static void accept_on_poll(uv_poll_t *poll, int status, int events)
{
	struct server *server = poll->data;

	for (int i = 0; i < ACCEPT_TURN; i++) {
		int socket = accept4(server->listener.socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (socket >= 0) {
			accept_one(server, socket);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			log_warn("accept", "errno=%d paused_ms=%d", errno, ACCEPT_PAUSE_MS);
			uv_poll_stop(poll);
			uv_timer_start(&server->accept_timer, accept_on_timer, ACCEPT_PAUSE_MS, 0);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

/* ---- the reaper: connections are freed with nothing of theirs on the stack ---- */

static void accept_on_reap(uv_timer_t *timer)
{
	struct server *server = timer->data;
	struct list *node;

	while ((node = list_pop(&server->doomed)))
		connection_free(list_entry(node, struct connection, node));
}

void server_reap_later(struct server *server, struct connection *connection)
{
	list_add(&server->doomed, &connection->node);
	uv_timer_start(&server->reap_timer, accept_on_reap, 0, 0);
}

/* ---- clients that do not read ---- */

static void accept_on_slow(uv_timer_t *timer)
{
	struct server *server = timer->data;
	struct list *node, *after;
	unsigned slow = 0;

	list_each(node, after, &server->connections) {
		struct connection *connection = list_entry(node, struct connection, node);

		slow += connection->over_since_ms != 0;
		if (connection_is_late(connection, uv_now(server->loop)))
			connection_doom(connection, "the client does not read: too much is queued for too long");
	}
	if (!slow)
		uv_timer_stop(timer);
}

void server_watch_slow(struct server *server)
{
	if (!uv_is_active((uv_handle_t *)&server->slow_timer))
		uv_timer_start(&server->slow_timer, accept_on_slow, ACCEPT_SLOW_TICK_MS, ACCEPT_SLOW_TICK_MS);
}

/* ---- clients that are not read from: an epoll without events still tells when the other end is gone ---- */

static void accept_on_hangups(uv_poll_t *poll, int status, int events)
{
	struct server *server = poll->data;
	struct epoll_event gone[32];
	int n = epoll_wait(server->hangups, gone, 32, 0);

	for (int i = 0; i < n; i++)
		connection_hung_up(gone[i].data.ptr);
}

void server_watch_hangup(struct server *server, struct connection *connection)
{
	/* One event only: a doomed connection must not be reported until it is reaped. */
	struct epoll_event event = {.events = EPOLLONESHOT, .data.ptr = connection};

	if (epoll_ctl(server->hangups, EPOLL_CTL_ADD, connection->socket, &event))
		connection_doom(connection, "it cannot be watched");
}

void server_unwatch_hangup(struct server *server, struct connection *connection)
{
	epoll_ctl(server->hangups, EPOLL_CTL_DEL, connection->socket, NULL);
}

int server_accept_start(struct server *server)
{
	int err;

	list_init(&server->connections);
	list_init(&server->doomed);
	uv_timer_init(server->loop, &server->accept_timer);
	uv_timer_init(server->loop, &server->reap_timer);
	uv_timer_init(server->loop, &server->slow_timer);
	server->accept_timer.data = server->reap_timer.data = server->slow_timer.data = server;
	server->hangups = epoll_create1(EPOLL_CLOEXEC);
	if (server->hangups < 0)
		return -errno;
	err = uv_poll_init(server->loop, &server->hangups_poll, server->hangups);
	if (!err)
		err = uv_poll_init(server->loop, &server->accept_poll, server->listener.socket);
	server->hangups_poll.data = server->accept_poll.data = server;
	if (!err)
		err = uv_poll_start(&server->hangups_poll, UV_READABLE, accept_on_hangups);
	if (!err)
		err = uv_poll_start(&server->accept_poll, UV_READABLE, accept_on_poll);
	return err;
}

void server_accept_stop(struct server *server)
{
	struct list *node;

	while ((node = list_pop(&server->connections))) {
		struct connection *connection = list_entry(node, struct connection, node);

		connection->doomed = true;
		list_add(&server->doomed, node);
	}
	accept_on_reap(&server->reap_timer);
	uv_close((uv_handle_t *)&server->accept_poll, NULL);
	uv_close((uv_handle_t *)&server->accept_timer, NULL);
	uv_close((uv_handle_t *)&server->reap_timer, NULL);
	uv_close((uv_handle_t *)&server->slow_timer, NULL);
	uv_close((uv_handle_t *)&server->hangups_poll, NULL);
}

/* connection.c - one client: bytes to frames, and back. */
#include "config.h"
#include "daemon/serve/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/serve/request.h"
#include "daemon/serve/router.h"
#include "daemon/serve/server.h"

enum { CONNECTION_READS = 4 /* chunks a turn, so that others get theirs */ };

static void connection_on_poll(uv_poll_t *poll, int status, int events);

size_t connection_pending(const struct connection *connection)
{
	return wire_writer_pending(connection->writer) + connection->held_bytes;
}

static void connection_poll(struct connection *connection)
{
	bool reads = !connection->ended && !connection->last_words && connection->waiting_bytes <= connection->server->settings.read_waiting;
	int events = (reads ? UV_READABLE : 0) | (wire_writer_pending(connection->writer) ? UV_WRITABLE : 0);

	if (connection->doomed)
		return;
	/* Where nobody reads, nobody would notice that the client is gone. */
	if (!reads && !connection->watched) {
		connection->watched = true;
		server_watch_hangup(connection->server, connection);
	} else if (reads && connection->watched) {
		connection->watched = false;
		server_unwatch_hangup(connection->server, connection);
	}
	if (events)
		uv_poll_start(&connection->poll, events, connection_on_poll);
	else
		uv_poll_stop(&connection->poll);
}

void connection_doom(struct connection *connection, const char *why)
{
	if (connection->doomed)
		return;
	if (why)
		log_warn("connection.close", "uid=%u why=\"%s\" queued=%zu", (unsigned)connection->uid, why,
			 connection_pending(connection));
	connection->doomed = true;
	uv_poll_stop(&connection->poll);
	list_remove(&connection->node);
	server_reap_later(connection->server, connection);
}

bool connection_is_late(const struct connection *connection, uint64_t now_ms)
{
	return connection->over_since_ms && now_ms - connection->over_since_ms >= connection->server->settings.write_high_ms;
}

/* Sends what the socket takes. */
static void connection_push(struct connection *connection)
{
	ssize_t left = wire_writer_push(connection->writer, connection->socket);

	if (left < 0) {
		connection_doom(connection, NULL);
		return;
	}
	if (connection_pending(connection) <= connection->server->settings.write_high) {
		connection->over_since_ms = 0;
	} else if (!connection->over_since_ms) {
		connection->over_since_ms = uv_now(connection->server->loop);
		server_watch_slow(connection->server);
	}
}

void connection_send(struct connection *connection, cJSON *json, const void *tail, size_t tail_bytes)
{
	bool idle = !wire_writer_pending(connection->writer);

	if (!json || connection->doomed) {
		cJSON_Delete(json);
		return;
	}
	/* Looked at before adding: one large answer alone is not the client's fault. */
	if (connection_pending(connection) > connection->server->settings.write_most)
		connection_doom(connection, "the client does not read: too much is queued");
	else if (wire_writer_add(connection->writer, json, tail, tail_bytes, NULL, 0))
		connection_doom(connection, "no memory for an answer");
	cJSON_Delete(json);
	if (connection->doomed)
		return;
	if (idle)
		connection_push(connection);
	else if (!connection->over_since_ms && connection_pending(connection) > connection->server->settings.write_high)
		connection_push(connection);
	connection_poll(connection);
}

void connection_settle(struct connection *connection)
{
	if (connection->doomed)
		return;
	if (!connection_pending(connection) &&
	    (connection->last_words || (connection->ended && list_empty(&connection->requests)))) {
		connection_doom(connection, NULL);
		return;
	}
	connection_poll(connection);
}

void connection_hung_up(struct connection *connection)
{
	connection_doom(connection, NULL);
}

static int connection_on_frame(void *arg, struct wire_frame *frame)
{
	struct connection *connection = arg;

	if (!connection->doomed)
		router_run(connection, frame);
	wire_frame_fini(frame);
	return connection->doomed ? -ECANCELED : 0;
}

/* The stream cannot be trusted any more: the reason is sent, then it is closed. */
static void connection_on_broken(void *arg, const struct wire_error *error, const cJSON *id)
{
	struct connection *connection = arg;

	connection->last_words = true;
	connection_send(connection, wire_error_answer(id, error), NULL, 0);
}

static void connection_on_invalid(void *arg, const struct wire_error *error, const cJSON *id)
{
	connection_send(arg, wire_error_answer(id, error), NULL, 0);
}

static const struct wire_reader_events connection_reader_events = {
	connection_on_frame, connection_on_broken, connection_on_invalid,
};

/* End of stream: shut down for writing only, or gone? */
static void connection_on_end(struct connection *connection)
{
	struct pollfd poll_fd = {.fd = connection->socket};

	connection->ended = true;
	if (poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & (POLLHUP | POLLERR))
		connection_doom(connection, NULL);
}

static void connection_read(struct connection *connection)
{
	ssize_t n = 1;

	if (!connection->reader)
		connection->reader = wire_reader_new(&connection->server->settings.client, &connection_reader_events, connection);
	if (!connection->reader) {
		connection_doom(connection, "no memory to read");
		return;
	}
	for (int i = 0; i < CONNECTION_READS && n > 0 && !connection->doomed && !connection->last_words; i++) {
		if (connection->waiting_bytes > connection->server->settings.read_waiting)
			break;
		connection->newest = NULL;
		n = wire_reader_pull(connection->reader, connection->socket);
		if (n > 0 && connection->newest) {
			connection->newest->bytes += (size_t)n;
			connection->waiting_bytes += (size_t)n;
		}
		connection->newest = NULL;
	}
	if (n == 0)
		connection_on_end(connection);
	else if (n < 0 && n != -EAGAIN && !connection->last_words)
		connection_doom(connection, n == -ENOMEM ? "no memory for a frame" : NULL);
}

static void connection_on_poll(uv_poll_t *poll, int status, int events)
{
	struct connection *connection = poll->data;

	if (status < 0) {
		connection_doom(connection, NULL);
		return;
	}
	if (events & UV_WRITABLE) {
		connection_push(connection);
		if (!connection->doomed)
			request_flush_all(connection);
	}
	if (!connection->doomed && events & UV_READABLE)
		connection_read(connection);
	connection_settle(connection);
}

void connection_open(struct server *server, int socket, uid_t uid, enum wire_role role)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (connection)
		connection->writer = wire_writer_new();
	if (!connection || !connection->writer || uv_poll_init(server->loop, &connection->poll, socket)) {
		if (connection)
			wire_writer_free(connection->writer);
		free(connection);
		close(socket);
		return;
	}
	connection->server = server;
	connection->socket = socket;
	connection->uid = uid;
	connection->role = role;
	connection->poll.data = connection;
	list_init(&connection->requests);
	list_add(&server->connections, &connection->node);
	server->n_connections++;
	connection_poll(connection);
}

static void connection_on_closed(uv_handle_t *handle)
{
	struct connection *connection = handle->data;

	close(connection->socket);
	free(connection);
}

void connection_free(struct connection *connection)
{
	request_abandon_all(connection);
	if (connection->watched)
		server_unwatch_hangup(connection->server, connection);
	connection->server->n_connections--;
	wire_reader_free(connection->reader);
	wire_writer_free(connection->writer);
	uv_close((uv_handle_t *)&connection->poll, connection_on_closed);
}

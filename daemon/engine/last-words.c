/* last-words.c - what the peer is told when a computing thread has faulted. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/exit.h"
#include "daemon/base/log.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/lost.h"

#define LAST_WORDS_MS 500

/* The socket takes what it takes in that time. */
static void last_words_flush(struct engine *engine)
{
	const double end = clock_now_ms() + LAST_WORDS_MS;
	struct pollfd socket = {.fd = engine->fd, .events = POLLOUT};

	while (wire_writer_pending(engine->writer) && clock_now_ms() < end)
		if (poll(&socket, 1, 50) < 0 || wire_writer_push(engine->writer, engine->fd) < 0)
			return;
}

static void last_words_error(const struct engine *engine, const char *file, struct wire_error *error)
{
	const char *name = cJSON_GetStringValue(wire_member(engine->opening, "name"));

	wire_error_set(error, WIRE_MODEL,
		       "The file %s changed or was truncated while the assistant \"%.64s\" used it; put the whole file back and send "
		       "the request once more.", file, name ? name : "?");
	wire_error_string(error, "file", file);
	wire_error_string(error, "reason", "changed or truncated while in use");
}

/* A file is gone from under its map: what is computed from it is worth nothing. Does not return. */
static void last_words_lost(struct engine *engine, const char *file)
{
	struct list *node, *after;
	struct wire_error error = {0};
	cJSON *params = cJSON_CreateObject();

	log_error("lost", "file=%s", file);
	/* The requests belong to threads that may be in the midst of them: only their ids are looked at. */
	list_each(node, after, &engine->requests) {
		last_words_error(engine, file, &error);
		wire_writer_add(engine->writer, wire_error_answer(list_entry(node, struct request, node)->id, &error), NULL, 0, NULL, 0);
		wire_error_fini(&error);
	}
	if (engine->state == ENGINE_OPENING) {
		last_words_error(engine, file, &error);
		wire_writer_add(engine->writer, wire_error_answer(engine->opening_id, &error), NULL, 0, NULL, 0);
		wire_error_fini(&error);
	}
	cJSON_AddStringToObject(params, "file", file);
	wire_writer_add(engine->writer, wire_notification("engine.lost", params), NULL, 0, NULL, 0);
	last_words_flush(engine);
	_exit(EXIT_FILE_LOST);
}

static int last_words_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The thread that crashes ends the process within some milliseconds; a crash outside of the plugins names none. */
static void last_words_crash(struct engine *engine, const char *file)
{
	for (size_t i = 0; engine->state == ENGINE_READY && i < engine->assembly.n_parts; i++) {
		const struct plugin *plugin = &engine->assembly.parts[i].plugin;

		if (!plugin->path || !last_words_same_file(plugin->path, file))
			continue;
		cJSON *params = cJSON_CreateObject();

		cJSON_AddStringToObject(params, "plugin", plugin->api->name);
		wire_writer_add(engine->writer, wire_notification("engine.crashed", params), NULL, 0, NULL, 0);
		last_words_flush(engine);
		return;
	}
}

void last_words_on_fault(uv_poll_t *poll, int status, int events)
{
	struct engine *engine = poll->data;
	struct lost lost;

	if (read(engine->faults, &lost, sizeof(lost)) != sizeof(lost))
		return;
	lost.file[sizeof(lost.file) - 1] = 0;
	if (lost.signal == SIGBUS)
		last_words_lost(engine, lost.file);
	else
		last_words_crash(engine, lost.file);
}

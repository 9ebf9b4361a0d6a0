/* by-hand.c - an engine without perceptd: peers that come to its own socket, one after the other. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/pipeline.h"

static void by_hand_on_listener(uv_poll_t *poll, int status, int events)
{
	struct engine *engine = poll->data;
	int fd = accept4(engine->listener, NULL, NULL, SOCK_CLOEXEC), r;

	if (fd < 0)
		return;
	uv_poll_stop(poll);
	r = engine_attach(engine, fd);
	if (r) {
		log_error("peer", "error=\"%s\"", strerror(-r));
		engine_end(engine, 1);
	}
}

static void by_hand_listen(struct engine *engine)
{
	if (engine->state == ENGINE_READY)
		uv_poll_start(&engine->listener_poll, UV_READABLE, by_hand_on_listener);
}

void by_hand_ready(struct engine *engine)
{
	if (engine->check && engine->state == ENGINE_READY) {
		printf("%s can be opened.\n", engine->assembly.name);
		engine_end(engine, 0);
	} else if (engine->listener >= 0) {
		by_hand_listen(engine);
	}
}

static void by_hand_on_closed(uv_handle_t *handle)
{
	struct engine *engine = handle->data;

	close(engine->fd);
	engine->fd = -1;
	by_hand_listen(engine);
}

void by_hand_maybe_detach(struct engine *engine)
{
	if (engine->listener < 0 || !engine->attached || !engine->half_closed || engine->running || engine->state == ENGINE_ENDING ||
	    (!engine->deaf && (engine->scanning || wire_writer_pending(engine->writer))))
		return;
	engine->attached = 0;
	uv_close((uv_handle_t *)&engine->poll, by_hand_on_closed);
}

void by_hand_ended(struct engine *engine)
{
	engine->half_closed = 1;
	engine_poll_events(engine);
}

void by_hand_gone(struct engine *engine)
{
	struct list *node, *after;

	engine->half_closed = engine->deaf = 1;
	uv_poll_stop(&engine->poll);
	list_each(node, after, &engine->requests)
		pipeline_stop(list_entry(node, struct request, node), REQUEST_CANCELLED);
	by_hand_maybe_detach(engine);
}

/* reload.h - the configuration read again, whole or not at all. */
#ifndef SERVE_RELOAD_H
#define SERVE_RELOAD_H

#include "daemon/serve/server.h"

/* Somebody who waits for a reload. */
struct reload_waiter {
	void (*told)(void *arg, const struct wire_error *error);
	void *arg;
	struct reload_waiter *next;
};

/* Reads the configuration again and brings the assistants to it; on any error all stays as it was. `told` is called once,
 * now or later, with NULL when the new one is in force. Requests for a reload while one runs share the one behind it. [loop] */
void reload_config(struct server *server, void (*told)(void *arg, const struct wire_error *error), void *arg);
/* The same when only the log is told (SIGHUP). [loop] */
void reload_quietly(struct server *server);
/* For `status`: null, or what the last reload was. NULL when memory is out. [loop] */
cJSON *reload_describe(const struct server *server);

#endif

/* notify.h - what systemd is told (sd_notify(3)), without its library. */
#ifndef SERVE_NOTIFY_H
#define SERVE_NOTIFY_H

#include <stdint.h>

/* Remembers and removes NOTIFY_SOCKET and WATCHDOG_USEC, so that no child tells anything. [one] */
struct notify {
	char path[108];
	uint64_t watchdog_ms; /* half of what systemd waits for; 0: no watchdog */
};
void notify_init(struct notify *notify);
/* Sends `state` ("READY=1"); does nothing without systemd. [loop] */
void notify_send(const struct notify *notify, const char *state);
/* "RELOADING=1" with the time that systemd wants beside it. [loop] */
void notify_reloading(const struct notify *notify);

#endif

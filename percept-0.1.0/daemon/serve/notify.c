/* notify.c - what systemd is told (sd_notify(3)), without its library. */
#include "config.h"
#include "daemon/serve/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/clock.h"

void notify_init(struct notify *notify)
{
	const char *path = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	*notify = (struct notify){{0}, 0};
	if (path && (path[0] == '/' || path[0] == '@') && strlen(path) < sizeof(notify->path))
		strcpy(notify->path, path);
	if (usec && (!pid || strtol(pid, NULL, 10) == getpid()))
		notify->watchdog_ms = strtoull(usec, NULL, 10) / 2000;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void notify_send(const struct notify *notify, const char *state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t n = strlen(notify->path);
	int fd;

	if (!n)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	memcpy(address.sun_path, notify->path, n);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	/* Whether systemd listens changes nothing here. */
	(void)!sendto(fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
}

void notify_reloading(const struct notify *notify)
{
	char state[80];

	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(clock_now_ns() / 1000));
	notify_send(notify, state);
}

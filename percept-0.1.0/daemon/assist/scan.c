/* scan.c - which plugins there are, asked of an engine that opens no assistant. */
#include "config.h"
#include "daemon/assist/scan.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/assist/child.h"

enum { SCAN_LIMIT_MS = 20000 };

struct scan_waiter {
	scan_told *told;
	void *arg;
	struct scan_waiter *next;
};

struct scan {
	struct assist *home;
	struct child *child;
	struct hop *hop;
	struct hop_call call;
	uv_timer_t limit;
	struct scan_waiter *waiters;
	bool stale; /* the configuration changed meanwhile */
};

static void scan_on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Tells everybody and ends the scan. */
static void scan_end(struct scan *scan, const cJSON *plugins, const struct wire_error *error)
{
	struct scan_waiter *waiter;

	scan->home->scan = NULL;
	while ((waiter = scan->waiters)) {
		scan->waiters = waiter->next;
		waiter->told(waiter->arg, plugins, error);
		free(waiter);
	}
	if (scan->child) {
		child_forget(scan->child);
		child_kill(scan->child, SIGKILL);
	}
	hop_free(scan->hop);
	uv_close((uv_handle_t *)&scan->limit, scan_on_closed);
}

static void scan_fail(struct scan *scan, const char *why)
{
	struct wire_error error = {0};

	wire_error_set(&error, WIRE_INTERNAL, "The plugins cannot be listed: the program %s %s.",
		       scan->home->engines.program, why);
	scan_end(scan, NULL, &error);
	wire_error_fini(&error);
}

static void scan_on_reply(void *arg, struct hop_reply *reply)
{
	struct scan *scan = arg;
	struct assist *home = scan->home;

	if (!reply->result) {
		scan_end(scan, NULL, &reply->error);
		return;
	}
	if (!scan->stale) {
		cJSON_Delete(home->plugins);
		home->plugins = reply->result;
		reply->result = NULL;
	}
	scan_end(scan, scan->stale ? reply->result : home->plugins, NULL);
}

static void scan_on_hop_closed(void *arg, const char *why)
{
	scan_fail(arg, "ended before it answered");
}

static void scan_on_exited(void *arg, int status, int signal)
{
	struct scan *scan = arg;

	/* The end of its stream tells. */
	scan->child = NULL;
}

static void scan_on_limit(uv_timer_t *timer)
{
	scan_fail(timer->data, "did not answer in time");
}

static const struct hop_call_events scan_call_events = {scan_on_reply, NULL};
static const struct hop_events scan_hop_events = {scan_on_hop_closed, NULL};

static struct scan *scan_start(struct assist *home)
{
	char *const argv[] = {(char *)home->engines.program, "--fd", "3", "--scan", NULL};
	struct child_start start = {argv, SOCK_STREAM, NULL, scan_on_exited, NULL};
	char *variable = NULL;
	struct scan *scan = calloc(1, sizeof(*scan));
	int socket, err;

	if (!scan)
		return NULL;
	if (home->plugin_path && asprintf(&variable, "PERCEPT_PLUGIN_PATH=%s", home->plugin_path) < 0)
		variable = NULL;
	start.variable = variable;
	start.arg = scan;
	scan->home = home;
	scan->call = (struct hop_call){.events = &scan_call_events, .arg = scan};
	err = child_start(home->loop, &start, &scan->child, &socket);
	free(variable);
	if (err) {
		free(scan);
		return NULL;
	}
	uv_timer_init(home->loop, &scan->limit);
	scan->limit.data = scan;
	uv_timer_start(&scan->limit, scan_on_limit, SCAN_LIMIT_MS, 0);
	scan->hop = hop_new(home->loop, socket, &scan_hop_events, scan);
	if (!scan->hop || hop_send(scan->hop, &scan->call, "plugin.list", NULL, NULL, 0)) {
		scan_end(scan, NULL, NULL);
		return NULL;
	}
	return scan;
}

void scan_plugins(struct assist *home, scan_told *told, void *arg)
{
	struct scan_waiter *waiter;
	struct wire_error error = {0};

	if (home->plugins) {
		told(arg, home->plugins, NULL);
		return;
	}
	if (!home->scan)
		home->scan = scan_start(home);
	waiter = home->scan ? calloc(1, sizeof(*waiter)) : NULL;
	if (!waiter) {
		wire_error_set(&error, WIRE_INTERNAL, "The program %s cannot be started; check the installation.",
			       home->engines.program);
		told(arg, NULL, &error);
		wire_error_fini(&error);
		return;
	}
	waiter->told = told;
	waiter->arg = arg;
	waiter->next = home->scan->waiters;
	home->scan->waiters = waiter;
}

void scan_forget(struct assist *home)
{
	cJSON_Delete(home->plugins);
	home->plugins = NULL;
	if (home->scan)
		home->scan->stale = true;
}

/* check-host.h - a host that percept check lends to a plugin: it remembers, counts and cancels. */
#ifndef TOOL_CHECK_HOST_H
#define TOOL_CHECK_HOST_H

#include <stddef.h>
#include <stdint.h>
#include <percept/plugin.h>

struct check_block;

struct check_host {
	struct percept_host table;
	struct percept_call call;
	struct check_block *blocks; /* the call's memory */
	char text[512];             /* of the last percept_fail(); empty: none */
	int error;
	uint64_t polls;             /* of cancelled() since check_host_begin() */
	uint64_t cancel_at;         /* the poll from which on it is true; UINT64_MAX: never */
	double cancelled_ms;        /* when it was true for the first time */
};

void check_host_init(struct check_host *host);
void check_host_fini(struct check_host *host);
/* Begins a call: the last one's memory and failure are gone, nothing is cancelled. */
struct percept_call *check_host_begin(struct check_host *host);
/* Milliseconds of a clock that only goes forward. */
double check_now_ms(void);

#endif

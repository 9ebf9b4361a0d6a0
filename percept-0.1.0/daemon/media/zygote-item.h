/* zygote-item.h - one media item in the zygote: its worker, its answer. */
#ifndef MEDIA_ZYGOTE_ITEM_H
#define MEDIA_ZYGOTE_ITEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "daemon/base/list.h"
#include "daemon/media/zygote.h"

enum item_state {
	ITEM_WAITING,
	ITEM_RUNNING,  /* a worker has it */
	ITEM_DYING,    /* the worker was killed and is not yet gone; the answer is made */
	ITEM_DONE,
};

struct media_item {
	struct list link;
	enum item_state state;
	struct media_request request;
	struct media_answer answer;
	bool has_answer; /* that waits to be sent */
	int file;        /* -1 once the worker has it */
	pid_t pid;
	int pidfd, report, result; /* -1 if none */
	uint64_t start_us, end_us; /* of the worker; end: its time limit */
};

/* Monotonic. */
uint64_t item_now_us(void);

/* An item of `request` that owns `file`, or NULL (then `file` is still the caller's). Limits that the request leaves open
 * or sets too high are filled in. */
struct media_item *item_new(const struct media_request *request, int file, const struct media_limits *limits);

/* Takes it out of its list and closes everything. The worker must be gone. */
void item_free(struct media_item *item);

/* Forks the worker: RUNNING, or DONE with an answer when that fails. */
void item_start(struct media_item *item, const struct zygote_config *config, void *filter);

/* Ends an item early with an answer of `status`; kills its worker. */
void item_stop(struct media_item *item, int status, const char *text);

/* The worker has ended: reaps it, checks what it left, seals the result. DONE. */
void item_finish(struct media_item *item);

#endif

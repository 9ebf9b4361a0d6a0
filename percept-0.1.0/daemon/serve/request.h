/* request.h - one request of a client, from its frame to its one answer. */
#ifndef SERVE_REQUEST_H
#define SERVE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/assist/job.h"
#include "daemon/base/list.h"
#include "daemon/serve/connection.h"
#include "sdk/wire/frame.h"
#include "sdk/wire/schema.h"

/* Lives until its answer, also when its connection does not. */
struct request {
	struct connection *connection; /* NULL: gone, the answer is for nobody */
	struct server *server;
	struct list node;              /* of connection->requests */
	cJSON *id;
	const struct wire_method *method;
	size_t bytes;                  /* of its frame, about */
	struct job *job;               /* while an assistant works on it */
	bool stream;                   /* notifications are wanted */
	double sequence;               /* of the next notification */
	/* Deltas that wait, merged. */
	cJSON *held;                   /* params of the first */
	char *held_text;
	size_t held_n, held_room;      /* of held_text */
	size_t held_bytes;             /* of all, about */
};

/* NULL on ENOMEM. [loop] */
struct request *request_new(struct connection *connection, const struct wire_method *method, const cJSON *id);
/* The one answer; the request is freed. `result` is taken over; NULL is out of memory. [loop] */
void request_answer(struct request *request, cJSON *result);
void request_answer_tail(struct request *request, cJSON *result, const void *tail, size_t tail_bytes);
/* The same with an error (ended here). [loop] */
void request_fail(struct request *request, struct wire_error *error);
/* A notification of it; `params` (taken over) lacks request_id, response_id and sequence_number. [loop] */
void request_notify(struct request *request, const char *method, cJSON *params);
/* A text delta: sent, or merged with others while much is queued. `params` is taken over. [loop] */
void request_notify_delta(struct request *request, cJSON *params);
/* Sends the deltas that waited, if the queue allows. [loop] */
void request_flush_all(struct connection *connection);
/* Nobody waits for the connection's requests any more. [loop] */
void request_abandon_all(struct connection *connection);
/* The request in flight with this id, on this connection or (then) another one of the same uid; by response_id if
 * `response_id` is not NULL. NULL if there is none. [loop] */
struct request *request_find(struct connection *connection, const cJSON *id, const char *response_id);

#endif

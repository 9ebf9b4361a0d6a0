/* request.h - one request on its way through the engine: what was asked, where it is, what came of it. */
#ifndef ENGINE_REQUEST_H
#define ENGINE_REQUEST_H

#include <stdatomic.h>

#include "daemon/base/worker.h"
#include "daemon/engine/cache.h"
#include "daemon/engine/prompt.h"
#include "daemon/engine/rows.h"
#include "daemon/engine/sampler.h"

struct engine;
struct look;

enum request_kind { REQUEST_RESPONSE, REQUEST_EMBEDDING, REQUEST_COUNT, REQUEST_LOOK };
/* Who has it. */
enum request_where { REQUEST_ON_LOOP, REQUEST_IN_JOB, REQUEST_PARKED, REQUEST_IN_SCHEDULER };
enum request_stop { REQUEST_RUNS, REQUEST_CANCELLED, REQUEST_LATE };
enum request_space { REQUEST_ENCODER, REQUEST_CONNECTOR, REQUEST_TEXT };
#define REQUEST_MAX_ITEMS 128
#define REQUEST_MAX_STOPS 16
#define REQUEST_LOOK_TOKENS 64 /* of image.look, as its schema says */

/* News for the loop: a message to send, or a request that comes back. */
struct request_letter {
	struct post post;
	cJSON *message;
	struct request *returned;
};

/* A media item of a request. */
struct item {
	struct percept_media media; /* data is the mapping, while it is mapped */
	size_t lane;
	int fd;                     /* owned; -1 once closed */
	char key[NN_DIGEST_HEX];    /* names content, preprocessing, encoder and connector */
	char features_key[NN_DIGEST_HEX]; /* the same without the connector */
	struct cache_entry *entry;  /* held; NULL until its embeddings are known */
	int cached;                 /* they came from the cache */
	uint32_t first, rows;       /* of the prompt that it takes */
	uint32_t number;            /* among the prompt's items, from 1, by which rows name it; 0: they do not */
};

/* Milliseconds. */
struct request_times {
	double before, arrived, submitted; /* until it came to the engine; the clock then; and at the scheduler */
	double queue, media, prompt, encode, connect, prefill, first_token, decode;
	double encode_item, connect_item; /* of the item at hand */
};

/* Belongs to the loop, but while a job or the scheduler has it, its fields are theirs; only `stop` is shared. */
struct request {
	struct list node; /* in engine->requests, or free */
	struct list wait; /* among the waiters of a cache entry, or in the scheduler's inbox */
	struct engine *engine;
	enum request_kind kind;
	enum request_where where;
	cJSON *id, *params; /* owned */
	char response_id[64];
	atomic_int stop;    /* enum request_stop */
	double deadline; /* on clock_now_ms; 0: none */
	struct worker_job job;
	void (*next)(struct request *request); /* [loop] behind the job */
	struct wire_error error; /* code 0: none */
	unsigned sequence_number;

	/* What was asked. */
	int stream, raw, return_tokens;
	uint32_t max_output, top_logprobs;
	struct sampler_params sampler;
	struct sampler_bias *bias;
	const char *stops[REQUEST_MAX_STOPS];
	size_t n_stops;
	enum request_space space;
	int pooled;
	int mute;           /* image.look without a question: nothing is decoded */

	/* On its way. */
	struct item *items;
	size_t n_items, next_item;
	struct embeddings made; /* of the item at hand, not yet in the cache */
	struct cache_entry *filling; /* this request is to fill it */
	struct prompt prompt;
	struct rows rows;
	char *instruction; /* the user's last text, for connectors that want it; NULL */
	double last_progress;
	const char *told_stage;
	int told_item;
	struct request_letter letter; /* by which the scheduler gives it back */
	const char *stage;  /* "encode" ..., for progress */
	int kind_plans;     /* token.count: ask the plugins for counts before doing the work */
	int unplanned;      /* they could not tell */

	/* What came of it. */
	struct request_times times;
	uint32_t cached_rows;
	int32_t *tokens; /* generated */
	uint32_t n_tokens;
	char *text;      /* the answer; NULL: none yet */
	cJSON *logprobs; /* array; NULL unless asked for */
	cJSON *by_item;  /* token.count: tokens of each input item */
	const char *finish; /* "stop", "length", "cancelled", "deadline" */
	struct look *look; /* image.look; else NULL */
	float *vector;   /* embedding.create */
	uint64_t shape[3];
	uint32_t rank;
};

/* A request from its frame: takes id and params out of *frame and the descriptors it needs. 0 and *out, or *error (and no
 * request). [loop] */
int request_new(struct engine *engine, enum request_kind kind, struct wire_frame *frame, struct request **out,
		struct wire_error *error);
/* Frees it; its cache entries must have been released. [loop] */
void request_free(struct request *request);
/* The result object of a finished response.create. [loop] */
cJSON *request_result(const struct request *request);
/* True if it shall do no more. [any] */
int request_stopped(void *request);

/* request-params.c: reads what was asked out of request->params. 0, or *error. [loop] */
int request_read_params(struct request *request, struct wire_error *error);
/* The media items: their references (input[i].content[j].fd or, for embeddings, input[i].fd), the descriptors of *frame, and what
 * `hop` says of them. 0, or *error. [loop] */
int request_read_items(struct request *request, struct wire_frame *frame, const cJSON *hop, struct wire_error *error);

#endif

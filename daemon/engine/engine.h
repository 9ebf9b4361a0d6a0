/* engine.h - one assistant's process: the loop, the workers, the scheduler, and the requests between them. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <uv.h>

#include "daemon/engine/assembly.h"
#include "daemon/engine/cache.h"
#include "daemon/engine/features.h"
#include "daemon/engine/request.h"

struct scheduler;

enum engine_state { ENGINE_IDLE, ENGINE_OPENING, ENGINE_READY, ENGINE_ENDING };

/* The stages that are counted, named by engine_stage_names. */
enum engine_stage { STAGE_PROMPT, STAGE_MEDIA, STAGE_ENCODE, STAGE_CONNECT, STAGE_PREFILL, STAGE_DECODE, STAGES };
extern const char *const engine_stage_names[STAGES];

struct engine {
	uv_loop_t *loop;
	char *program;      /* this program's file, to look at plugins with */
	cJSON *plugin_path; /* of --scan, and of engine.open */
	enum engine_state state;
	int scan_only;
	int exit_code;

	/* The peer. */
	int fd;
	uv_poll_t poll;
	uv_timer_t clock;  /* deadlines, and the end that must come */
	struct wire_reader *reader;
	struct wire_writer *writer;
	int polled;        /* the events asked for */
	int attached;      /* there is a peer */
	int half_closed;   /* it sends no more; by hand it still gets its answers */
	int deaf;          /* and takes none */
	int listener;      /* by hand: where the next peer comes from; else -1 */
	uv_poll_t listener_poll;
	int check;         /* only open the assistant, and end */
	int faults;        /* of lost_begin(); -1: none */
	uv_poll_t faults_poll;
	int closing;

	/* Who computes. */
	struct postbox *postbox;
	struct worker *text_worker, *encode_worker, *scan_worker;
	struct nn_pool *decode_pool, *encode_pool;
	struct scheduler *scheduler;

	struct assembly assembly;
	struct pulses pulses;
	cJSON *opening, *opening_id; /* params and id of engine.open */
	struct wire_error opening_error;
	struct worker_job opening_job;

	struct list requests;
	unsigned running;
	unsigned scanning; /* jobs of scan_worker */
	struct cache cache;
	struct features_store features;
	struct {
		uint64_t count;
		double seconds;
	} stages[STAGES];
};

/* How the process is run: for a peer, or (assistant not NULL) by hand. */
struct engine_setup {
	const char *program; /* this program's file */
	int fd;              /* the connected peer; -1: by hand */
	int listener;        /* by hand: a listening socket; -1: only open the assistant (--check) */
	int scan_only;
	cJSON *plugin_path;  /* may be NULL */
	cJSON *assistant;    /* params of engine.open */
};

/* Runs until the peer goes or says shutdown; by hand until shutdown. The program's exit code. Descriptors and JSON are
 * taken over. [loop] */
int engine_run(const struct engine_setup *setup);

/* A connected socket is the peer from now on. 0 or a negative errno, the socket then being closed. [loop] */
int engine_attach(struct engine *engine, int fd);
/* Asks for the events that are wanted now. [loop] */
void engine_poll_events(struct engine *engine);

/* Sends. The object is taken over. [loop] */
void engine_send(struct engine *engine, cJSON *message, const void *tail, size_t bytes);
void engine_send_result(struct engine *engine, const cJSON *id, cJSON *result);
void engine_send_error(struct engine *engine, const cJSON *id, struct wire_error *error);
/* Counts one run of a stage. [loop] */
void engine_count(struct engine *engine, enum engine_stage stage, double ms);
/* Ends all: requests are cancelled, threads end, the loop runs out. [loop] */
void engine_end(struct engine *engine, int exit_code);

/* A notification of a streamed request, from whoever has it; params are taken over. [any] */
void engine_notify(struct request *request, const char *method, cJSON *params);
/* response.in_progress; item -1 and total 0 are left out. Repeats of one stage are sent at most every 100 ms. [any] */
void engine_progress(struct request *request, const char *stage, int item, uint64_t done, uint64_t total);
/* The scheduler is done with the request: it is the loop's again. [any] */
void engine_return(struct request *request);
/* Answers a request and frees it. [loop] */
void engine_finish(struct request *request);

/* A request with a deadline came. [loop] */
void engine_watch_deadlines(struct engine *engine);

/* engine-open.c: engine.open, answered when the assistant is ready. [loop] */
void engine_open(struct engine *engine, struct wire_frame *frame);
/* The same without a peer's word: by hand. [loop] */
void engine_open_assistant(struct engine *engine, cJSON *assistant);
/* Closes what it opened, the computing threads having ended. [loop] */
void engine_open_fini(struct engine *engine);
/* Resident bytes of this process: weights, sequences, cache and programs. [loop] */
uint64_t engine_memory(const struct engine *engine);

/* last-words.c: a computing thread has faulted; the peer is told what is known. [loop] */
void last_words_on_fault(uv_poll_t *poll, int status, int events);

/* by-hand.c: peers that come to a listening socket, one after the other. All [loop] */
void by_hand_ready(struct engine *engine);        /* the assistant is open */
void by_hand_ended(struct engine *engine);        /* the peer sends no more */
void by_hand_gone(struct engine *engine);         /* and takes no more */
void by_hand_maybe_detach(struct engine *engine); /* all is answered? then the next peer's turn */

/* messages.c: one frame, or the error of a bad one. [loop] */
void messages_take(struct engine *engine, struct wire_frame *frame);

#endif

/* bench.h - what percept bench measures, and with what. */
#ifndef TOOL_BENCH_H
#define TOOL_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/tool/tool.h"

enum { BENCH_LIST = 16, BENCH_BATCH = 64, BENCH_ENDS = 8 };

/* "1,2,8": what one dimension of the measurements takes. */
struct bench_list {
	unsigned value[BENCH_LIST];
	size_t n;
};

/* What is asked for. */
struct bench_plan {
	const char *model; /* in a daemon of its own; NULL: the assistant of the running one */
	struct bench_list threads, prefill, decode, context, batch;
	unsigned runs; /* of each measurement; the median counts */
	const char *encoder, *compute; /* a plugin's name: it alone is measured, on `model`; how it computes, or NULL */
	unsigned side;                 /* of its square picture; 0: as usual */
};

/* Measured with all `threads` at once; 0 where memory was out. */
struct bench_machine {
	uint32_t threads;
	double read_gb_per_second;
	double giga_multiply_adds;  /* f32, a second */
	double giga_multiply_adds16; /* of BF16; 0: the processor has no instruction of its own for it */
	double giga_multiply_adds8; /* of 8-bit integers; 0: the processor has no instruction of its own for it */
	const char *vectors;        /* which instructions it was measured with */
};

/* One measurement. */
struct bench_cell {
	unsigned tokens, context, batch, threads;
	double per_second; /* tokens of all streams; 0: it could not be measured */
};

/* Encodes of one picture by an encoder alone. */
struct bench_encode {
	unsigned threads, rows, items;
	double seconds, least_seconds; /* the median, the shortest */
	double prepare_seconds;        /* of that for the picture's resizing and normalising; 0: unknown */
	double multiply_adds;          /* of the transformer; 0: unknown */
};

struct bench_report {
	struct bench_cell *prefill, *decode;
	size_t n_prefill, n_decode;
	struct bench_machine machines[BENCH_LIST]; /* one for each number of threads */
	size_t n_machines;
	double first_token_ms, encode_ms; /* 0: not measured */
	double memory_bytes;              /* of the assistant */
	struct bench_encode encodes[BENCH_LIST]; /* one for each number of threads, where an encoder alone is measured */
	size_t n_encodes;
};

/* Takes about a second. */
void bench_machine(struct bench_machine *m, uint32_t threads);
/* Measures what `plan` says and adds it to *report (freed by bench_report_fini). 0, or an exit code after saying why. */
int bench_measure(struct tool *tool, const struct bench_plan *plan, struct bench_report *report);
/* An encoder alone, in this process. 0, or an exit code after saying why. */
int bench_encode(struct tool *tool, const struct bench_plan *plan, unsigned threads, struct bench_encode *result);
void bench_report_fini(struct bench_report *report);
/* A PNG file of random pixels that no cache has seen, by malloc; NULL when memory is out. */
uint8_t *bench_picture(unsigned width, unsigned height, uint64_t seed, size_t *bytes);

/* ---- bench-daemon.c: a perceptd of one's own */
struct bench_daemon {
	char folder[64];
	char socket[96];
};
/* Starts one with one assistant of `model`. 0, or an exit code after saying why. */
int bench_daemon_start(struct tool *tool, struct bench_daemon *daemon, const char *model, unsigned threads);
void bench_daemon_end(struct bench_daemon *daemon);

/* ---- bench-stream.c: requests of a set length */
struct bench_stream {
	struct percept_connection *connection;
	char *text;      /* the prompt, by malloc */
	unsigned answer; /* tokens */
	/* what came of it */
	double input_tokens, cached_tokens, output_tokens;
	double prefill_ms, decode_ms, first_token_ms, encode_ms, memory_bytes;
	int end;         /* the token that ended the answer too early, or -1 */
	int failed;
	struct percept_error error;
};
struct bench_streams {
	struct tool *tool;
	const char *assistant;
	struct bench_stream stream[BENCH_BATCH];
	unsigned n;
	int ends[BENCH_ENDS]; /* tokens that are not to come, so that answers are as long as asked for */
	unsigned n_ends;
};
int bench_streams_open(struct bench_streams *s, struct tool *tool, unsigned n);
void bench_streams_close(struct bench_streams *s);
/* Gives stream i a prompt of `tokens` tokens, as nearly as words allow, that no other has had. 0, or an exit code. */
int bench_prompt(struct bench_streams *s, unsigned i, unsigned tokens);
/* Streams 0 .. n - 1 ask at once, for answers of `answer` tokens; *seconds until the last has its own. 0, or an exit code. */
int bench_ask(struct bench_streams *s, unsigned n, unsigned answer, double *seconds);
/* One picture that no cache has seen. */
int bench_look(struct bench_streams *s, double *encode_ms);

double bench_now(void);

#endif

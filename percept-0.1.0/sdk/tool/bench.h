/* bench.h - what percept bench measures, and with what. */
#ifndef TOOL_BENCH_H
#define TOOL_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "sdk/tool/tool.h"

/* Measured with all `threads` at once; 0 where memory was out. */
struct bench_machine {
	uint32_t threads;
	double read_gb_per_second;
	double giga_multiply_adds; /* f32, a second */
	const char *vectors;       /* which instructions it was measured with */
};

/* Of an assistant, from the daemon's timings: medians over the runs. 0: not measured. */
struct bench_assistant {
	double prefill_tokens, prefill_per_second;
	double decode_tokens, decode_per_second;
	double encode_ms, first_token_ms;
};

/* Takes about a second. */
void bench_machine(struct bench_machine *m, uint32_t threads);
/* 0, or an exit code after saying why. */
int bench_assistant(struct tool *tool, struct bench_assistant *a, unsigned runs, unsigned prompt, unsigned answer);
/* A PNG file of random pixels that no cache has seen, by malloc; NULL when memory is out. */
uint8_t *bench_picture(unsigned width, unsigned height, uint64_t seed, size_t *bytes);

#endif

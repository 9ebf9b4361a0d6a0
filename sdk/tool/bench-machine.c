/* bench-machine.c - how fast this machine reads memory and multiplies. */
#include "sdk/tool/bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "sdk/nn/pool.h"

#define READ_BYTES ((size_t)256 << 20) /* more than any cache holds, of each thread's share too */
#define READ_ROUNDS 4
#define FMA_ROUNDS 4000000u
#define FMA_CHAINS 12 /* enough to hide the latency of two units */

typedef float wide16 __attribute__((vector_size(64)));
typedef float wide8 __attribute__((vector_size(32)));
typedef float wide4 __attribute__((vector_size(16)));
typedef uint64_t words8 __attribute__((vector_size(64)));

struct machine_job {
	const uint8_t *memory;
	size_t share; /* bytes of each thread */
	float *sink;  /* one of each thread: what is computed must not be thrown away */
};

static double machine_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void machine_read(void *arg, uint32_t i)
{
	const struct machine_job *job = arg;
	const words8 *at = (const words8 *)(job->memory + i * job->share);
	words8 a = {0}, b = {0}, c = {0}, d = {0};
	for (size_t n = job->share / sizeof *at / 4; n; n--, at += 4) {
		a ^= at[0];
		b ^= at[1];
		c ^= at[2];
		d ^= at[3];
	}
	a ^= b ^ c ^ d;
	job->sink[i] = (float)(a[0] ^ a[7]);
}

/* x = x * y + z in FMA_CHAINS independent chains; the target's own multiply-add where it has one. */
#define MACHINE_FMA(name, target, wide)                                                                                        \
	target static void name(void *arg, uint32_t i)                                                                         \
	{                                                                                                                      \
		const struct machine_job *job = arg;                                                                           \
		wide x[FMA_CHAINS], y = {0}, z = {0};                                                                          \
		y += 0.999f + job->sink[i] * 0;                                                                                \
		z += 0.001f;                                                                                                   \
		for (int k = 0; k < FMA_CHAINS; k++)                                                                           \
			x[k] = y + (float)k;                                                                                   \
		for (uint32_t n = FMA_ROUNDS / FMA_CHAINS; n; n--)                                                             \
			_Pragma("GCC unroll 12") for (int k = 0; k < FMA_CHAINS; k++) x[k] = x[k] * y + z;                     \
		for (int k = 1; k < FMA_CHAINS; k++)                                                                           \
			x[0] += x[k];                                                                                          \
		job->sink[i] = x[0][0];                                                                                        \
	}

#if defined(__x86_64__)
MACHINE_FMA(machine_fma512, __attribute__((target("avx512f"))), wide16)
MACHINE_FMA(machine_fma256, __attribute__((target("avx2,fma"))), wide8)
#endif
MACHINE_FMA(machine_fma128, , wide4)

struct machine_path {
	const char *name;
	nn_task *run;
	unsigned lanes;
};

static struct machine_path machine_best(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f"))
		return (struct machine_path){"AVX-512", machine_fma512, 16};
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return (struct machine_path){"AVX2", machine_fma256, 8};
#endif
	return (struct machine_path){"128 bits", machine_fma128, 4};
}

/* The best of some rounds, in seconds: what disturbs makes it longer only. */
static double machine_time(struct nn_pool *pool, nn_task *task, struct machine_job *job)
{
	double best = 1e9;
	for (int round = 0; round < READ_ROUNDS; round++) {
		double from = machine_now();
		nn_pool_run(pool, task, job, nn_pool_threads(pool));
		double took = machine_now() - from;
		best = took < best ? took : best;
	}
	return best;
}

void bench_machine(struct bench_machine *m, uint32_t threads)
{
	const struct machine_path path = machine_best();
	*m = (struct bench_machine){.threads = threads, .vectors = path.name};
	struct nn_pool *pool = nn_pool_new(threads);
	float *sink = calloc(threads, sizeof *sink);
	uint8_t *memory = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pool && sink && memory != MAP_FAILED) {
		struct machine_job job = {memory, READ_BYTES / threads / 256 * 256, sink};
		memset(memory, 1, READ_BYTES);
		m->read_gb_per_second = (double)job.share * threads / machine_time(pool, machine_read, &job) / 1e9;
		double adds = (double)(FMA_ROUNDS / FMA_CHAINS) * FMA_CHAINS * path.lanes * threads;
		m->giga_multiply_adds = adds / machine_time(pool, path.run, &job) / 1e9;
	}
	if (memory != MAP_FAILED)
		munmap(memory, READ_BYTES);
	free(sink);
	nn_pool_free(pool);
}

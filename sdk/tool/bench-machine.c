/* bench-machine.c - how fast this machine reads memory and multiplies. */
#include "sdk/tool/bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "sdk/nn/ops.h"
#include "sdk/nn/pool.h"

#define READ_BYTES ((size_t)256 << 20) /* more than any cache holds, of each thread's share too */
#define READ_ROUNDS 4
#define FMA_ROUNDS 120000000u /* some 20 ms: what waking threads takes does not count */
#define TILE_ADDS 8   /* a product of tiles stands for so many of the other paths' instructions, and takes about as long */
#define TILE_LANES (16 * 16 * 32 / TILE_ADDS)
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

/* Four streams of a page each, as a matrix product with several rows at a time reads. */
#define MACHINE_READ(name, target)                                                                                             \
	target static void name(void *arg, uint32_t i)                                                                         \
	{                                                                                                                      \
		const struct machine_job *job = arg;                                                                           \
		const words8 *at = (const words8 *)(job->memory + i * job->share);                                             \
		size_t quarter = job->share / sizeof *at / 4;                                                                  \
		words8 a = {0}, b = {0}, c = {0}, d = {0};                                                                     \
		for (const words8 *end = at + quarter; at < end; at++) {                                                       \
			a ^= at[0];                                                                                            \
			b ^= at[quarter];                                                                                      \
			c ^= at[2 * quarter];                                                                                  \
			d ^= at[3 * quarter];                                                                                  \
		}                                                                                                              \
		a ^= b ^ c ^ d;                                                                                                \
		job->sink[i] = (float)(a[0] ^ a[7]);                                                                           \
	}

#if defined(__x86_64__)
MACHINE_READ(machine_read512, __attribute__((target("avx512f"))))
MACHINE_READ(machine_read256, __attribute__((target("avx2"))))
#endif
MACHINE_READ(machine_read128, )

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

#if defined(__x86_64__)
/* x += bytes * bytes, by fours, in chains as above. */
__attribute__((target("avx512f,avx512bw,avx512vnni"))) static void machine_dot8(void *arg, uint32_t i)
{
	const struct machine_job *job = arg;
	__m512i x[FMA_CHAINS], y = _mm512_set1_epi8((char)(1 + (int)job->sink[i] * 0)), z = y;
	for (int k = 0; k < FMA_CHAINS; k++)
		x[k] = _mm512_set1_epi32(k);
	for (uint32_t n = FMA_ROUNDS / FMA_CHAINS; n; n--) {
		_Pragma("GCC unroll 12") for (int k = 0; k < FMA_CHAINS; k++) x[k] = _mm512_dpbusd_epi32(x[k], y, z);
		__asm__ volatile("" : "+v"(y), "+v"(z));
	}
	for (int k = 1; k < FMA_CHAINS; k++)
		x[0] = _mm512_add_epi32(x[0], x[k]);
	job->sink[i] = _mm512_reduce_add_ps(_mm512_cvtepi32_ps(x[0]));
}

/* The same of pairs of BF16. */
__attribute__((target("avx512f,avx512bf16"))) static void machine_dot16(void *arg, uint32_t i)
{
	const struct machine_job *job = arg;
	__m512 x[FMA_CHAINS];
	__m512i y = _mm512_set1_epi16((short)(0x3f80 + (int)job->sink[i] * 0));
	for (int k = 0; k < FMA_CHAINS; k++)
		x[k] = _mm512_set1_ps((float)k);
	for (uint32_t n = FMA_ROUNDS / FMA_CHAINS; n; n--) {
		_Pragma("GCC unroll 12") for (int k = 0; k < FMA_CHAINS; k++) x[k] = _mm512_dpbf16_ps(x[k], (__m512bh)y, (__m512bh)y);
		__asm__ volatile("" : "+v"(y));
	}
	for (int k = 1; k < FMA_CHAINS; k++)
		x[0] += x[k];
	job->sink[i] = _mm512_reduce_add_ps(x[0]);
}

/* Tiles of 16 x 32 BF16 times as many, in four chains. */
__attribute__((target("amx-tile,amx-bf16"))) static void machine_tile16(void *arg, uint32_t i)
{
	struct {
		uint8_t palette, start, reserved[14];
		uint16_t bytes[16];
		uint8_t rows[16];
	} shape = {.palette = 1};
	for (int k = 0; k < 8; k++) {
		shape.bytes[k] = 64;
		shape.rows[k] = 16;
	}
	__asm__ volatile("" : : "r"(&shape) : "memory");
	_tile_loadconfig(&shape);
	for (uint32_t n = FMA_ROUNDS / TILE_ADDS / 4; n; n--) {
		_tile_dpbf16ps(0, 4, 6);
		_tile_dpbf16ps(1, 4, 7);
		_tile_dpbf16ps(2, 5, 6);
		_tile_dpbf16ps(3, 5, 7);
	}
	_tile_release();
	((const struct machine_job *)arg)->sink[i] = 0;
}
#endif

struct machine_path {
	const char *name;
	nn_task *read, *multiply, *multiply16, *multiply8; /* the last two may be NULL */
	unsigned lanes, lanes16, lanes8;
};

/* Best first. */
static struct machine_path machine_best(void)
{
#if defined(__x86_64__)
	if (nn_kernels_named("amx"))
		return (struct machine_path){"AVX-512, AMX", machine_read512, machine_fma512, machine_tile16, machine_dot8, 16, TILE_LANES, 64};
	if (nn_kernels_named("avx512bf16"))
		return (struct machine_path){"AVX-512 VNNI, BF16", machine_read512, machine_fma512, machine_dot16, machine_dot8, 16, 32, 64};
	if (__builtin_cpu_supports("avx512f"))
		return __builtin_cpu_supports("avx512vnni") ?
			       (struct machine_path){"AVX-512 VNNI", machine_read512, machine_fma512, NULL, machine_dot8, 16, 0, 64} :
			       (struct machine_path){"AVX-512", machine_read512, machine_fma512, NULL, NULL, 16, 0, 0};
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return (struct machine_path){"AVX2", machine_read256, machine_fma256, NULL, NULL, 8, 0, 0};
#endif
	return (struct machine_path){"128 bits", machine_read128, machine_fma128, NULL, NULL, 4, 0, 0};
}

/* The best of some rounds, in seconds: what disturbs makes it longer only. */
static double machine_time(struct nn_pool *pool, nn_task *task, struct machine_job *job)
{
	double best = 1e9;
	for (int round = 0; round < READ_ROUNDS; round++) {
		double from = bench_now();
		nn_pool_run(pool, task, job, nn_pool_threads(pool));
		double took = bench_now() - from;
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
		madvise(memory, READ_BYTES, MADV_HUGEPAGE);
		memset(memory, 1, READ_BYTES);
		m->read_gb_per_second = (double)job.share * threads / machine_time(pool, path.read, &job) / 1e9;
		double adds = (double)(FMA_ROUNDS / FMA_CHAINS) * FMA_CHAINS * path.lanes * threads;
		m->giga_multiply_adds = adds / machine_time(pool, path.multiply, &job) / 1e9;
		if (path.multiply16)
			m->giga_multiply_adds16 = adds / path.lanes * path.lanes16 / machine_time(pool, path.multiply16, &job) / 1e9;
		if (path.multiply8)
			m->giga_multiply_adds8 = adds / path.lanes * path.lanes8 / machine_time(pool, path.multiply8, &job) / 1e9;
	}
	if (memory != MAP_FAILED)
		munmap(memory, READ_BYTES);
	free(sink);
	nn_pool_free(pool);
}

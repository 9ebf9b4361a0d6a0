/* test-pool.c - the compute threads: every index once, sleep when idle, stop when told. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include <percept/plugin.h>
#include "sdk/nn/pool.h"

enum { MOST = 3000 };

struct counts {
	_Atomic uint32_t n[MOST];
};

static void count_one(void *arg, uint32_t index)
{
	struct counts *c = arg;

	atomic_fetch_add(&c->n[index], 1);
}

static void every_index_runs_once(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 2, 3, 7, 64, MOST };
	struct counts *c = malloc(sizeof(*c));

	for (uint32_t threads = 1; threads <= 5; threads++) {
		struct nn_pool *pool = nn_pool_new(threads);

		assert_non_null(pool);
		assert_int_equal(nn_pool_threads(pool), threads);
		for (int round = 0; round < 300; round++) {
			uint32_t n = sizes[round % 7];

			memset(c, 0, sizeof(*c));
			nn_pool_run(pool, count_one, c, n);
			for (uint32_t i = 0; i < MOST; i++)
				assert_int_equal(c->n[i], i < n);
		}
		nn_pool_free(pool);
	}
	free(c);
}

struct caller {
	struct nn_pool *pool;
	_Atomic uint64_t sum;
};

static void add_index(void *arg, uint32_t index)
{
	atomic_fetch_add((_Atomic uint64_t *)arg, index);
}

static void *call_often(void *arg)
{
	struct caller *caller = arg;

	for (int i = 0; i < 2000; i++)
		nn_pool_run(caller->pool, add_index, &caller->sum, 9);
	return NULL;
}

static void many_callers_wait_for_each_other(void **state)
{
	struct caller callers[4];
	pthread_t threads[4];
	struct nn_pool *pool = nn_pool_new(3);

	for (int i = 0; i < 4; i++) {
		callers[i] = (struct caller){ .pool = pool };
		assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(callers[i].sum, 2000 * 36);
	}
	nn_pool_free(pool);
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void idle_threads_use_no_processor(void **state)
{
	struct nn_pool *pool = nn_pool_new(4);
	_Atomic uint64_t sum = 0;

	double used = 1;

	nn_pool_run(pool, add_index, &sum, 100);
	/* The pool's threads look out for the next job for some microseconds, those of the BLAS library at the start of the
	 * program for a tenth of a second. 1 ms is what a slow sanitizer may take for nothing. */
	for (int i = 0; i < 20 && used > 0.001; i++) {
		double before = cpu_seconds();

		usleep(100000);
		used = cpu_seconds() - before;
	}
	assert_true(used <= 0.001);
	nn_pool_run(pool, add_index, &sum, 100);
	assert_int_equal(sum, 2 * 4950);
	nn_pool_free(pool);
}

static int stopped_flag(void *stopper)
{
	return atomic_load((_Atomic int *)stopper);
}

static void stop_at_third(void *arg, uint32_t index)
{
	_Atomic int *flags = arg; /* ran, stop */

	if (atomic_fetch_add(&flags[0], 1) == 2)
		atomic_store(&flags[1], 1);
	usleep(1000);
}

static void a_stopped_computation_leaves_the_rest_out(void **state)
{
	for (uint32_t threads = 1; threads <= 3; threads++) {
		struct nn_pool *pool = nn_pool_new(threads);
		_Atomic int flags[2] = { 0, 0 };
		struct nn c = { .parallel = nn_pool_run, .runner = pool, .threads = threads, .stopped = stopped_flag,
				.stopper = &flags[1] };

		nn_parallel(&c, stop_at_third, flags, 1000);
		assert_int_equal(c.error, -ECANCELED);
		assert_true(flags[0] < 10);
		assert_true(nn_stopped(&c));
		nn_pool_free(pool);
	}
}

struct cover {
	_Atomic uint32_t seen[1000];
};

static void cover_part(void *arg, size_t begin, size_t end)
{
	struct cover *cover = arg;

	for (size_t i = begin; i < end; i++)
		atomic_fetch_add(&cover->seen[i], 1);
}

static void a_split_covers_everything_once(void **state)
{
	struct nn_pool *pool = nn_pool_new(3);

	for (size_t n = 0; n <= 1000; n = n * 2 + 1) {
		for (size_t grain = 0; grain < 500; grain = grain * 3 + 1) {
			struct nn c = { .parallel = nn_pool_run, .runner = pool, .threads = (uint32_t)(grain % 4) };
			struct cover cover = { 0 };

			nn_split(&c, n, grain, cover_part, &cover);
			for (size_t i = 0; i < 1000; i++)
				assert_int_equal(cover.seen[i], i < n);
		}
	}
	nn_pool_free(pool);
}

static uint32_t host_threads(struct percept_call *call)
{
	return 2;
}

static int host_cancelled(struct percept_call *call)
{
	return *(int *)call->impl;
}

static void host_parallel(struct percept_call *call, void (*task)(void *arg, uint32_t index), void *arg, uint32_t count)
{
	for (uint32_t i = count; i--;)
		task(arg, i);
}

static void a_computation_uses_the_calls_host(void **state)
{
	int cancel = 0;
	struct percept_host host = { .size = sizeof(host), .threads = host_threads, .cancelled = host_cancelled,
				     .parallel = host_parallel };
	struct percept_call call = { .size = sizeof(call), .host = &host, .impl = &cancel };
	_Atomic uint64_t sum = 0;
	struct nn c;

	nn_begin(&c, &call, NULL);
	assert_int_equal(c.threads, 2);
	nn_parallel(&c, add_index, &sum, 10);
	assert_int_equal(sum, 45);
	assert_false(nn_stopped(&c));
	cancel = 1;
	assert_true(nn_stopped(&c));
	assert_int_equal(c.error, -ECANCELED);
}

static void an_arena_gives_back_and_keeps_its_limit(void **state)
{
	struct nn_arena *arena = nn_arena_new(1 << 20);
	char *a = nn_arena_alloc(arena, 1000);
	struct nn_arena_mark mark = nn_arena_mark(arena);
	char *b = nn_arena_alloc(arena, 100), *big = nn_arena_alloc(arena, 600 << 10);

	assert_int_equal((uintptr_t)a % 64 + (uintptr_t)b % 64 + (uintptr_t)big % 64, 0);
	memset(a, 1, 1000);
	memset(b, 2, 100);
	memset(big, 3, 600 << 10);
	assert_null(nn_arena_alloc(arena, 600 << 10));
	assert_null(nn_arena_alloc(arena, SIZE_MAX));
	assert_null(nn_arena_alloc(arena, SIZE_MAX - 64));
	nn_arena_release(arena, mark);
	assert_ptr_equal(nn_arena_alloc(arena, 100), b);
	assert_ptr_equal(nn_arena_alloc(arena, 600 << 10), big);
	assert_int_equal(a[999], 1);
	size_t held = nn_arena_bytes(arena);

	assert_true(held >= 601 << 10 && held <= 1 << 20);
	nn_arena_reset(arena);
	assert_ptr_equal(nn_arena_alloc(arena, 1), a);
	assert_int_equal(nn_arena_bytes(arena), held);
	nn_arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_index_runs_once),
		cmocka_unit_test(many_callers_wait_for_each_other),
		cmocka_unit_test(idle_threads_use_no_processor),
		cmocka_unit_test(a_stopped_computation_leaves_the_rest_out),
		cmocka_unit_test(a_split_covers_everything_once),
		cmocka_unit_test(a_computation_uses_the_calls_host),
		cmocka_unit_test(an_arena_gives_back_and_keeps_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

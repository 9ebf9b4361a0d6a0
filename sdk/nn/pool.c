/* pool.c - the compute threads of an engine.
 *
 * A job is published by one store to `claims`, whose upper half is the job's number and whose lower half is the next index.
 * A thread claims an index by compare-and-swap on both: if that succeeds, the job is the one whose task, arg and count it
 * read before. For the owner changes those only when every claimed index is done, and closes `claims` first: who read
 * one that is newer than its job cannot see the old job's claims any more.
 */
#include "sdk/nn/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>

enum { POOL_SPINS = 400, POOL_YIELDS = 4, POOL_STACK = 1 << 20 };

struct nn_pool {
	_Alignas(64) _Atomic uint64_t claims; /* job << 32 | next index */
	_Alignas(64) _Atomic uint32_t done;   /* indices of the job that are finished */
	_Alignas(64) _Atomic uint32_t job;    /* number of the job published last */
	_Atomic(nn_task *) task;
	_Atomic(void *) arg;
	_Atomic uint32_t count;
	_Atomic uint32_t sleepers; /* workers that wait for `wake` or are about to */
	_Atomic uint32_t waiting;  /* the owner waits for `finished` or is about to */
	_Atomic uint32_t quit;
	pthread_mutex_t callers;   /* held by the owner of the job */
	pthread_mutex_t lock;      /* changes of `job`, `done` and `quit` that a sleeper may miss are signalled under it */
	pthread_cond_t wake, finished;
	uint32_t threads, started;
	pthread_t *thread;
};

static void pool_pause(uint32_t turn)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
	if (turn >= POOL_SPINS)
		sched_yield();
}

/* Takes indices of job `job` until none is left. */
static void pool_work(struct nn_pool *pool, uint32_t job)
{
	nn_task *task = atomic_load_explicit(&pool->task, memory_order_acquire);
	void *arg = atomic_load_explicit(&pool->arg, memory_order_acquire);
	uint32_t count = atomic_load_explicit(&pool->count, memory_order_acquire);
	uint64_t seen = atomic_load_explicit(&pool->claims, memory_order_acquire);
	uint32_t mine = 0;

	while ((uint32_t)(seen >> 32) == job && (uint32_t)seen < count) {
		if (!atomic_compare_exchange_weak_explicit(&pool->claims, &seen, seen + 1, memory_order_acq_rel,
							   memory_order_acquire))
			continue;
		task(arg, (uint32_t)seen);
		mine++;
		seen = atomic_load_explicit(&pool->claims, memory_order_acquire);
	}
	if (!mine || atomic_fetch_add(&pool->done, mine) + mine != count)
		return;
	if (atomic_load(&pool->waiting)) {
		pthread_mutex_lock(&pool->lock);
		pthread_cond_signal(&pool->finished);
		pthread_mutex_unlock(&pool->lock);
	}
}

/* Returns the number of a job other than `last`, or `last` when the pool ends. */
static uint32_t pool_await(struct nn_pool *pool, uint32_t last)
{
	for (uint32_t turn = 0; turn < POOL_SPINS + POOL_YIELDS; turn++) {
		uint32_t job = atomic_load_explicit(&pool->job, memory_order_acquire);

		if (job != last || atomic_load_explicit(&pool->quit, memory_order_relaxed))
			return job;
		pool_pause(turn);
	}
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add(&pool->sleepers, 1);
	while (atomic_load(&pool->job) == last && !atomic_load(&pool->quit))
		pthread_cond_wait(&pool->wake, &pool->lock);
	atomic_fetch_sub(&pool->sleepers, 1);
	pthread_mutex_unlock(&pool->lock);
	return atomic_load(&pool->job);
}

static void *pool_thread(void *arg)
{
	struct nn_pool *pool = arg;

	prctl(PR_SET_NAME, "compute");
	for (uint32_t last = 0, job; !atomic_load(&pool->quit); last = job) {
		job = pool_await(pool, last);
		if (job != last)
			pool_work(pool, job);
	}
	return NULL;
}

static int pool_start(struct nn_pool *pool)
{
	pthread_attr_t attr;
	static const int faults[] = { SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGABRT };
	sigset_t all, old;

	if (pthread_attr_init(&attr))
		return -1;
	pthread_attr_setstacksize(&attr, POOL_STACK);
	/* Signals are the program's: its own threads take them. A fault is the faulting thread's. */
	sigfillset(&all);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; pool->started + 1 < pool->threads; pool->started++)
		if (pthread_create(&pool->thread[pool->started], &attr, pool_thread, pool))
			break;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return pool->started + 1 == pool->threads ? 0 : -1;
}

struct nn_pool *nn_pool_new(uint32_t threads)
{
	if (threads < 1 || threads > 4096)
		return NULL;
	struct nn_pool *pool = aligned_alloc(64, sizeof(*pool));

	if (!pool)
		return NULL;
	*pool = (struct nn_pool){ .threads = threads, .thread = calloc(threads, sizeof(pthread_t)) };
	pthread_mutex_init(&pool->callers, NULL);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pthread_cond_init(&pool->finished, NULL);
	if (!pool->thread || pool_start(pool)) {
		nn_pool_free(pool);
		return NULL;
	}
	return pool;
}

void nn_pool_free(struct nn_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	atomic_store(&pool->quit, 1);
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (uint32_t i = 0; i < pool->started; i++)
		pthread_join(pool->thread[i], NULL);
	pthread_cond_destroy(&pool->finished);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	pthread_mutex_destroy(&pool->callers);
	free(pool->thread);
	free(pool);
}

uint32_t nn_pool_threads(const struct nn_pool *pool)
{
	return pool->threads;
}

/* Publishes the job and wakes as many sleepers as it can use. */
static uint32_t pool_publish(struct nn_pool *pool, nn_task *task, void *arg, uint32_t count)
{
	uint32_t job = atomic_load_explicit(&pool->job, memory_order_relaxed) + 1;

	atomic_store_explicit(&pool->claims, (uint64_t)job << 32 | UINT32_MAX, memory_order_relaxed);
	atomic_store_explicit(&pool->task, task, memory_order_release);
	atomic_store_explicit(&pool->arg, arg, memory_order_release);
	atomic_store_explicit(&pool->count, count, memory_order_release);
	atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
	atomic_store_explicit(&pool->claims, (uint64_t)job << 32, memory_order_release);
	atomic_store(&pool->job, job);
	if (!atomic_load(&pool->sleepers))
		return job;
	pthread_mutex_lock(&pool->lock);
	for (uint32_t i = 1; i < count && i < pool->threads; i++)
		pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	return job;
}

static void pool_finish(struct nn_pool *pool, uint32_t count)
{
	for (uint32_t turn = 0; turn < POOL_SPINS + POOL_YIELDS; turn++) {
		if (atomic_load(&pool->done) == count)
			return;
		pool_pause(turn);
	}
	pthread_mutex_lock(&pool->lock);
	atomic_store(&pool->waiting, 1);
	while (atomic_load(&pool->done) != count)
		pthread_cond_wait(&pool->finished, &pool->lock);
	atomic_store(&pool->waiting, 0);
	pthread_mutex_unlock(&pool->lock);
}

void nn_pool_run(void *runner, nn_task *task, void *arg, uint32_t count)
{
	struct nn_pool *pool = runner;

	if (pool->threads == 1 || count <= 1) {
		for (uint32_t i = 0; i < count; i++)
			task(arg, i);
		return;
	}
	pthread_mutex_lock(&pool->callers);
	uint32_t job = pool_publish(pool, task, arg, count);

	pool_work(pool, job);
	pool_finish(pool, count);
	pthread_mutex_unlock(&pool->callers);
}

/* worker.c - threads with a queue of jobs, letters from any thread to a loop, locks. */
#include "config.h"
#include "daemon/base/worker.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/base/clock.h"

/* ---- news for a loop ---- */

struct postbox {
	uv_async_t async;
	pthread_mutex_t mutex; /* held only to link and unlink; guards `letters` */
	struct list letters;
	void (*deliver)(void *arg, struct post *letter);
	void *arg;
};

void postbox_flush(struct postbox *box)
{
	struct list letters, *node;
	list_init(&letters);
	pthread_mutex_lock(&box->mutex);
	list_move(&letters, &box->letters);
	pthread_mutex_unlock(&box->mutex);
	while ((node = list_pop(&letters)) != NULL)
		box->deliver(box->arg, list_entry(node, struct post, node));
}

static void postbox_wake(uv_async_t *async)
{
	postbox_flush(async->data);
}

struct postbox *postbox_open(uv_loop_t *loop, void (*deliver)(void *arg, struct post *letter), void *arg)
{
	struct postbox *box = calloc(1, sizeof(*box));
	if (box == NULL)
		return NULL;
	list_init(&box->letters);
	box->deliver = deliver;
	box->arg = arg;
	if (pthread_mutex_init(&box->mutex, NULL) != 0)
		goto fail_mutex;
	if (uv_async_init(loop, &box->async, postbox_wake) < 0)
		goto fail_async;
	box->async.data = box;
	return box;
fail_async:
	pthread_mutex_destroy(&box->mutex);
fail_mutex:
	free(box);
	return NULL;
}

void postbox_send(struct postbox *box, struct post *letter)
{
	pthread_mutex_lock(&box->mutex);
	list_add(&box->letters, &letter->node);
	uv_async_send(&box->async); /* under the lock: the box may be closed as soon as the letter can be seen */
	pthread_mutex_unlock(&box->mutex);
}

static void postbox_closed(uv_handle_t *handle)
{
	struct postbox *box = handle->data;
	pthread_mutex_destroy(&box->mutex);
	free(box);
}

void postbox_close(struct postbox *box)
{
	postbox_flush(box);
	uv_close((uv_handle_t *)&box->async, postbox_closed);
}

void postbox_ref(struct postbox *box, bool alive)
{
	if (alive)
		uv_ref((uv_handle_t *)&box->async);
	else
		uv_unref((uv_handle_t *)&box->async);
}

/* ---- jobs for workers ---- */

enum { JOB_IDLE, JOB_WAITING, JOB_RUNNING };

struct worker {
	struct worker_gate gate; /* guards jobs, waiting, ending, and the state of every job */
	struct list jobs;
	unsigned waiting;
	bool ending;
	unsigned pending; /* [loop] jobs whose `done` is still to come */
	struct postbox *box;
	unsigned n_threads;
	struct worker_thread threads[];
};

static void worker_main(void *arg)
{
	struct worker *w = arg;
	worker_gate_lock(&w->gate);
	for (;;) {
		struct list *node = w->ending ? NULL : list_pop(&w->jobs);
		if (node == NULL && w->ending)
			break;
		if (node == NULL) {
			worker_gate_wait(&w->gate);
			continue;
		}
		struct worker_job *job = list_entry(node, struct worker_job, letter.node);
		w->waiting--;
		job->state = JOB_RUNNING;
		worker_gate_unlock(&w->gate);
		job->run(job);
		postbox_send(w->box, &job->letter);
		worker_gate_lock(&w->gate);
	}
	worker_gate_unlock(&w->gate);
}

static void worker_deliver(void *arg, struct post *letter)
{
	struct worker *w = arg;
	struct worker_job *job = (struct worker_job *)(void *)letter;
	job->state = JOB_IDLE;
	if (--w->pending == 0)
		postbox_ref(w->box, false);
	job->done(job);
}

struct worker *worker_new(uv_loop_t *loop, unsigned threads, const char *name)
{
	struct worker *w = calloc(1, sizeof(*w) + threads * sizeof(w->threads[0]));
	if (w == NULL)
		return NULL;
	list_init(&w->jobs);
	if (worker_gate_init(&w->gate) < 0)
		goto fail_gate;
	w->box = postbox_open(loop, worker_deliver, w);
	if (w->box == NULL)
		goto fail_box;
	postbox_ref(w->box, false);
	for (; w->n_threads < threads; w->n_threads++)
		if (worker_thread_start(&w->threads[w->n_threads], name, worker_main, w) < 0)
			goto fail_thread;
	return w;
fail_thread:
	worker_free(w);
	return NULL;
fail_box:
	worker_gate_fini(&w->gate);
fail_gate:
	free(w);
	return NULL;
}

void worker_submit(struct worker *w, struct worker_job *job)
{
	job->worker = w;
	job->state = JOB_WAITING;
	if (w->pending++ == 0)
		postbox_ref(w->box, true);
	worker_gate_lock(&w->gate);
	list_add(&w->jobs, &job->letter.node);
	w->waiting++;
	pthread_cond_signal(&w->gate.changed);
	worker_gate_unlock(&w->gate);
}

bool worker_withdraw(struct worker_job *job)
{
	struct worker *w = job->worker;
	if (w == NULL)
		return false;
	worker_gate_lock(&w->gate);
	bool waits = job->state == JOB_WAITING;
	if (waits) {
		list_remove(&job->letter.node);
		job->state = JOB_IDLE;
		w->waiting--;
	}
	worker_gate_unlock(&w->gate);
	if (waits && --w->pending == 0)
		postbox_ref(w->box, false);
	return waits;
}

unsigned worker_waiting(struct worker *w)
{
	worker_gate_lock(&w->gate);
	unsigned n = w->waiting;
	worker_gate_unlock(&w->gate);
	return n;
}

void worker_free(struct worker *w)
{
	if (w == NULL)
		return;
	worker_gate_lock(&w->gate);
	w->ending = true;
	worker_gate_wake(&w->gate);
	worker_gate_unlock(&w->gate);
	for (unsigned i = 0; i < w->n_threads; i++)
		worker_thread_join(&w->threads[i]);
	postbox_close(w->box);
	worker_gate_fini(&w->gate);
	free(w);
}

/* ---- threads and locks ---- */

static void *worker_thread_main(void *arg)
{
	struct worker_thread *thread = arg;
	pthread_setname_np(pthread_self(), thread->name);
	thread->main(thread->arg);
	return NULL;
}

int worker_thread_start(struct worker_thread *thread, const char *name, void (*main)(void *arg), void *arg)
{
	static const int faults[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGABRT};
	sigset_t all, old;
	snprintf(thread->name, sizeof(thread->name), "%s", name);
	thread->main = main;
	thread->arg = arg;
	/* A fault is the thread's own, whoever handles it. */
	sigfillset(&all);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&thread->id, NULL, worker_thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

void worker_thread_join(struct worker_thread *thread)
{
	pthread_join(thread->id, NULL);
}

int worker_gate_init(struct worker_gate *gate)
{
	pthread_condattr_t attributes;
	int rc = pthread_condattr_init(&attributes);
	if (rc != 0)
		return -rc;
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	rc = pthread_cond_init(&gate->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	if (rc != 0)
		return -rc;
	rc = pthread_mutex_init(&gate->mutex, NULL);
	if (rc != 0)
		pthread_cond_destroy(&gate->changed);
	return -rc;
}

void worker_gate_fini(struct worker_gate *gate)
{
	pthread_mutex_destroy(&gate->mutex);
	pthread_cond_destroy(&gate->changed);
}

void worker_gate_lock(struct worker_gate *gate)
{
	pthread_mutex_lock(&gate->mutex);
}

void worker_gate_unlock(struct worker_gate *gate)
{
	pthread_mutex_unlock(&gate->mutex);
}

void worker_gate_wake(struct worker_gate *gate)
{
	pthread_cond_broadcast(&gate->changed);
}

void worker_gate_wait(struct worker_gate *gate)
{
	pthread_cond_wait(&gate->changed, &gate->mutex);
}

bool worker_gate_wait_for(struct worker_gate *gate, uint64_t ns)
{
	uint64_t until = clock_now_ns() + ns;
	struct timespec t = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
	return pthread_cond_timedwait(&gate->changed, &gate->mutex, &t) != ETIMEDOUT;
}

unsigned worker_processors(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	return n > 0 ? (unsigned)n : 1;
}

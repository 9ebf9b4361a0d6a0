/* template-limits.c - a rendering's account of steps, depth, memory and time; its output, names and failures. */
#include "sdk/nn/template-parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { RUN_CHECK = 512 }; /* steps between looks at the clock */

int run_fail(struct run *r, const char *format, ...)
{
	char what[400];
	va_list ap;

	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	return nn_fail(r->error, -EINVAL, "The chat template fails in line %u: %s.", r->line, what);
}

int run_memory(struct run *r)
{
	if (r->heap.limit && r->heap.held > r->heap.limit / 2)
		return nn_fail(r->error, -E2BIG, "The chat template needs more than %zu MiB of memory.", r->heap.limit >> 20);
	return nn_fail(r->error, -ENOMEM, "There is not enough memory for the chat template.");
}

static uint64_t run_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int run_charge(struct run *r, uint64_t steps)
{
	r->steps += steps;
	if (r->steps > r->limits.steps)
		return nn_fail(r->error, -E2BIG, "The chat template takes more than %llu steps.",
			       (unsigned long long)r->limits.steps);
	if (r->steps - r->checked < RUN_CHECK)
		return 0;
	r->checked = r->steps;
	if (!r->limits.time_ms)
		return 0;
	if (!r->deadline_ms)
		r->deadline_ms = run_clock_ms() + r->limits.time_ms;
	if (run_clock_ms() > r->deadline_ms)
		return nn_fail(r->error, -E2BIG, "The chat template takes longer than %u ms.", r->limits.time_ms);
	return 0;
}

int run_enter(struct run *r)
{
	if (r->depth >= r->limits.depth)
		return nn_fail(r->error, -E2BIG, "The chat template is nested deeper than %u in line %u.", r->limits.depth,
			       r->line);
	r->depth++;
	return 0;
}

void run_leave(struct run *r)
{
	r->depth--;
}

int run_write(struct run *r, struct str s)
{
	int failed = run_charge(r, 1 + s.n / 256);

	if (failed)
		return failed;
	if (s.n > r->limits.output || r->out->n > r->limits.output - s.n)
		return nn_fail(r->error, -E2BIG, "The chat template makes more than %zu bytes of text.", r->limits.output);
	return text_put(r->out, s.s, s.n);
}

struct scope *run_scope(struct run *r, struct scope *parent)
{
	struct scope *scope = heap_alloc(&r->heap, sizeof(*scope));

	if (scope)
		scope->parent = parent;
	return scope;
}

int run_set(struct run *r, struct scope *scope, struct str name, struct value value)
{
	for (size_t i = 0; i < scope->n; i++) {
		if (str_same(scope->items[i].name, name)) {
			scope->items[i].value = value;
			return 0;
		}
	}
	if (heap_reserve(&r->heap, &scope->items, &scope->room, scope->n + 1, sizeof(*scope->items)))
		return run_memory(r);
	scope->items[scope->n++] = (struct binding){name, value};
	return 0;
}

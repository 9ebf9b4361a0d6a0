/* compare.c - the verdict on each output of a folder. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/golden/golden.h"

static void golden_line(struct golden *g, const char *name, int passed, const char *what)
{
	g->checked++;
	g->failed += !passed;
	for (size_t i = 0; i < g->io.n; i++)
		g->io.all[i].seen |= !strcmp(g->io.all[i].name, name);
	printf("  %-44s %s  %s\n", name, what, passed ? "PASS" : "FAIL");
}

void golden_compare(struct golden *g, const char *name, const float *got, size_t n_got, const float *want, size_t n_want)
{
	double most_abs = 0, most_rel = 0;
	int passed = n_got == n_want && got && want;
	char text[128];

	if (!passed) {
		snprintf(text, sizeof(text), "%zu values where %zu are expected", got ? n_got : 0, n_want);
		golden_line(g, name, 0, text);
		return;
	}
	for (size_t i = 0; i < n_want; i++) {
		const double d = fabs((double)got[i] - want[i]), size = fabs((double)want[i]);

		if (!(d <= g->abs + g->rel * size) && !(isinf(want[i]) && got[i] == want[i]))
			passed = 0;
		most_abs = d > most_abs || isnan(d) ? d : most_abs;
		most_rel = size > 0 && (d / size > most_rel || isnan(d)) ? d / size : most_rel;
	}
	snprintf(text, sizeof(text), "abs %.3e  rel %.3e", most_abs, most_rel);
	golden_line(g, name, passed, text);
}

void golden_check(struct golden *g, const char *name, const float *got, size_t n)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "F32", "%s", name);

	if (want)
		golden_compare(g, name, got, n, want->data, want->n);
}

void golden_left_out(const struct golden *g)
{
	for (size_t i = 0; i < g->io.n; i++) {
		if (!strncmp(g->io.all[i].name, "out.", 4) && !g->io.all[i].seen)
			printf("  %-44s not compared\n", g->io.all[i].name);
	}
}

void golden_check_ids(struct golden *g, const char *name, const int32_t *got, size_t n_got, const int32_t *want, size_t n_want)
{
	size_t i = 0;
	char text[128];

	while (i < n_got && i < n_want && got[i] == want[i])
		i++;
	if (i == n_got && i == n_want)
		snprintf(text, sizeof(text), "%zu ids equal", n_want);
	else
		snprintf(text, sizeof(text), "%zu ids, %zu expected, differ from %zu on", n_got, n_want, i);
	golden_line(g, name, i == n_got && i == n_want, text);
}

void golden_verdict(struct golden *g, const char *name, int passed)
{
	golden_line(g, name, passed, "");
}

void golden_fail(struct golden *g, const char *format, ...)
{
	va_list list;

	g->checked++;
	g->failed++;
	printf("  ");
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("  FAIL\n");
}

void golden_skip(struct golden *g, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(g->skip, sizeof(g->skip), format, list);
	va_end(list);
}

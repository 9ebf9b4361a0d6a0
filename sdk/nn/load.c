/* load.c - a part takes its weights from a checkpoint, by name and shape. */
#include "sdk/nn/checkpoint.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "sdk/nn/checkpoint-impl.h"

enum { LOAD_NAME_MAX = 512 };

/* A shape as "(3, 4)"; 0 is any. */
static const char *load_shape_text(char *out, size_t size, const uint64_t *shape, size_t rank)
{
	size_t at = (size_t)snprintf(out, size, "(");

	for (size_t i = 0; i < rank && at < size; i++) {
		const char *comma = i ? ", " : "";

		at += (size_t)(shape[i] ? snprintf(out + at, size - at, "%s%llu", comma, (unsigned long long)shape[i]) :
					  snprintf(out + at, size - at, "%sany", comma));
	}
	if (at < size)
		snprintf(out + at, size - at, ")");
	return out;
}

/* The weight of that name behind the first prefix that has it. */
static struct nn_weight *load_find(struct nn_loader *l, const char *format, va_list ap, char *name)
{
	static const char *const none[] = { "", NULL };
	const char *const *prefixes = l->prefixes && l->prefixes[0] ? l->prefixes : none;
	char base[LOAD_NAME_MAX];
	struct nn_weight *w = NULL;

	vsnprintf(base, sizeof(base), format, ap);
	for (size_t i = 0; prefixes[i] && !w; i++) {
		int n = snprintf(name, LOAD_NAME_MAX, "%s%s", prefixes[i], base);

		if (n >= 0 && n < LOAD_NAME_MAX)
			w = nn_checkpoint_weight(l->checkpoint, name);
	}
	return w;
}

static struct nn_weight *load_missing(struct nn_loader *l, const char *name, int maybe)
{
	if (!maybe)
		nn_fail(l->error, -EINVAL, "%s: tensor \"%s\" is missing; the files are of another model or not complete.",
			nn_checkpoint_path(l->checkpoint), name);
	return NULL;
}

static struct nn_weight *load_misshapen(struct nn_loader *l, const struct nn_weight *w, const uint64_t *want, size_t rank)
{
	char have[128], wanted[128];

	nn_fail(l->error, -EINVAL, "%s: %s: tensor \"%s\" has the shape %s; %s was expected.",
		nn_checkpoint_path(l->checkpoint), l->checkpoint->files[w->file].name, w->name,
		load_shape_text(have, sizeof(have), w->shape, w->rank), load_shape_text(wanted, sizeof(wanted), want, rank));
	return NULL;
}

/* What holds for every tensor that is used: a float type, in a file that is still the one that was checked. */
static int load_usable(struct nn_loader *l, const struct nn_weight *w)
{
	const struct checkpoint_file *file = &l->checkpoint->files[w->file];

	if (!nn_weight_usable(w))
		return nn_fail(l->error, -EINVAL, "%s: %s: tensor \"%s\" is of a type that cannot be used here; F32, F16 and BF16 can.",
			       nn_checkpoint_path(l->checkpoint), file->name, w->name);
	if (checkpoint_changed(file))
		return nn_fail(l->error, -EBUSY, "%s: %s: the file changed while it was in use; load the model again.",
			       nn_checkpoint_path(l->checkpoint), file->name);
	return 0;
}

static struct nn_weight *load_matrix(struct nn_loader *l, size_t rows, size_t cols, int maybe, const char *format, va_list ap)
{
	char name[LOAD_NAME_MAX];

	if (l->error->code)
		return NULL;
	struct nn_weight *w = load_find(l, format, ap, name);

	if (!w)
		return load_missing(l, name, maybe);
	if ((rows && w->rows != rows) || (cols && w->cols != cols))
		return load_misshapen(l, w, (const uint64_t[]){ rows, cols }, 2);
	return load_usable(l, w) ? NULL : w;
}

struct nn_weight *nn_load(struct nn_loader *l, size_t rows, size_t cols, const char *name, ...)
{
	va_list ap;

	va_start(ap, name);
	struct nn_weight *w = load_matrix(l, rows, cols, 0, name, ap);

	va_end(ap);
	return w;
}

struct nn_weight *nn_load_maybe(struct nn_loader *l, size_t rows, size_t cols, const char *name, ...)
{
	va_list ap;

	va_start(ap, name);
	struct nn_weight *w = load_matrix(l, rows, cols, 1, name, ap);

	va_end(ap);
	return w;
}

static const float *load_vector(struct nn_loader *l, size_t n, int maybe, const char *format, va_list ap)
{
	struct nn_weight *w = load_matrix(l, 0, 0, maybe, format, ap);

	if (!w)
		return NULL;
	if (n && w->rows * w->cols != n) {
		load_misshapen(l, w, (const uint64_t[]){ n }, 1);
		return NULL;
	}
	const float *f = nn_weight_f32(l->checkpoint, w);

	if (!f)
		nn_fail(l->error, -ENOMEM, "%s: memory is out.", nn_checkpoint_path(l->checkpoint));
	return f;
}

const float *nn_load_vector(struct nn_loader *l, size_t n, const char *name, ...)
{
	va_list ap;

	va_start(ap, name);
	const float *f = load_vector(l, n, 0, name, ap);

	va_end(ap);
	return f;
}

const float *nn_load_vector_maybe(struct nn_loader *l, size_t n, const char *name, ...)
{
	va_list ap;

	va_start(ap, name);
	const float *f = load_vector(l, n, 1, name, ap);

	va_end(ap);
	return f;
}

/* dense-pack.c - weights of products of BF16: rounded, or in terms whose sum they are. */
#include "sdk/nn/dense.h"

#include <errno.h>
#include <string.h>

#include "sdk/nn/checkpoint-impl.h"
#include "sdk/nn/kernels.h"

enum { DENSE_LEAST = 1 << 18 /* numbers of a weight that gains by tiles: smaller models are fast enough, and stay exact */ };

size_t dense_size(size_t rows, size_t cols, uint32_t terms)
{
	size_t n;

	if (rows > SIZE_MAX - DENSE_BLOCK || cols > SIZE_MAX - DENSE_STEP ||
	    __builtin_mul_overflow(dense_blocks(rows) * DENSE_SIZE, dense_blocks(cols), &n) ||
	    __builtin_mul_overflow(n, terms ? terms : 1, &n) || n > SIZE_MAX / sizeof(float))
		return SIZE_MAX;
	return n;
}

/* Terms that every number of a type is the sum of. */
static uint32_t dense_terms(enum nn_type type)
{
	return type == NN_BF16 ? 1 : type == NN_F16 ? 2 : DENSE_TERMS;
}

/* Takes the next term off each of n numbers. */
static void dense_take_term(uint16_t *term, float *values, size_t n, const struct dense_kernels *kernels)
{
	kernels->halve(term, values, n);
	for (size_t i = 0; i < n; i++) {
		const uint32_t bits = (uint32_t)term[i] << 16;
		float f;

		memcpy(&f, &bits, sizeof(f));
		values[i] -= f;
	}
}

/* One panel: rows `first` ... of w, in terms or rounded. values is scratch. */
static void dense_pack_panel(const struct nn_weight *w, size_t panel, uint16_t *to, uint32_t terms, float *values,
			     const struct dense_kernels *kernels)
{
	const struct dense_cut cut = dense_cut(w->cols, terms);
	const size_t panels = dense_blocks(w->rows), first = panel * DENSE_BLOCK;
	const size_t rows = w->rows - first < DENSE_BLOCK ? w->rows - first : DENSE_BLOCK;
	uint16_t part[DENSE_STEP];

	for (size_t r = 0; r < rows; r++) {
		nn_weight_read(w, first + r, 1, values);
		for (size_t s = 0; s < cut.steps; s++) {
			const size_t n = w->cols - s * DENSE_STEP < DENSE_STEP ? w->cols - s * DENSE_STEP : DENSE_STEP;
			uint16_t *at = to + dense_at(cut, panels, panel, s) + r / DENSE_HALF * DENSE_SIZE / 2 + r % DENSE_HALF * 2;

			memset(part, 0, sizeof(part));
			for (uint32_t i = 0; i < (terms ? terms : 1); i++, at += DENSE_SIZE) {
				if (terms)
					dense_take_term(part, values + s * DENSE_STEP, n, kernels);
				else
					kernels->halve(part, values + s * DENSE_STEP, n);
				for (size_t pair = 0; pair < DENSE_STEP / 2; pair++)
					memcpy(at + pair * 2 * DENSE_HALF, part + 2 * pair, 2 * sizeof(*part));
			}
		}
	}
}

static int dense_pack(struct nn_checkpoint *cp, struct nn_weight *w, uint32_t terms, struct nn_error *error)
{
	struct nn c = { .arena = NULL };
	const size_t n = dense_size(w->rows, w->cols, terms), bytes = n == SIZE_MAX ? 0 : n * sizeof(uint16_t);
	struct nn_arena *scratch = nn_arena_new(0);
	float *values = scratch && w->cols <= SIZE_MAX / sizeof(*values) ? nn_arena_alloc(scratch, w->cols * sizeof(*values)) : NULL;
	uint16_t *to = values && n != SIZE_MAX ? nn_checkpoint_alloc(cp, bytes) : NULL;

	if (to) {
		memset(to, 0, bytes);
		for (size_t panel = 0; panel < dense_blocks(w->rows); panel++)
			dense_pack_panel(w, panel, to, terms, values, kernels_of(&c)->dense);
		w->halves = to;
		w->terms = terms;
		w->packed_bytes = bytes;
		checkpoint_forget(cp, w);
	}
	nn_arena_free(scratch);
	return to ? 0 : nn_fail(error, -ENOMEM, "%s: memory is out.", nn_checkpoint_path(cp));
}

int nn_weight_pack_rows(struct nn_checkpoint *cp, struct nn_weight *w, struct nn_error *error)
{
	const int usual = cp->whole;

	cp->whole = 0;
	nn_weight_pack(cp, w, error);
	cp->whole = usual;
	return error->code;
}

int nn_weight_pack_as(struct nn_checkpoint *cp, struct nn_weight *w, enum nn_compute how, struct nn_error *error)
{
	struct nn c = { .arena = NULL };
	const int large = w && w->rows && w->cols >= DENSE_LEAST / w->rows;

	if (how == NN_COMPUTE_FAST)
		how = large ? NN_COMPUTE_BF16 : NN_COMPUTE_F32;
	if (how == NN_COMPUTE_F32 && (!large || !kernels_of(&c)->dense->exact_tile))
		return nn_weight_pack_rows(cp, w, error);
	if (!w || w->halves)
		return 0;
	if (!nn_weight_usable(w))
		return nn_fail(error, -EINVAL, "%s: tensor \"%s\" is not of a float type.", nn_checkpoint_path(cp), w->name);
	return dense_pack(cp, w, how == NN_COMPUTE_BF16 ? 0 : dense_terms(w->type), error);
}

int nn_compute_named(const char *name)
{
	struct nn c = { .arena = NULL };

	if (!strcmp(name, "f32"))
		return NN_COMPUTE_F32;
	if (!strcmp(name, "bf16"))
		return NN_COMPUTE_BF16;
	if (strcmp(name, "fast"))
		return -1;
	return kernels_of(&c)->dense->fast ? NN_COMPUTE_FAST : NN_COMPUTE_F32;
}

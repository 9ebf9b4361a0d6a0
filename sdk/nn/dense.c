/* dense.c - products of BF16: weights are packed, rows are rounded, and tiles of results are spread over the threads. */
#include "sdk/nn/dense.h"

#include <errno.h>
#include <string.h>

#include "sdk/nn/checkpoint-impl.h"
#include "sdk/nn/kernels.h"

enum {
	DENSE_GROUP = 20,   /* blocks of rows that a task takes: 640 rows of a chunk fill half of a large second-level cache */
	DENSE_PANELS = 8,   /* panels of a task, at most */
	DENSE_LINE = 64,
	DENSE_LEAST = 1 << 18, /* numbers of a weight that is worth rounding: smaller models are fast enough, and stay exact */
};

size_t dense_size(size_t rows, size_t cols)
{
	size_t n;

	if (rows > SIZE_MAX - DENSE_BLOCK || cols > SIZE_MAX - DENSE_STEP ||
	    __builtin_mul_overflow(dense_blocks(rows) * DENSE_SIZE, dense_blocks(cols), &n) || n > SIZE_MAX / sizeof(float))
		return SIZE_MAX;
	return n;
}

/* ---- weights ---- */

/* One panel: rows `first` ... of w. values and pairs are scratch. */
static void dense_pack_panel(const struct nn_weight *w, size_t panel, uint16_t *to, float *values, const struct nn_kernels *kernels)
{
	const struct dense_cut cut = dense_cut(w->cols);
	const size_t panels = dense_blocks(w->rows), first = panel * DENSE_BLOCK;
	const size_t rows = w->rows - first < DENSE_BLOCK ? w->rows - first : DENSE_BLOCK;
	uint16_t part[DENSE_STEP];

	for (size_t r = 0; r < rows; r++) {
		nn_weight_read(w, first + r, 1, values);
		for (size_t s = 0; s < cut.steps; s++) {
			const size_t n = w->cols - s * DENSE_STEP < DENSE_STEP ? w->cols - s * DENSE_STEP : DENSE_STEP;
			uint16_t *at = to + dense_at(cut, panels, panel, s) + r / DENSE_HALF * DENSE_SIZE / 2 + r % DENSE_HALF * 2;

			memset(part, 0, sizeof(part));
			kernels->dense->halve(part, values + s * DENSE_STEP, n);
			for (size_t pair = 0; pair < DENSE_STEP / 2; pair++)
				memcpy(at + pair * 2 * DENSE_HALF, part + 2 * pair, 2 * sizeof(*part));
		}
	}
}

static int dense_pack(struct nn_checkpoint *cp, struct nn_weight *w, struct nn_error *error)
{
	struct nn c = { .arena = NULL };
	const size_t n = dense_size(w->rows, w->cols), bytes = n == SIZE_MAX ? 0 : n * sizeof(uint16_t);
	struct nn_arena *scratch = nn_arena_new(0);
	float *values = scratch && w->cols <= SIZE_MAX / sizeof(*values) ? nn_arena_alloc(scratch, w->cols * sizeof(*values)) : NULL;
	uint16_t *to = values && n != SIZE_MAX ? nn_checkpoint_alloc(cp, bytes) : NULL;

	if (to) {
		memset(to, 0, bytes);
		for (size_t panel = 0; panel < dense_blocks(w->rows); panel++)
			dense_pack_panel(w, panel, to, values, kernels_of(&c));
		w->halves = to;
		w->packed_bytes = bytes;
		checkpoint_forget(cp, w);
	}
	nn_arena_free(scratch);
	return to ? 0 : nn_fail(error, -ENOMEM, "%s: memory is out.", nn_checkpoint_path(cp));
}

int nn_weight_pack_as(struct nn_checkpoint *cp, struct nn_weight *w, enum nn_compute how, struct nn_error *error)
{
	const enum nn_compute usual = cp->compute;

	if (how == NN_COMPUTE_FAST)
		how = w && w->rows && w->cols >= DENSE_LEAST / w->rows ? NN_COMPUTE_BF16 : NN_COMPUTE_F32;
	if (how == NN_COMPUTE_F32) {
		cp->compute = how;
		nn_weight_pack(cp, w, error);
		cp->compute = usual;
		return error->code;
	}
	if (!w || w->halves)
		return 0;
	if (!nn_weight_usable(w))
		return nn_fail(error, -EINVAL, "%s: tensor \"%s\" is not of a float type.", nn_checkpoint_path(cp), w->name);
	return dense_pack(cp, w, error);
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

/* ---- rows ---- */

struct dense_rows {
	const struct nn_kernels *kernels;
	struct nn_tensor x;
	const struct nn_operand_norm *norm;
	struct dense_cut cut;
	uint16_t *to;
	float *rows; /* (blocks, cols): what is normed before it is rounded */
};

static const float *dense_norm(const struct dense_rows *d, const float *x, float *row)
{
	const struct nn_operand_norm *norm = d->norm;

	if (!norm)
		return x;
	if (norm->rms)
		d->kernels->rms_norm(row, x, norm->w, d->x.cols, norm->eps);
	else
		d->kernels->layer_norm(row, x, norm->w, norm->b, d->x.cols, norm->eps);
	return row;
}

static void dense_take_blocks(void *arg, size_t begin, size_t end)
{
	const struct dense_rows *d = arg;
	const size_t blocks = dense_blocks(d->x.rows);

	/* What is behind the last row does not matter: it becomes rows that nobody reads. */
	for (size_t i = begin; i < end; i++)
		for (size_t r = 0; r < DENSE_BLOCK && i * DENSE_BLOCK + r < d->x.rows; r++) {
			const size_t row = i * DENSE_BLOCK + r;
			const float *x = dense_norm(d, d->x.data + row * d->x.stride, d->rows + (d->norm ? i * d->x.cols : 0));

			for (size_t s = 0; s < d->cut.steps; s += d->cut.chunk) {
				const size_t left = d->x.cols - s * DENSE_STEP, most = d->cut.chunk * DENSE_STEP;

				d->kernels->dense->halve_row(d->to + dense_at(d->cut, blocks, i, s) + r * DENSE_STEP, DENSE_SIZE,
						      x + s * DENSE_STEP, left < most ? left : most);
			}
		}
}

uint16_t *dense_take(struct nn *c, struct nn_tensor x, const struct nn_operand_norm *norm)
{
	const size_t n = dense_size(x.rows, x.cols);
	struct dense_rows d = { kernels_of(c), x, norm, dense_cut(x.cols), nn_memory(c, n, sizeof(uint16_t)), NULL };
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);

	if (norm)
		d.rows = nn_memory(c, dense_blocks(x.rows) * x.cols, sizeof(float));
	if (!c->error)
		nn_split(c, dense_blocks(x.rows), 1, dense_take_blocks, &d);
	nn_arena_release(c->arena, mark);
	return c->error ? NULL : d.to;
}

/* ---- products ---- */

struct dense_run {
	const struct dense *d;
	float *acc;              /* [panels][blocks][DENSE_SIZE]: sums over the chunks before; NULL: there is one chunk only */
	size_t blocks, panels;
	size_t height, width;    /* blocks and panels of a task */
	size_t down;             /* tasks below each other */
};

static uint16_t *dense_place(const struct dense_place *p, size_t blocks, size_t block, size_t panel)
{
	if (!p->head)
		return p->to + dense_at(p->cut, blocks, block, panel);
	const size_t head = panel / p->head, step = panel % p->head;

	if (!p->part)
		return p->to + ((head * blocks + block) * p->head + step) * DENSE_SIZE;
	return p->to + (((head * p->parts + block / p->part) * p->head + step) * p->part + block % p->part) * DENSE_SIZE;
}

/* The lines that a tile's results will be written to, on their way into the cache while it is computed. */
static void dense_expect(const struct dense *d, size_t block, size_t panel)
{
	const float *y = d->then.y + block * DENSE_BLOCK * d->then.stride + panel * DENSE_BLOCK;

	if (d->then.order != DENSE_ROWS && d->then.order != DENSE_ADD)
		return;
	for (size_t r = block * DENSE_BLOCK; r < d->rows && r < (block + 1) * DENSE_BLOCK; r++, y += d->then.stride) {
		__builtin_prefetch(y, 1);
		__builtin_prefetch(y + DENSE_HALF, 1);
	}
}

static void dense_end(const struct dense *d, size_t block, size_t panel, float *acc)
{
	const size_t row = block * DENSE_BLOCK, col = panel * DENSE_BLOCK;
	struct dense_finish f = d->then;

	f.acc = acc;
	f.rows = (uint32_t)(d->rows - row < DENSE_BLOCK ? d->rows - row : DENSE_BLOCK);
	f.cols = (uint32_t)(d->cols - col < DENSE_BLOCK ? d->cols - col : DENSE_BLOCK);
	f.b = f.b ? f.b + col : NULL;
	f.scale = f.scale ? f.scale + col : NULL;
	if (f.order == DENSE_ROWS || f.order == DENSE_ADD)
		f.y += row * f.stride + col;
	else
		f.halves = dense_place(&d->place, dense_blocks(d->rows), block, panel);
	d->kernels->dense->finish(&f);
}

/* Part `i` of `n` of what comes after these weights: they come from memory, and the processor looks ahead to the end of a page only. */
static void dense_prefetch(const uint16_t *w, size_t numbers, size_t i, size_t n)
{
	const char *at = (const char *)(w + numbers), *end = at + numbers * sizeof(*w) * (i + 1) / n;

	for (at += numbers * sizeof(*w) * i / n / DENSE_LINE * DENSE_LINE; at < end; at += DENSE_LINE)
		__builtin_prefetch(at, 0, 2);
}

static void dense_chunk_run(const struct dense_run *run, size_t step, const size_t from[2], const size_t to[2])
{
	const struct dense *d = run->d;
	const size_t steps = dense_chunk(d->cut, step);
	const int last = step + steps == d->cut.steps;
	_Alignas(64) float here[DENSE_SIZE];

	for (size_t p = from[1]; p < to[1]; p++)
		for (size_t i = from[0]; i < to[0]; i++) {
			float *acc = run->acc ? run->acc + (p * run->blocks + i) * DENSE_SIZE : here;
			const struct dense_tile t = {
				.acc = acc, .x = d->x + dense_at(d->cut, run->blocks, i, step),
				.w = d->w + dense_at(d->cut, run->panels, p, step), .steps = steps,
				.rows = (uint32_t)(d->rows - i * DENSE_BLOCK < DENSE_BLOCK ? d->rows - i * DENSE_BLOCK : DENSE_BLOCK),
				.first = step == 0,
			};

			dense_prefetch(t.w, steps * DENSE_SIZE, i - from[0], to[0] - from[0]);
			if (last)
				dense_expect(d, i, p);
			d->kernels->dense->tile(&t);
			if (last)
				dense_end(d, i, p, acc);
		}
}

static void dense_task(void *arg, uint32_t index)
{
	const struct dense_run *run = arg;
	const struct dense_kernels *kernels = run->d->kernels->dense;
	const size_t from[2] = { index % run->down * run->height, index / run->down * run->width };
	const size_t to[2] = { from[0] + run->height < run->blocks ? from[0] + run->height : run->blocks,
			       from[1] + run->width < run->panels ? from[1] + run->width : run->panels };

	if (kernels->begin)
		kernels->begin();
	for (size_t step = 0; step < run->d->cut.steps; step += run->d->cut.chunk)
		dense_chunk_run(run, step, from, to);
	if (kernels->end)
		kernels->end();
}

void dense_product(struct nn *c, const struct dense *d)
{
	struct dense_run run = { .d = d, .blocks = dense_blocks(d->rows), .panels = dense_blocks(d->cols) };
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);
	const size_t threads = c->threads ? c->threads : 1, groups = (run.blocks + DENSE_GROUP - 1) / DENSE_GROUP;

	if (c->error || !d->rows || !d->cols)
		return;
	if (d->cut.steps > d->cut.chunk)
		run.acc = nn_memory(c, run.blocks * run.panels, DENSE_SIZE * sizeof(float));
	run.height = (run.blocks + groups - 1) / groups;
	run.down = (run.blocks + run.height - 1) / run.height;
	/* Some tasks a thread, so that none waits long for another. */
	run.width = run.panels * run.down / (threads * 6) + 1;
	if (run.width > DENSE_PANELS)
		run.width = DENSE_PANELS;
	nn_parallel(c, dense_task, &run, (uint32_t)(run.down * ((run.panels + run.width - 1) / run.width)));
	nn_arena_release(c->arena, mark);
}

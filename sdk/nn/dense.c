/* dense.c - products of BF16: rows become tiles, and tiles of results are spread over the threads. */
#include "sdk/nn/dense.h"

#include <string.h>

#include "sdk/nn/kernels.h"

enum {
	DENSE_GROUP = 20,   /* blocks of rows that a task takes: 640 rows of a chunk fill half of a large second-level cache */
	DENSE_PANELS = 8,   /* panels of a task, at most */
	DENSE_LINE = 64,
};

/* ---- rows ---- */

struct dense_rows {
	const struct nn_kernels *kernels;
	struct nn_tensor x;
	const struct nn_operand_norm *norm;
	struct dense_cut cut;
	int exact;
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
	const struct dense_kernels *kernels = d->kernels->dense;
	void (*take)(uint16_t *, size_t, const float *, size_t) = d->exact ? kernels->split_row : kernels->halve_row;
	const size_t blocks = dense_blocks(d->x.rows);

	/* What is behind the last row does not matter: it becomes rows that nobody reads. */
	for (size_t i = begin; i < end; i++)
		for (size_t r = 0; r < DENSE_BLOCK && i * DENSE_BLOCK + r < d->x.rows; r++) {
			const size_t row = i * DENSE_BLOCK + r;
			const float *x = dense_norm(d, d->x.data + row * d->x.stride, d->rows + (d->norm ? i * d->x.cols : 0));

			for (size_t s = 0; s < d->cut.steps; s += d->cut.chunk) {
				const size_t left = d->x.cols - s * DENSE_STEP, most = d->cut.chunk * DENSE_STEP;

				take(d->to + dense_at(d->cut, blocks, i, s) + r * DENSE_STEP, d->cut.unit, x + s * DENSE_STEP,
				     left < most ? left : most);
			}
		}
}

uint16_t *dense_take(struct nn *c, struct nn_tensor x, const struct nn_operand_norm *norm, int exact)
{
	const uint32_t terms = exact ? DENSE_TERMS : 0;
	const size_t n = dense_size(x.rows, x.cols, terms);
	struct dense_rows d = { kernels_of(c), x, norm, dense_cut(x.cols, terms), exact, nn_memory(c, n, sizeof(uint16_t)), NULL };
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);

	if (norm)
		d.rows = nn_memory(c, dense_blocks(x.rows) * x.cols, sizeof(float));
	if (!c->error)
		nn_split(c, dense_blocks(x.rows), 1, dense_take_blocks, &d);
	nn_arena_release(c->arena, mark);
	return c->error ? NULL : d.to;
}

/* ---- products ---- */

/* Of exact numbers by tiles of rounded ones: small terms by themselves, so that the large ones' sum is rounded as often as one of f32. */
static void dense_tile_terms(const struct dense_kernels *kernels, const struct dense_tile *t)
{
	_Alignas(64) float small[DENSE_SIZE];
	struct dense_tile part = *t;

	part.terms = 0;
	part.acc = small;
	part.first = 1;
	for (uint32_t sum = DENSE_TERMS; sum-- > 1;)
		for (uint32_t i = 0; i <= sum; i++) {
			if (sum - i >= t->terms)
				continue;
			part.x = t->x + i * DENSE_SIZE;
			part.w = t->w + (sum - i) * DENSE_SIZE;
			kernels->tile(&part);
			part.first = 0;
		}
	part = *t;
	part.terms = 0;
	kernels->tile(&part);
	for (size_t i = 0; i < DENSE_SIZE / (t->rows > DENSE_HALF ? 1 : 2); i++)
		t->acc[i] += small[i];
}

void dense_tile(const struct dense_kernels *kernels, const struct dense_tile *t)
{
	if (!t->terms)
		kernels->tile(t);
	else if (kernels->exact_tile)
		kernels->exact_tile(t);
	else
		dense_tile_terms(kernels, t);
}

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
		return p->to + ((head * blocks + block) * p->head + step) * p->unit;
	return p->to + (((head * p->parts + block / p->part) * p->head + step) * p->part + block % p->part) * p->unit;
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
				.w = d->w + dense_at(d->w_cut, run->panels, p, step), .steps = steps,
				.x_step = d->cut.unit, .w_step = d->w_cut.unit, .terms = d->terms,
				.rows = (uint32_t)(d->rows - i * DENSE_BLOCK < DENSE_BLOCK ? d->rows - i * DENSE_BLOCK : DENSE_BLOCK),
				.first = step == 0,
			};

			dense_prefetch(t.w, steps * d->w_cut.unit, i - from[0], to[0] - from[0]);
			if (last)
				dense_expect(d, i, p);
			dense_tile(d->kernels->dense, &t);
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

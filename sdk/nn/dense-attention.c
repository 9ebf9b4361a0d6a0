/* dense-attention.c - softmax(q k^T) v in tiles of BF16, rounded or exact: for a block of rows at a time the scores of some keys, their weights, and the
 * sums of values; over more keys than that as Milakov and Gimelshein 2018 have it. Keys and values are packed once.
 */
#include <math.h>
#include <string.h>

#include "sdk/nn/dense.h"
#include "sdk/nn/kernels.h"

enum {
	ATTEND_PANELS = 20,               /* panels of keys that are taken at a time, at most: their scores stay in a cache */
	ATTEND_STEPS = NN_HEAD / DENSE_STEP,
};

struct attend {
	const struct nn_kernels *kernels;
	const struct nn_attention *how;
	int exact;                        /* in terms, else rounded */
	size_t unit;                      /* numbers of a step */
	size_t rows, key_rows;
	size_t dk, dv, steps, width;      /* of a head; steps of dk, panels of dv */
	size_t panels, part;              /* of all keys; of those that are taken at a time, the last may have fewer */
	struct nn_tensor q, k, v;         /* what is packed; q.data NULL: queries, keys and values are packed already */
	uint16_t *queries;                /* [heads][blocks][steps] */
	uint16_t *keys;                   /* [kv_heads][panels][steps] */
	uint16_t *values;                 /* [kv_heads][parts][width][part], the last part as long as the others */
	struct nn_tensor out;             /* or, where out.data is NULL, an operand */
	uint16_t *to;
};

static size_t attend_parts(const struct attend *a)
{
	return (a->panels + a->part - 1) / a->part;
}

/* ---- packing ---- */

/* Rows [row, row + rows) and columns [col, col + cols) of x as a step of a block of w, or turned. */
static void attend_pack_step(const struct attend *a, const struct nn_tensor *x, size_t row, size_t col, struct dense_finish f)
{
	_Alignas(64) float acc[DENSE_SIZE];

	if (f.rows < DENSE_BLOCK || f.cols < DENSE_STEP)
		memset(acc, 0, sizeof(acc));
	for (uint32_t r = 0; r < f.rows; r++)
		for (uint32_t half = 0; half * DENSE_HALF < f.cols; half++) {
			const size_t left = f.cols - half * DENSE_HALF, n = left < DENSE_HALF ? left : DENSE_HALF;

			memcpy(acc + ((r / DENSE_HALF * 2 + half) * DENSE_HALF + r % DENSE_HALF) * DENSE_HALF,
			       x->data + (row + r) * x->stride + col + half * DENSE_HALF, n * sizeof(*acc));
		}
	f.acc = acc;
	f.exact = a->exact;
	a->kernels->dense->finish(&f);
}

/* A panel of keys and of values of one head. */
static void attend_pack_panel(const struct attend *a, size_t head, size_t panel)
{
	const size_t row = panel * DENSE_BLOCK, left = a->key_rows - row, rows = left < DENSE_BLOCK ? left : DENSE_BLOCK;
	const size_t part = panel / a->part, step = panel % a->part;
	uint16_t *keys = a->keys + (head * a->panels + panel) * a->steps * a->unit;
	uint16_t *values = a->values + ((head * attend_parts(a) + part) * a->width * a->part + step) * a->unit;
	struct dense_finish f = { .rows = (uint32_t)rows };

	for (size_t i = 0; i < a->steps; i++, keys += a->unit) {
		f.cols = (uint32_t)(a->dk - i * DENSE_STEP < DENSE_STEP ? a->dk - i * DENSE_STEP : DENSE_STEP);
		f.order = DENSE_W;
		f.halves = keys;
		attend_pack_step(a, &a->k, row, head * a->dk + i * DENSE_STEP, f);
	}
	for (size_t i = 0; i < a->width; i++, values += a->part * a->unit) {
		f.cols = (uint32_t)(a->dv - i * DENSE_STEP < DENSE_STEP ? a->dv - i * DENSE_STEP : DENSE_STEP);
		f.order = DENSE_W_TURNED;
		f.halves = values;
		attend_pack_step(a, &a->v, row, head * a->dv + i * DENSE_STEP, f);
	}
}

static void attend_pack(void *arg, size_t begin, size_t end)
{
	const struct attend *a = arg;

	for (size_t i = begin; i < end; i++)
		attend_pack_panel(a, i / a->panels, i % a->panels);
}

/* ---- one block of rows of one head ---- */

struct attend_block {
	const struct attend *a;
	size_t head, row;
	uint32_t rows;
	uint32_t lo[DENSE_BLOCK], hi[DENSE_BLOCK];   /* keys that each row sees */
	uint32_t least, most;                        /* and that one of them sees */
	struct kernel_softmax state[DENSE_BLOCK];
	float factor[DENSE_BLOCK];
	const uint16_t *queries;
	_Alignas(64) uint16_t q[ATTEND_STEPS * DENSE_TERMS * DENSE_SIZE]; /* that were not packed before */
	_Alignas(64) float scores[ATTEND_PANELS * DENSE_SIZE];
	_Alignas(64) uint16_t weights[ATTEND_PANELS * DENSE_TERMS * DENSE_SIZE];
	_Alignas(64) float sums[ATTEND_STEPS * DENSE_SIZE];
};

static void attend_begin(struct attend_block *b)
{
	const struct attend *a = b->a;
	const struct dense_kernels *kernels = a->kernels->dense;
	void (*take)(uint16_t *, size_t, const float *, size_t) = a->exact ? kernels->split_row : kernels->halve_row;

	b->least = UINT32_MAX;
	b->most = 0;
	for (uint32_t r = 0; r < b->rows; r++) {
		const size_t t = b->row + r;

		b->lo[r] = a->how->first ? a->how->first[t] : 0;
		b->hi[r] = a->how->visible ? a->how->visible[t] : (uint32_t)a->key_rows;
		b->state[r] = (struct kernel_softmax){ -INFINITY, 0 };
		if (b->lo[r] < b->hi[r]) {
			b->least = b->lo[r] < b->least ? b->lo[r] : b->least;
			b->most = b->hi[r] > b->most ? b->hi[r] : b->most;
		}
		if (a->q.data)
			take(b->q + r * DENSE_STEP, a->unit, a->q.data + t * a->q.stride + b->head * a->dk, a->dk);
	}
	b->queries = a->q.data ? b->q : a->queries + (b->head * dense_blocks(a->rows) + b->row / DENSE_BLOCK) * a->steps * a->unit;
}

/* Rows of the sums times their factors. */
static void attend_rescale(struct attend_block *b)
{
	for (size_t panel = 0; panel < b->a->width; panel++)
		for (uint32_t r = 0; r < b->rows; r++)
			for (size_t half = 0; half < 2; half++)
				b->a->kernels->scale(b->sums + panel * DENSE_SIZE +
						     ((r / DENSE_HALF * 2 + half) * DENSE_HALF + r % DENSE_HALF) * DENSE_HALF,
						     DENSE_HALF, b->factor[r]);
}

/* Panels [from, from + n), of part `part`; `first`: there were none before. */
static void attend_keys(struct attend_block *b, size_t part, size_t from, size_t n, int first)
{
	const struct attend *a = b->a;
	const size_t kv = b->head / (a->how->heads / a->how->kv_heads), base = from * DENSE_BLOCK;
	uint32_t lo[DENSE_BLOCK], hi[DENSE_BLOCK];
	struct dense_tile t = { .x = b->queries, .x_step = a->unit, .w_step = a->unit, .steps = a->steps, .rows = b->rows,
				.terms = a->exact ? DENSE_TERMS : 0, .first = 1 };

	for (size_t i = 0; i < n; i++) {
		t.acc = b->scores + i * DENSE_SIZE;
		t.w = a->keys + (kv * a->panels + from + i) * a->steps * a->unit;
		dense_tile(a->kernels->dense, &t);
	}
	for (uint32_t r = 0; r < b->rows; r++) {
		const size_t most = base + n * DENSE_BLOCK, top = b->hi[r] < most ? b->hi[r] : most;

		lo[r] = b->lo[r] > base ? (uint32_t)(b->lo[r] - base) : 0;
		hi[r] = top > base ? (uint32_t)(top - base) : 0;
	}
	a->kernels->dense->softmax(&(struct dense_softmax){
		.scores = b->scores, .weights = b->weights, .rows = b->rows, .panels = (uint32_t)n, .lo = lo, .hi = hi,
		.scale = a->how->scale, .exact = a->exact, .state = b->state, .factor = b->factor });
	if (!first)
		attend_rescale(b);
	t.x = b->weights;
	t.steps = n;
	t.first = first;
	for (size_t i = 0; i < a->width; i++) {
		t.acc = b->sums + i * DENSE_SIZE;
		t.w = a->values + (((kv * attend_parts(a) + part) * a->width + i) * a->part + from % a->part) * a->unit;
		dense_tile(a->kernels->dense, &t);
	}
}

static void attend_end(struct attend_block *b)
{
	const struct attend *a = b->a;
	const struct dense_cut cut = dense_cut(a->how->heads * a->dv, a->exact ? DENSE_TERMS : 0);

	for (uint32_t r = 0; r < b->rows; r++)
		b->factor[r] = b->state[r].sum > 0 ? 1 / b->state[r].sum : 0;
	for (size_t i = 0; i < a->width; i++) {
		const size_t left = a->dv - i * DENSE_STEP;
		struct dense_finish f = {
			.acc = b->sums + i * DENSE_SIZE, .row_scale = b->factor, .rows = b->rows,
			.cols = (uint32_t)(left < DENSE_STEP ? left : DENSE_STEP),
			.order = a->out.data ? DENSE_ROWS : DENSE_X, .exact = a->exact, .stride = a->out.stride,
		};

		if (a->out.data)
			f.y = a->out.data + b->row * a->out.stride + b->head * a->dv + i * DENSE_STEP;
		else
			f.halves = a->to + dense_at(cut, dense_blocks(a->rows), b->row / DENSE_BLOCK, b->head * a->width + i);
		a->kernels->dense->finish(&f);
	}
}

static void attend_task(void *arg, uint32_t index)
{
	const struct attend *a = arg;
	const size_t blocks = dense_blocks(a->rows), row = index % blocks * DENSE_BLOCK, left = a->rows - row;
	struct attend_block b;
	int first = 1;

	b.a = a;
	b.head = index / blocks;
	b.row = row;
	b.rows = (uint32_t)(left < DENSE_BLOCK ? left : DENSE_BLOCK);
	attend_begin(&b);
	if (a->kernels->dense->begin)
		a->kernels->dense->begin();
	for (size_t part = 0; part < attend_parts(a); part++) {
		size_t from = part * a->part, to = from + a->part < a->panels ? from + a->part : a->panels;

		from = b.least / DENSE_BLOCK > from ? b.least / DENSE_BLOCK : from;
		to = dense_blocks(b.most) < to ? dense_blocks(b.most) : to;
		if (from >= to)
			continue;
		attend_keys(&b, part, from, to - from, first);
		first = 0;
	}
	if (first)
		memset(b.sums, 0, a->width * DENSE_SIZE * sizeof(*b.sums));
	if (a->kernels->dense->end)
		a->kernels->dense->end();
	attend_end(&b);
}

/* The parts of so many keys, and memory for all of them. */
static void attend_plan(struct nn *c, struct attend *a)
{
	a->kernels = kernels_of(c);
	a->unit = (a->exact ? DENSE_TERMS : 1) * (size_t)DENSE_SIZE;
	a->panels = dense_blocks(a->key_rows);
	a->steps = dense_blocks(a->dk);
	a->width = dense_blocks(a->dv);
	a->part = (a->panels + ATTEND_PANELS - 1) / ATTEND_PANELS;
	a->part = (a->panels + a->part - 1) / a->part;
	a->keys = nn_memory(c, a->how->kv_heads * a->panels, a->steps * a->unit * sizeof(*a->keys));
	a->values = nn_memory(c, a->how->kv_heads * attend_parts(a) * a->part, a->width * a->unit * sizeof(*a->values));
}

void dense_attention(struct nn *c, struct nn_tensor out, const struct nn_tensor qkv[3], const struct nn_attention *how)
{
	struct attend a = {
		.how = how, .rows = qkv[0].rows, .key_rows = qkv[1].rows, .dk = qkv[1].cols / how->kv_heads,
		.dv = qkv[2].cols / how->kv_heads, .q = qkv[0], .k = qkv[1], .v = qkv[2], .out = out,
		.exact = how->compute != NN_COMPUTE_BF16,
	};
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);

	if (c->error || !a.rows || !a.key_rows)
		return;
	attend_plan(c, &a);
	if (!c->error) {
		nn_split(c, how->kv_heads * a.panels, 1, attend_pack, &a);
		nn_parallel(c, attend_task, &a, (uint32_t)(how->heads * dense_blocks(a.rows)));
	}
	nn_arena_release(c->arena, mark);
}

/* A product of x as attention reads it. */
static void attend_product(struct nn *c, const struct nn_operand *x, const struct nn_product *p, enum dense_order order,
			   struct dense_place place)
{
	const uint32_t terms = x->exact ? DENSE_TERMS : 0;

	dense_product(c, &(struct dense){
				 .kernels = kernels_of(c), .x = x->halves, .w = p->w->halves, .rows = x->rows, .cols = p->w->rows,
				 .terms = p->w->terms, .cut = dense_cut(x->cols, terms), .w_cut = dense_cut(x->cols, p->w->terms),
				 .place = place,
				 .then = { .b = p->b, .scale = p->scale, .activate = p->activate, .order = order, .exact = x->exact },
			 });
}

uint16_t *dense_attend(struct nn *c, const struct nn_operand *x, const struct nn_product qkv[3], const struct nn_attention *how)
{
	struct attend a = { .how = how, .rows = x->rows, .key_rows = x->rows, .dk = qkv[1].w->rows / how->kv_heads,
			    .dv = qkv[2].w->rows / how->kv_heads, .exact = x->exact };
	const uint32_t terms = x->exact ? DENSE_TERMS : 0;

	if (c->error)
		return NULL;
	a.to = nn_memory(c, dense_size(a.rows, how->heads * a.dv, terms), sizeof(*a.to));
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);

	attend_plan(c, &a);
	a.queries = nn_memory(c, dense_size(a.rows, how->heads * a.dk, terms), sizeof(*a.queries));
	attend_product(c, x, &qkv[0], DENSE_X, (struct dense_place){ .to = a.queries, .head = a.steps, .unit = a.unit });
	attend_product(c, x, &qkv[1], DENSE_W, (struct dense_place){ .to = a.keys, .head = a.steps, .unit = a.unit });
	attend_product(c, x, &qkv[2], DENSE_W_TURNED, (struct dense_place){
			       .to = a.values, .head = a.width, .parts = attend_parts(&a), .part = a.part,
			       .unit = a.unit });
	nn_parallel(c, attend_task, &a, (uint32_t)(how->heads * dense_blocks(a.rows)));
	nn_arena_release(c->arena, mark);
	return c->error ? NULL : a.to;
}

/* dense-attention.c - softmax(q k^T) v in BF16, in tiles: for a block of rows at a time the scores of some keys, their weights, and the
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

static void attend_pack_keys(const struct attend *a, size_t head, size_t panel)
{
	uint16_t *to = a->keys + (head * a->panels + panel) * a->steps * DENSE_SIZE, row[NN_HEAD];
	const size_t first = panel * DENSE_BLOCK, left = a->k.rows - first, n = left < DENSE_BLOCK ? left : DENSE_BLOCK;

	if (n < DENSE_BLOCK)
		memset(to, 0, a->steps * DENSE_SIZE * sizeof(*to));
	for (size_t i = 0; i < n; i++) {
		uint16_t *at = to + i / DENSE_HALF * DENSE_SIZE / 2 + i % DENSE_HALF * 2;

		a->kernels->dense->halve_row(row, DENSE_STEP, a->k.data + (first + i) * a->k.stride + head * a->dk, a->dk);
		for (size_t s = 0; s < a->steps; s++)
			for (size_t pair = 0; pair < DENSE_STEP / 2; pair++)
				memcpy(at + s * DENSE_SIZE + pair * 2 * DENSE_HALF, row + s * DENSE_STEP + pair * 2, 2 * sizeof(*row));
	}
}

/* A row of values, or zeros where there is no such key, or no such column. */
static const float *attend_value(const struct attend *a, size_t head, size_t key, float row[NN_HEAD])
{
	if (key < a->v.rows && a->dv % DENSE_STEP == 0)
		return a->v.data + key * a->v.stride + head * a->dv;
	memset(row, 0, a->width * DENSE_STEP * sizeof(*row));
	if (key < a->v.rows)
		memcpy(row, a->v.data + key * a->v.stride + head * a->dv, a->dv * sizeof(*row));
	return row;
}

static void attend_pack_values(const struct attend *a, size_t head, size_t panel)
{
	const size_t part = panel / a->part, step = panel % a->part;
	uint16_t *to = a->values + ((head * attend_parts(a) + part) * a->width * a->part + step) * DENSE_SIZE;
	float rows[2][NN_HEAD];

	for (size_t pair = 0; pair < DENSE_STEP / 2; pair++) {
		const size_t key = panel * DENSE_BLOCK + 2 * pair;
		const float *x = attend_value(a, head, key, rows[0]), *y = attend_value(a, head, key + 1, rows[1]);

		for (size_t half = 0; half < 2 * a->width; half++)
			a->kernels->dense->halve_pairs(to + half / 2 * a->part * DENSE_SIZE + half % 2 * DENSE_SIZE / 2 + pair * 2 * DENSE_HALF,
						x + half * DENSE_HALF, y + half * DENSE_HALF);
	}
}

static void attend_pack(void *arg, size_t begin, size_t end)
{
	const struct attend *a = arg;

	for (size_t i = begin; i < end; i++) {
		attend_pack_keys(a, i / a->panels, i % a->panels);
		attend_pack_values(a, i / a->panels, i % a->panels);
	}
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
	_Alignas(64) uint16_t q[ATTEND_STEPS * DENSE_SIZE]; /* that were not packed before */
	_Alignas(64) float scores[ATTEND_PANELS * DENSE_SIZE];
	_Alignas(64) uint16_t weights[ATTEND_PANELS * DENSE_SIZE];
	_Alignas(64) float sums[ATTEND_STEPS * DENSE_SIZE];
};

static void attend_begin(struct attend_block *b)
{
	const struct attend *a = b->a;

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
			a->kernels->dense->halve_row(b->q + r * DENSE_STEP, DENSE_SIZE,
						     a->q.data + t * a->q.stride + b->head * a->dk, a->dk);
	}
	b->queries = a->q.data ? b->q : a->queries + (b->head * dense_blocks(a->rows) + b->row / DENSE_BLOCK) * a->steps * DENSE_SIZE;
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
	struct dense_tile t = { .x = b->queries, .steps = a->steps, .rows = b->rows, .first = 1 };

	for (size_t i = 0; i < n; i++) {
		t.acc = b->scores + i * DENSE_SIZE;
		t.w = a->keys + (kv * a->panels + from + i) * a->steps * DENSE_SIZE;
		a->kernels->dense->tile(&t);
	}
	for (uint32_t r = 0; r < b->rows; r++) {
		const size_t most = base + n * DENSE_BLOCK, top = b->hi[r] < most ? b->hi[r] : most;

		lo[r] = b->lo[r] > base ? (uint32_t)(b->lo[r] - base) : 0;
		hi[r] = top > base ? (uint32_t)(top - base) : 0;
	}
	a->kernels->dense->softmax(&(struct dense_softmax){
		.scores = b->scores, .weights = b->weights, .rows = b->rows, .panels = (uint32_t)n, .lo = lo, .hi = hi,
		.scale = a->how->scale, .state = b->state, .factor = b->factor });
	if (!first)
		attend_rescale(b);
	t = (struct dense_tile){ .x = b->weights, .steps = n, .rows = b->rows, .first = first };
	for (size_t i = 0; i < a->width; i++) {
		t.acc = b->sums + i * DENSE_SIZE;
		t.w = a->values + (((kv * attend_parts(a) + part) * a->width + i) * a->part + from % a->part) * DENSE_SIZE;
		a->kernels->dense->tile(&t);
	}
}

static void attend_end(struct attend_block *b)
{
	const struct attend *a = b->a;
	const struct dense_cut cut = dense_cut(a->how->heads * a->dv);

	for (uint32_t r = 0; r < b->rows; r++)
		b->factor[r] = b->state[r].sum > 0 ? 1 / b->state[r].sum : 0;
	for (size_t i = 0; i < a->width; i++) {
		const size_t left = a->dv - i * DENSE_STEP;
		struct dense_finish f = {
			.acc = b->sums + i * DENSE_SIZE, .row_scale = b->factor, .rows = b->rows,
			.cols = (uint32_t)(left < DENSE_STEP ? left : DENSE_STEP),
			.order = a->out.data ? DENSE_ROWS : DENSE_X, .stride = a->out.stride,
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
	a->panels = dense_blocks(a->key_rows);
	a->steps = dense_blocks(a->dk);
	a->width = dense_blocks(a->dv);
	a->part = (a->panels + ATTEND_PANELS - 1) / ATTEND_PANELS;
	a->part = (a->panels + a->part - 1) / a->part;
	a->keys = nn_memory(c, a->how->kv_heads * a->panels, a->steps * DENSE_SIZE * sizeof(*a->keys));
	a->values = nn_memory(c, a->how->kv_heads * attend_parts(a) * a->part, a->width * DENSE_SIZE * sizeof(*a->values));
}

void dense_attention(struct nn *c, struct nn_tensor out, const struct nn_tensor qkv[3], const struct nn_attention *how)
{
	struct attend a = {
		.how = how, .rows = qkv[0].rows, .key_rows = qkv[1].rows, .dk = qkv[1].cols / how->kv_heads,
		.dv = qkv[2].cols / how->kv_heads, .q = qkv[0], .k = qkv[1], .v = qkv[2], .out = out,
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
	dense_product(c, &(struct dense){
				 .kernels = kernels_of(c), .x = x->halves, .w = p->w->halves, .rows = x->rows, .cols = p->w->rows,
				 .cut = dense_cut(x->cols), .place = place,
				 .then = { .b = p->b, .scale = p->scale, .activate = p->activate, .order = order },
			 });
}

uint16_t *dense_attend(struct nn *c, const struct nn_operand *x, const struct nn_product qkv[3], const struct nn_attention *how)
{
	struct attend a = { .how = how, .rows = x->rows, .key_rows = x->rows, .dk = qkv[1].w->rows / how->kv_heads,
			    .dv = qkv[2].w->rows / how->kv_heads };

	if (c->error)
		return NULL;
	a.to = nn_memory(c, dense_size(a.rows, how->heads * a.dv), sizeof(*a.to));
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);

	attend_plan(c, &a);
	a.queries = nn_memory(c, dense_size(a.rows, how->heads * a.dk), sizeof(*a.queries));
	attend_product(c, x, &qkv[0], DENSE_X, (struct dense_place){ .to = a.queries, .head = a.steps });
	attend_product(c, x, &qkv[1], DENSE_W, (struct dense_place){ .to = a.keys, .head = a.steps });
	attend_product(c, x, &qkv[2], DENSE_W_TURNED, (struct dense_place){
			       .to = a.values, .head = a.width, .parts = attend_parts(&a), .part = a.part });
	nn_parallel(c, attend_task, &a, (uint32_t)(how->heads * dense_blocks(a.rows)));
	nn_arena_release(c->arena, mark);
	return c->error ? NULL : a.to;
}

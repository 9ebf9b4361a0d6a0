/* operand.c - products of encoders and connectors, with what comes before and after them: a norm, an activation, a sum. */
#include <errno.h>

#include "sdk/nn/dense.h"
#include "sdk/nn/kernels.h"

struct nn_operand nn_operand(struct nn *c, struct nn_tensor x, const struct nn_operand_norm *norm, const struct nn_weight *w)
{
	struct nn_operand operand = { .x = x, .rows = x.rows, .cols = x.cols };

	if (nn_stopped(c))
		return (struct nn_operand){ .halves = NULL };
	if (w && w->halves) {
		operand.exact = w->terms != 0;
		operand.halves = dense_take(c, x, norm, operand.exact);
	}
	if (norm && !operand.halves)
		operand.x = norm->rms ? nn_rms_norm(c, x, norm->w, norm->eps) : nn_layer_norm(c, x, norm->w, norm->b, norm->eps);
	return operand;
}

/* True if x w^T can be computed; else the computation fails. */
static int operand_fits(struct nn *c, const struct nn_operand *x, const struct nn_weight *w)
{
	if (!nn_stopped(c) && (!w || w->cols != x->cols || !w->halves != !x->halves || (w->halves && !w->terms != !x->exact)))
		c->error = -EINVAL;
	return !c->error;
}

static void operand_dense(struct nn *c, const struct nn_operand *x, const struct nn_product *p, struct dense_finish then)
{
	const uint32_t terms = x->exact ? DENSE_TERMS : 0;

	then.b = p->b;
	then.scale = p->scale;
	then.activate = p->activate;
	then.exact = x->exact;
	dense_product(c, &(struct dense){
				 .kernels = kernels_of(c), .x = x->halves, .w = p->w->halves, .rows = x->rows, .cols = p->w->rows,
				 .terms = p->w->terms, .cut = dense_cut(x->cols, terms), .w_cut = dense_cut(x->cols, p->w->terms),
				 .then = then, .place = { .to = then.halves, .cut = dense_cut(p->w->rows, terms) },
			 });
}

struct operand_scale {
	struct nn_tensor x;
	const float *scale;
};

static void operand_scale_rows(void *arg, size_t begin, size_t end)
{
	const struct operand_scale *o = arg;

	for (size_t r = begin; r < end; r++)
		for (size_t i = 0; i < o->x.cols; i++)
			o->x.data[r * o->x.stride + i] *= o->scale[i];
}

/* In f32, one after the other. */
static struct nn_tensor operand_plain(struct nn *c, const struct nn_operand *x, const struct nn_product *p)
{
	struct operand_scale o = { nn_gemm(c, x->x, p->w, p->b), p->scale };

	nn_activate(c, o.x, p->activate);
	if (p->scale && !c->error)
		nn_split(c, o.x.rows, 16, operand_scale_rows, &o);
	return o.x;
}

struct nn_tensor nn_product(struct nn *c, const struct nn_operand *x, const struct nn_product *p)
{
	if (!operand_fits(c, x, p->w))
		return (struct nn_tensor){ 0 };
	if (!x->halves)
		return operand_plain(c, x, p);
	struct nn_tensor y = nn_new(c, x->rows, p->w->rows);

	operand_dense(c, x, p, (struct dense_finish){ .y = y.data, .stride = y.stride });
	return c->error ? (struct nn_tensor){ 0 } : y;
}

void nn_product_add(struct nn *c, struct nn_tensor y, const struct nn_operand *x, const struct nn_product *p)
{
	if (!operand_fits(c, x, p->w))
		return;
	if (y.rows != x->rows || y.cols != p->w->rows) {
		c->error = -EINVAL;
		return;
	}
	const struct nn_arena_mark mark = nn_arena_mark(c->arena);

	if (x->halves)
		operand_dense(c, x, p, (struct dense_finish){ .y = y.data, .stride = y.stride, .order = DENSE_ADD });
	else
		nn_add_to(c, y, operand_plain(c, x, p));
	nn_arena_release(c->arena, mark);
}

struct nn_operand nn_product_operand(struct nn *c, const struct nn_operand *x, const struct nn_product *p, const struct nn_weight *next)
{
	struct nn_operand y = { .rows = x->rows, .cols = p->w ? p->w->rows : 0, .exact = x->exact };

	if (!operand_fits(c, x, p->w) || !x->halves || !next || !next->halves || !next->terms != !x->exact)
		return nn_operand(c, nn_product(c, x, p), NULL, next);
	y.halves = nn_memory(c, dense_size(y.rows, y.cols, x->exact ? DENSE_TERMS : 0), sizeof(*y.halves));
	if (!c->error)
		operand_dense(c, x, p, (struct dense_finish){ .halves = y.halves, .order = DENSE_X });
	return y;
}

/* Heads that are whole steps of tiles, and attention that tiles can do. */
static int operand_attends(const struct nn_operand *x, const struct nn_product qkv[3], const struct nn_attention *how,
			   const struct nn_weight *next)
{
	const size_t heads[3] = { how->heads, how->kv_heads, how->kv_heads };

	if (!x->halves || !next || !next->halves || !next->terms != !x->exact || how->softcap > 0 || how->slopes || how->relative)
		return 0;
	for (int i = 0; i < 3; i++)
		if (!heads[i] || qkv[i].w->rows % (heads[i] * DENSE_STEP) || qkv[i].w->rows / heads[i] > NN_HEAD)
			return 0;
	for (size_t t = 0; how->visible && t < x->rows; t++)
		if (how->visible[t] > x->rows)
			return 0;
	return how->heads % how->kv_heads == 0 && qkv[0].w->rows / how->heads == qkv[1].w->rows / how->kv_heads;
}

struct nn_operand nn_product_attention(struct nn *c, const struct nn_operand *x, const struct nn_product qkv[3],
				       const struct nn_attention *how, const struct nn_weight *next)
{
	struct nn_operand y = { .rows = x->rows };

	for (int i = 0; i < 3; i++)
		if (!operand_fits(c, x, qkv[i].w))
			return (struct nn_operand){ .halves = NULL };
	if (operand_attends(x, qkv, how, next)) {
		y.cols = qkv[2].w->rows / how->kv_heads * how->heads;
		y.exact = x->exact;
		y.halves = dense_attend(c, x, qkv, how);
		return y;
	}
	const struct nn_tensor q = nn_product(c, x, &qkv[0]), k = nn_product(c, x, &qkv[1]), v = nn_product(c, x, &qkv[2]);

	return nn_operand(c, nn_attention(c, q, k, v, how), NULL, next);
}

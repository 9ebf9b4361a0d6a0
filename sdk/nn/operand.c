/* operand.c - products of encoders and connectors, with what comes before and after them: a norm, an activation, a sum. */
#include <errno.h>

#include "sdk/nn/dense.h"
#include "sdk/nn/kernels.h"

struct nn_operand nn_operand(struct nn *c, struct nn_tensor x, const struct nn_operand_norm *norm, const struct nn_weight *w)
{
	struct nn_operand operand = { .x = x, .rows = x.rows, .cols = x.cols };

	if (nn_stopped(c))
		return (struct nn_operand){ .halves = NULL };
	if (w && w->halves)
		operand.halves = dense_take(c, x, norm);
	else if (norm)
		operand.x = norm->rms ? nn_rms_norm(c, x, norm->w, norm->eps) : nn_layer_norm(c, x, norm->w, norm->b, norm->eps);
	return operand;
}

/* True if x w^T can be computed; else the computation fails. */
static int operand_fits(struct nn *c, const struct nn_operand *x, const struct nn_weight *w)
{
	if (!nn_stopped(c) && (!w || w->cols != x->cols || !w->halves != !x->halves))
		c->error = -EINVAL;
	return !c->error;
}

static void operand_dense(struct nn *c, const struct nn_operand *x, const struct nn_product *p, struct dense_finish then)
{
	then.b = p->b;
	then.scale = p->scale;
	then.activate = p->activate;
	dense_product(c, &(struct dense){
				 .kernels = kernels_of(c), .x = x->halves, .w = p->w->halves, .rows = x->rows, .cols = p->w->rows,
				 .cut = dense_cut(x->cols), .then = then, .then_cut = dense_cut(p->w->rows),
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
		operand_dense(c, x, p, (struct dense_finish){ .y = y.data, .stride = y.stride, .add = 1 });
	else
		nn_add_to(c, y, operand_plain(c, x, p));
	nn_arena_release(c->arena, mark);
}

struct nn_operand nn_product_operand(struct nn *c, const struct nn_operand *x, const struct nn_product *p, const struct nn_weight *next)
{
	struct nn_operand y = { .rows = x->rows, .cols = p->w ? p->w->rows : 0 };

	if (!operand_fits(c, x, p->w) || !x->halves || !next || !next->halves)
		return nn_operand(c, nn_product(c, x, p), NULL, next);
	y.halves = nn_memory(c, dense_size(y.rows, y.cols), sizeof(*y.halves));
	if (!c->error)
		operand_dense(c, x, p, (struct dense_finish){ .halves = y.halves });
	return y;
}

/* ops.c - operations on rows: sums, norms, activations, softmax, embeddings, rotary positions. */
#include "sdk/nn/ops.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "sdk/nn/half.h"
#include "sdk/nn/kernels.h"

enum { OPS_GRAIN = 16 << 10, OPS_ROPE_MAX = 1024 };

/* What the row operations share. */
struct ops {
	const struct nn_kernels *kernels;
	struct nn_tensor x, y, z;
	const float *w, *b;
	float f;
	enum nn_activation how;
};

/* Rows that one thread takes at least, so that waking it pays. */
static size_t ops_grain(size_t cols)
{
	return OPS_GRAIN / (cols + 1) + 1;
}

static int ops_same_shape(struct nn *c, struct nn_tensor x, struct nn_tensor y)
{
	if (!c->error && (x.rows != y.rows || x.cols != y.cols))
		c->error = -EINVAL;
	return !nn_stopped(c);
}

static const struct {
	const char *name;
	enum nn_activation how;
} ops_activations[] = {
	{ "linear", NN_IDENTITY },	     { "identity", NN_IDENTITY },     { "relu", NN_RELU },
	{ "gelu", NN_GELU_ERF },	     { "gelu_python", NN_GELU_ERF },  { "gelu_new", NN_GELU_TANH },
	{ "gelu_fast", NN_GELU_TANH },	     { "gelu_tanh", NN_GELU_TANH },   { "gelu_pytorch_tanh", NN_GELU_TANH },
	{ "quick_gelu", NN_GELU_QUICK },     { "silu", NN_SILU },	      { "swish", NN_SILU },
	{ "tanh", NN_TANH },		     { "sigmoid", NN_SIGMOID },
};

int nn_activation_named(const char *name)
{
	for (size_t i = 0; name && i < sizeof(ops_activations) / sizeof(*ops_activations); i++)
		if (!strcmp(name, ops_activations[i].name))
			return ops_activations[i].how;
	return -1;
}

static void ops_add_rows(void *arg, size_t begin, size_t end)
{
	const struct ops *o = arg;

	for (size_t r = begin; r < end; r++) {
		const float *x = o->x.data + r * o->x.stride, *y = o->y.data + r * o->y.stride;
		float *z = o->z.data + r * o->z.stride;

		for (size_t i = 0; i < o->x.cols; i++)
			z[i] = x[i] + y[i];
	}
}

void nn_add_to(struct nn *c, struct nn_tensor x, struct nn_tensor y)
{
	struct ops o = { .x = x, .y = y, .z = x };

	if (ops_same_shape(c, x, y))
		nn_split(c, x.rows, ops_grain(x.cols), ops_add_rows, &o);
}

struct nn_tensor nn_add(struct nn *c, struct nn_tensor x, struct nn_tensor y)
{
	struct ops o = { .x = x, .y = y };

	if (!ops_same_shape(c, x, y))
		return (struct nn_tensor){ 0 };
	o.z = nn_new(c, x.rows, x.cols);
	nn_split(c, o.z.rows, ops_grain(x.cols), ops_add_rows, &o);
	return o.z;
}

static void ops_scale_rows(void *arg, size_t begin, size_t end)
{
	const struct ops *o = arg;

	for (size_t r = begin; r < end; r++)
		o->kernels->scale(o->x.data + r * o->x.stride, o->x.cols, o->f);
}

void nn_scale(struct nn *c, struct nn_tensor x, float s)
{
	struct ops o = { .kernels = kernels_of(c), .x = x, .f = s };

	if (!nn_stopped(c))
		nn_split(c, x.rows, ops_grain(x.cols), ops_scale_rows, &o);
}

static void ops_layer_norm_rows(void *arg, size_t begin, size_t end)
{
	const struct ops *o = arg;

	for (size_t r = begin; r < end; r++)
		o->kernels->layer_norm(o->y.data + r * o->y.stride, o->x.data + r * o->x.stride, o->w, o->b, o->x.cols, o->f);
}

struct nn_tensor nn_layer_norm(struct nn *c, struct nn_tensor x, const float *w, const float *b, float eps)
{
	struct ops o = { .kernels = kernels_of(c), .x = x, .w = w, .b = b, .f = eps };

	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	o.y = nn_new(c, x.rows, x.cols);
	nn_split(c, o.y.rows, ops_grain(x.cols), ops_layer_norm_rows, &o);
	return o.y;
}

static void ops_rms_norm_rows(void *arg, size_t begin, size_t end)
{
	const struct ops *o = arg;

	for (size_t r = begin; r < end; r++)
		o->kernels->rms_norm(o->y.data + r * o->y.stride, o->x.data + r * o->x.stride, o->w, o->x.cols, o->f);
}

struct nn_tensor nn_rms_norm(struct nn *c, struct nn_tensor x, const float *w, float eps)
{
	struct ops o = { .kernels = kernels_of(c), .x = x, .w = w, .f = eps };

	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	o.y = nn_new(c, x.rows, x.cols);
	nn_split(c, o.y.rows, ops_grain(x.cols), ops_rms_norm_rows, &o);
	return o.y;
}

struct ops_heads {
	struct nn_tensor x;
	const struct nn_kernels *kernels;
	const float *w;
	size_t n; /* of a head */
	float eps;
};

static void ops_rms_norm_heads(void *arg, size_t begin, size_t end)
{
	const struct ops_heads *o = arg;

	for (size_t r = begin; r < end; r++)
		for (float *x = o->x.data + r * o->x.stride, *last = x + o->x.cols; x < last; x += o->n)
			o->kernels->rms_norm(x, x, o->w, o->n, o->eps);
}

void nn_rms_norm_heads(struct nn *c, struct nn_tensor x, uint32_t heads, const float *w, float eps)
{
	struct ops_heads o = { .x = x, .kernels = kernels_of(c), .w = w, .n = heads ? x.cols / heads : 0, .eps = eps };

	if (nn_stopped(c))
		return;
	if (!heads || !o.n || x.cols % heads)
		c->error = -EINVAL;
	else
		nn_split(c, x.rows, ops_grain(x.cols), ops_rms_norm_heads, &o);
}

static void ops_gate_rows(void *arg, size_t begin, size_t end)
{
	const struct ops *o = arg;

	for (size_t r = begin; r < end; r++)
		o->kernels->gate(o->x.data + r * o->x.stride, o->y.data ? o->y.data + r * o->y.stride : NULL, o->x.cols, o->how);
}

void nn_activate(struct nn *c, struct nn_tensor x, enum nn_activation how)
{
	struct ops o = { .kernels = kernels_of(c), .x = x, .how = how };

	if (!nn_stopped(c) && how != NN_IDENTITY)
		nn_split(c, x.rows, ops_grain(x.cols * 4), ops_gate_rows, &o);
}

struct nn_tensor nn_gate(struct nn *c, struct nn_tensor gate, struct nn_tensor up, enum nn_activation how)
{
	struct ops o = { .kernels = kernels_of(c), .x = gate, .y = up, .how = how };

	if (!ops_same_shape(c, gate, up))
		return (struct nn_tensor){ 0 };
	nn_split(c, gate.rows, ops_grain(gate.cols * 4), ops_gate_rows, &o);
	return gate;
}

static void ops_softmax_rows(void *arg, size_t begin, size_t end)
{
	const struct ops *o = arg;

	for (size_t r = begin; r < end; r++)
		o->kernels->softmax(o->x.data + r * o->x.stride, o->x.cols);
}

void nn_softmax(struct nn *c, struct nn_tensor x)
{
	struct ops o = { .kernels = kernels_of(c), .x = x };

	if (!nn_stopped(c) && x.cols)
		nn_split(c, x.rows, ops_grain(x.cols * 4), ops_softmax_rows, &o);
}

struct nn_tensor nn_embed(struct nn *c, const struct nn_weight *table, const int32_t *ids, size_t n)
{
	if (nn_stopped(c))
		return (struct nn_tensor){ 0 };
	struct nn_tensor y = nn_new(c, n, table->cols);

	for (size_t i = 0; i < y.rows && !c->error; i++) {
		if (ids[i] < 0 || (uint64_t)ids[i] >= table->rows || !nn_weight_usable(table))
			c->error = -EINVAL;
		else
			nn_weight_read(table, (size_t)ids[i], 1, y.data + i * y.stride);
	}
	return c->error ? (struct nn_tensor){ 0 } : y;
}

/* The first `half` pairs of each head of a row. */
static void ops_rotate(float *x, size_t head, size_t heads, const float *cosine, const float *sine, size_t half, int interleaved)
{
	const size_t apart = interleaved ? 1 : half, step = interleaved ? 2 : 1;

	for (float *end = x + heads * head; x < end; x += head) {
		for (size_t i = 0; i < half; i++) {
			float a = x[i * step], b = x[i * step + apart];

			x[i * step] = a * cosine[i] - b * sine[i];
			x[i * step + apart] = b * cosine[i] + a * sine[i];
		}
	}
}

struct ops_rope {
	struct nn_tensor x;
	const int32_t *position;
	size_t heads;
	const struct nn_rope *rope;
};

static void ops_rope_rows(void *arg, size_t begin, size_t end)
{
	const struct ops_rope *o = arg;
	const unsigned char *axis = o->rope->axis;
	size_t half = o->rope->dim / 2;
	float cosine[OPS_ROPE_MAX / 2], sine[OPS_ROPE_MAX / 2];

	for (size_t r = begin; r < end; r++) {
		for (size_t i = 0; i < half; i++) {
			float angle = (float)(axis ? o->position[r * NN_ROPE_AXES + axis[i]] : o->position[r]) *
				      o->rope->inv_freq[i];

			cosine[i] = cosf(angle) * o->rope->attention_scale;
			sine[i] = sinf(angle) * o->rope->attention_scale;
		}
		ops_rotate(o->x.data + r * o->x.stride, o->x.cols / o->heads, o->heads, cosine, sine, half, o->rope->interleaved);
	}
}

void nn_rope(struct nn *c, struct nn_tensor x, const int32_t *position, uint32_t heads, const struct nn_rope *rope)
{
	struct ops_rope o = { x, position, heads, rope };

	if (nn_stopped(c))
		return;
	if (!heads || x.cols % heads || rope->dim > x.cols / heads || rope->dim % 2 || rope->dim > OPS_ROPE_MAX)
		c->error = -EINVAL;
	else
		nn_split(c, x.rows, ops_grain(x.cols * 8), ops_rope_rows, &o);
}

struct ops_rotary {
	struct nn_tensor x;
	size_t heads;
	const struct nn_rotary *rotary;
};

static void ops_rotary_rows(void *arg, size_t begin, size_t end)
{
	const struct ops_rotary *o = arg;
	const struct nn_rotary *r = o->rotary;
	const size_t half = r->dim / 2;

	for (size_t i = begin; i < end; i++)
		ops_rotate(o->x.data + i * o->x.stride, o->x.cols / o->heads, o->heads, r->cosine + i * half, r->sine + i * half,
			   half, r->interleaved);
}

void nn_rotate(struct nn *c, struct nn_tensor x, uint32_t heads, const struct nn_rotary *rotary)
{
	struct ops_rotary o = { x, heads, rotary };

	if (nn_stopped(c))
		return;
	if (!heads || x.cols % heads || rotary->dim > x.cols / heads || rotary->dim % 2)
		c->error = -EINVAL;
	else
		nn_split(c, x.rows, ops_grain(x.cols), ops_rotary_rows, &o);
}

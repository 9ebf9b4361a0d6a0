/* linear.c - matrix products with a model's weights.
 *
 * nn_linear: own kernels over weights packed into panels of KERNEL_PANEL output columns. Each output is the sum over k in
 * order, one multiply-add after the other, whatever rows share the batch and whichever thread computes it.
 * nn_gemm: OpenBLAS over tiles whose borders depend on the shapes only.
 */
#include "sdk/nn/ops.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <cblas.h>

#include "sdk/nn/checkpoint-impl.h"
#include "sdk/nn/kernels.h"
#include "sdk/nn/quant.h"

enum {
	LINEAR_GROUP = 16,          /* blocks of rows that a task takes through a panel */
	LINEAR_K = 512,             /* steps of k that stay in the cache while a group's blocks pass */
	LINEAR_SPREAD = 64,         /* columns that are turned at a time */
	LINEAR_INLINE = 32 << 10,   /* multiply-adds that are not worth waking a thread for */
	GEMM_ROWS = 256,
	GEMM_COLS = 256,
	GEMM_CONVERT = 4 << 20,     /* numbers of a 16-bit weight that are widened at a time */
};

/* BLAS works on the caller's thread only: the pool is what spreads work. */
__attribute__((constructor)) static void linear_blas_start(void)
{
	openblas_set_num_threads(1);
}

/* The type of a weight's panels. */
static enum nn_type linear_type(const struct nn_weight *w)
{
	return w->type == NN_BLOCKS ? NN_F32 : w->type;
}

static size_t linear_element(enum nn_type type)
{
	return type == NN_F32 ? 4 : 2;
}

static size_t linear_panels(size_t cols)
{
	return (cols + KERNEL_PANEL - 1) / KERNEL_PANEL;
}

/* Bytes of a packed weight; 0 if that is no number. */
static size_t linear_packed_bytes(const struct nn_weight *w)
{
	size_t n;

	if (__builtin_mul_overflow(linear_panels(w->rows), KERNEL_PANEL * linear_element(linear_type(w)), &n) ||
	    __builtin_mul_overflow(n, w->cols, &n))
		return 0;
	return n;
}

/* to [n][KERNEL_PANEL] from `rows` rows of n numbers, `apart` bytes from each other. */
#define LINEAR_TURN(name, type)                                                                                \
	static void name(unsigned char *to, const unsigned char *from, size_t apart, size_t rows, size_t n)    \
	{                                                                                                      \
		for (size_t r = 0; r < rows; r++, from += apart, to += sizeof(type))                           \
			for (size_t i = 0; i < n; i++)                                                         \
				memcpy(to + i * KERNEL_PANEL * sizeof(type), from + i * sizeof(type), sizeof(type)); \
	}
LINEAR_TURN(linear_turn_32, uint32_t)
LINEAR_TURN(linear_turn_16, uint16_t)

/* A weight on its way into panels: panel p is [k][KERNEL_PANEL] from w's rows p * KERNEL_PANEL ..., zeros where there is no
 * row. */
struct linear_packing {
	unsigned char *packed;
	const struct nn_weight *w;
};

/* A panel of block formats, as f32. */
static void linear_pack_blocks(const struct nn_weight *w, size_t first, size_t rows, unsigned char *panel)
{
	const struct nn_block_format *format = w->format;
	const unsigned char *from = (const unsigned char *)w->data + first * nn_weight_row_bytes(w);
	size_t n = format->elements, blocks = w->cols / n, apart = nn_weight_row_bytes(w);
	float values[KERNEL_PANEL][256];

	for (size_t i = 0; i < blocks; i++) {
		for (size_t r = 0; r < rows; r++)
			format->expand(from + r * apart + i * format->bytes, values[r]);
		linear_turn_32(panel + i * n * KERNEL_PANEL * sizeof(float), (const unsigned char *)values, sizeof(values[0]),
			       rows, n);
	}
}

static void linear_pack_panels(void *arg, size_t begin, size_t end)
{
	const struct linear_packing *job = arg;
	const struct nn_weight *w = job->w;
	size_t size = linear_element(linear_type(w)), k = w->cols;

	for (size_t p = begin; p < end; p++) {
		size_t first = p * KERNEL_PANEL, rows = w->rows - first < KERNEL_PANEL ? w->rows - first : KERNEL_PANEL;
		unsigned char *panel = job->packed + first * k * size;
		const unsigned char *from = (const unsigned char *)w->data + first * k * size;

		if (rows < KERNEL_PANEL)
			memset(panel, 0, k * KERNEL_PANEL * size);
		if (w->type == NN_BLOCKS)
			linear_pack_blocks(w, first, rows, panel);
		/* A cache line of each row at a time. */
		for (size_t i = w->type == NN_BLOCKS ? k : 0, step = 64 / size; i < k; i += step)
			(size == 4 ? linear_turn_32 : linear_turn_16)(panel + i * KERNEL_PANEL * size, from + i * size, k * size,
								      rows, k - i < step ? k - i : step);
	}
}

int nn_weight_pack(struct nn_checkpoint *cp, struct nn_weight *w, struct nn_error *error)
{
	if (!w || w->packed)
		return 0;
	if (cp->whole)
		return nn_weight_pack_as(cp, w, cp->compute, error);
	if (!nn_weight_usable(w))
		return nn_fail(error, -EINVAL, "%s: tensor \"%s\" is not of a float type.", nn_checkpoint_path(cp), w->name);
	size_t bytes = linear_packed_bytes(w);
	void *packed = bytes || !w->rows || !w->cols ? nn_checkpoint_alloc(cp, bytes) : NULL;

	if (!packed)
		return nn_fail(error, -ENOMEM, "%s: memory is out.", nn_checkpoint_path(cp));
	linear_pack_panels(&(struct linear_packing){ packed, w }, 0, linear_panels(w->rows));
	w->packed = packed;
	w->packed_bytes = bytes;
	checkpoint_forget(cp, w);
	return 0;
}

struct linear {
	const struct nn_kernels *kernels;
	struct nn_tensor x, y;
	const float *xp;        /* x by blocks: [block][k][rows of the block] */
	size_t blocks;          /* all about equally high */
	const unsigned char *packed;
	enum nn_type type;
	const float *b;
	size_t panels, step, steps; /* panels; of a task; tasks a group */
};

/* The first row of a block; of the one behind the last, the number of rows. */
static size_t linear_block_row(const struct linear *l, size_t block)
{
	return block * (l->x.rows / l->blocks) + block * (l->x.rows % l->blocks) / l->blocks;
}

static void linear_spread(void *arg, size_t begin, size_t end)
{
	const struct linear *l = arg;
	const size_t cols = l->x.cols;

	for (size_t i = begin; i < end; i++) {
		const size_t row = linear_block_row(l, i), rows = linear_block_row(l, i + 1) - row;
		float *to = (float *)l->xp + row * cols;

		/* Some columns at a time: what they become stays in the nearest cache meanwhile. */
		for (size_t at = 0; at < cols; at += LINEAR_SPREAD)
			for (size_t r = 0; r < rows; r++) {
				const float *from = l->x.data + (row + r) * l->x.stride;

				for (size_t k = at; k < cols && k < at + LINEAR_SPREAD; k++)
					to[k * rows + r] = from[k];
			}
	}
}

/* acc (rows of the group, KERNEL_PANEL) = x panel^T. */
static void linear_group(const struct linear *l, size_t first, size_t last, size_t panel, float *acc)
{
	size_t k = l->x.cols, block = last - first > 1 ? LINEAR_K : k;
	const unsigned char *w = l->packed + panel * k * KERNEL_PANEL * linear_element(l->type);
	size_t cols = l->y.cols - panel * KERNEL_PANEL;

	for (size_t at = 0; at < k; at += block) {
		for (size_t i = first; i < last; i++) {
			const size_t row = linear_block_row(l, i), rows = linear_block_row(l, i + 1) - row;
			struct kernel_tile t = {
				.acc = acc + (row - linear_block_row(l, first)) * KERNEL_PANEL,
				.x = l->xp + row * k + at * rows,
				.xk = rows,
				.panel = w + at * KERNEL_PANEL * linear_element(l->type),
				.k = k - at < block ? k - at : block,
				.rows = (uint32_t)rows,
				.cols = (uint32_t)(cols < KERNEL_PANEL ? cols : KERNEL_PANEL),
				.type = l->type,
				.first = at == 0,
			};
			l->kernels->tile(&t);
		}
	}
}

static void linear_write(const struct linear *l, size_t row, size_t rows, size_t panel, const float *acc)
{
	size_t col = panel * KERNEL_PANEL, cols = l->y.cols - col < KERNEL_PANEL ? l->y.cols - col : KERNEL_PANEL;

	for (size_t r = 0; r < rows; r++, acc += KERNEL_PANEL) {
		float *y = l->y.data + (row + r) * l->y.stride + col;

		if (l->b)
			for (size_t j = 0; j < cols; j++)
				y[j] = acc[j] + l->b[col + j];
		else
			memcpy(y, acc, cols * sizeof(*y));
	}
}

/* Some panels for one group of rows. */
static void linear_task(void *arg, uint32_t index)
{
	const struct linear *l = arg;
	_Alignas(64) float acc[LINEAR_GROUP * KERNEL_ROWS * KERNEL_PANEL];
	size_t first = index / l->steps * LINEAR_GROUP, last = first + LINEAR_GROUP;
	size_t begin = index % l->steps * l->step, end = begin + l->step < l->panels ? begin + l->step : l->panels;

	if (last > l->blocks)
		last = l->blocks;
	size_t row = linear_block_row(l, first), rows = linear_block_row(l, last) - row;

	for (size_t p = begin; p < end; p++) {
		linear_group(l, first, last, p, acc);
		linear_write(l, row, rows, p, acc);
	}
}

/* Blocks of x, about equally high, at most KERNEL_ROWS; a single row is its own block. */
static int linear_prepare(struct nn *c, struct linear *l)
{
	l->blocks = (l->x.rows + KERNEL_ROWS - 1) / KERNEL_ROWS;
	l->xp = l->x.data;
	if (l->x.rows == 1)
		return 0;
	struct nn_tensor xp = nn_new(c, l->x.rows, l->x.cols);

	if (c->error)
		return c->error;
	l->xp = xp.data;
	nn_split(c, l->blocks, LINEAR_INLINE / (KERNEL_ROWS * l->x.cols + 1) + 1, linear_spread, l);
	return c->error;
}

static void linear_run(struct nn *c, struct linear *l)
{
	size_t groups = (l->blocks + LINEAR_GROUP - 1) / LINEAR_GROUP, threads = c->threads ? c->threads : 1;
	size_t work = l->x.rows * l->x.cols * KERNEL_PANEL, step = l->panels / (threads * 4) + 1;
	size_t least = LINEAR_INLINE / (work + 1) + 1;

	l->step = step > least ? step : least;
	/* At most some 64 M multiply-adds a task, so that a stop is noticed in time. */
	while (l->step > 1 && work / groups * l->step > (64u << 20))
		l->step /= 2;
	l->steps = (l->panels + l->step - 1) / l->step;
	nn_parallel(c, linear_task, l, (uint32_t)(groups * l->steps));
}

/* True if x w^T can be computed; else the computation fails. */
static int linear_fits(struct nn *c, struct nn_tensor x, const struct nn_weight *w)
{
	if (nn_stopped(c))
		return 0;
	if (!w || w->cols != x.cols || !nn_weight_usable(w) || w->cols > INT32_MAX || w->rows > INT32_MAX || x.stride > INT32_MAX)
		c->error = -EINVAL;
	return !c->error;
}

void nn_linear_all(struct nn *c, struct nn_tensor x, uint32_t n, const struct nn_weight *const *w, const float *const *b,
		   struct nn_tensor *y)
{
	uint32_t codes = 0;

	for (uint32_t i = 0; i < n; i++) {
		y[i] = (struct nn_tensor){ 0 };
		codes += linear_fits(c, x, w[i]) && w[i]->codes;
	}
	for (uint32_t i = 0; i < n && !c->error; i++)
		y[i] = codes == n ? nn_new(c, x.rows, w[i]->rows) : nn_linear(c, x, w[i], b ? b[i] : NULL);
	if (codes == n && !c->error)
		quant_linear(c, x, n, w, b, y);
	for (uint32_t i = 0; i < n && c->error; i++)
		y[i] = (struct nn_tensor){ 0 };
}

struct nn_tensor nn_linear(struct nn *c, struct nn_tensor x, const struct nn_weight *w, const float *b)
{
	if (!linear_fits(c, x, w))
		return (struct nn_tensor){ 0 };
	if (w->codes) {
		struct nn_tensor y;

		nn_linear_all(c, x, 1, &w, &b, &y);
		return y;
	}
	struct linear l = {
		.kernels = kernels_of(c), .x = x, .packed = w->packed, .type = linear_type(w), .b = b,
		.panels = linear_panels(w->rows), .y = nn_new(c, x.rows, w->rows),
	};
	struct nn_arena_mark mark = nn_arena_mark(c->arena);

	if (!x.rows || !w->rows || c->error)
		return l.y;
	if (!l.packed) {
		struct linear_packing job = { nn_memory(c, 1, linear_packed_bytes(w)), w };

		nn_split(c, l.panels, LINEAR_INLINE / (w->cols * KERNEL_PANEL + 1) + 1, linear_pack_panels, &job);
		l.packed = job.packed;
	}
	if (!c->error && !linear_prepare(c, &l))
		linear_run(c, &l);
	nn_arena_release(c->arena, mark);
	return c->error ? (struct nn_tensor){ 0 } : l.y;
}

/* ---- OpenBLAS ---- */

struct gemm {
	const struct nn_kernels *kernels;
	struct nn_tensor x, y;
	const struct nn_weight *w;
	const float *wf;    /* rows `first` ... of w as f32 */
	float *wide;        /* the same, where it has to be converted */
	const float *b;
	size_t first, cols; /* columns of y that are computed now */
	size_t tiles;       /* of rows */
};

static void gemm_widen(void *arg, size_t begin, size_t end)
{
	const struct gemm *g = arg;
	size_t k = g->w->cols;
	const unsigned char *from = (const unsigned char *)g->w->data + (g->first + begin) * nn_weight_row_bytes(g->w);

	if (g->w->type == NN_BLOCKS)
		nn_weight_read(g->w, g->first + begin, end - begin, g->wide + begin * k);
	else
		g->kernels->convert(g->wide + begin * k, from, (end - begin) * k, g->w->type);
}

static void gemm_task(void *arg, uint32_t index)
{
	const struct gemm *g = arg;
	size_t row = index % g->tiles * GEMM_ROWS, col = index / g->tiles * GEMM_COLS, k = g->x.cols;
	size_t rows = g->x.rows - row < GEMM_ROWS ? g->x.rows - row : GEMM_ROWS;
	size_t cols = g->cols - col < GEMM_COLS ? g->cols - col : GEMM_COLS;
	float *y = g->y.data + row * g->y.stride + g->first + col;

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)cols, (blasint)k, 1.0f,
		    g->x.data + row * g->x.stride, (blasint)g->x.stride, g->wf + col * k, (blasint)k, 0.0f, y,
		    (blasint)g->y.stride);
	for (size_t r = 0; g->b && r < rows; r++)
		for (size_t j = 0; j < cols; j++)
			y[r * g->y.stride + j] += g->b[g->first + col + j];
}

/* Columns that are computed at a time: all, or as many as their widened weights may take. */
static size_t gemm_step(const struct gemm *g, int direct)
{
	size_t cols = GEMM_CONVERT / (g->w->cols + 1) / GEMM_COLS * GEMM_COLS;

	if (direct)
		return g->w->rows;
	return cols < GEMM_COLS ? GEMM_COLS : cols;
}

static void gemm_run(struct nn *c, struct gemm *g)
{
	const struct nn_weight *w = g->w;
	int direct = w->f32 || (w->type == NN_F32 && (uintptr_t)w->data % sizeof(float) == 0);
	size_t step = gemm_step(g, direct);

	g->tiles = (g->x.rows + GEMM_ROWS - 1) / GEMM_ROWS;
	if (!direct)
		g->wide = nn_memory(c, step < w->rows ? step : w->rows, w->cols * sizeof(float));
	for (g->first = 0; g->first < w->rows && !nn_stopped(c); g->first += step) {
		g->cols = w->rows - g->first < step ? w->rows - g->first : step;
		g->wf = direct ? (w->f32 ? w->f32 : (const float *)w->data) + g->first * w->cols : g->wide;
		if (!direct)
			nn_split(c, g->cols, LINEAR_INLINE / (w->cols + 1) + 1, gemm_widen, g);
		nn_parallel(c, gemm_task, g, (uint32_t)(g->tiles * ((g->cols + GEMM_COLS - 1) / GEMM_COLS)));
	}
}

/* OpenBLAS takes a processor that is newer than itself for an old one: then, and for packed weights, our own kernels are
 * several times faster. */
static int gemm_own(const struct gemm *g)
{
	static const char *const wide[] = { "Haswell", "Zen", "Excavator", "SkylakeX", "Cooperlake", "SapphireRapids" };

	if (g->kernels == &kernels_portable)
		return 0;
	for (size_t i = 0; !g->w->packed && i < sizeof(wide) / sizeof(*wide); i++)
		if (!strcasecmp(openblas_get_corename(), wide[i]))
			return 0;
	return 1;
}

struct nn_tensor nn_gemm(struct nn *c, struct nn_tensor x, const struct nn_weight *w, const float *b)
{
	if (!linear_fits(c, x, w))
		return (struct nn_tensor){ 0 };
	struct gemm g = { .kernels = kernels_of(c), .x = x, .w = w, .b = b };

	if (w->halves) {
		const struct nn_operand operand = nn_operand(c, x, NULL, w);

		return nn_product(c, &operand, &(struct nn_product){ .w = w, .b = b });
	}
	if (gemm_own(&g))
		return nn_linear(c, x, w, b);
	g.y = nn_new(c, x.rows, w->rows);
	struct nn_arena_mark mark = nn_arena_mark(c->arena);

	if (x.rows && w->rows && !c->error)
		gemm_run(c, &g);
	nn_arena_release(c->arena, mark);
	return c->error ? (struct nn_tensor){ 0 } : g.y;
}

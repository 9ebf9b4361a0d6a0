/* image.c - Pillow's Image.resize for 8-bit RGB: antialiased, in fixed point, two passes, rounded to u8 between them.
 *
 * As in Pillow 13 the horizontal pass is the first, unless the height shrinks by more than twice what the width does. */
#include "sdk/nn/image-parts.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	IMAGE_BITS = 32 - 8 - 2, /* of a coefficient's fraction: 8 bits of pixel and 2 of overshoot fit beside them */
	IMAGE_ROWS = 16,         /* that the horizontal pass takes at once */
	IMAGE_LANES = IMAGE_ROWS * 3,
	IMAGE_SIDE_MOST = 1 << 30,
};

static double image_box(double x)
{
	return x > -0.5 && x <= 0.5;
}

static double image_bilinear(double x)
{
	x = fabs(x);
	return x < 1.0 ? 1.0 - x : 0.0;
}

static double image_hamming(double x)
{
	x = fabs(x);
	if (x == 0.0)
		return 1.0;
	if (x >= 1.0)
		return 0.0;
	x *= M_PI;
	return sin(x) / x * (0.54 + 0.46 * cos(x));
}

/* Keys 1981, a = -0.5. */
static double image_bicubic(double x)
{
	const double a = -0.5;

	x = fabs(x);
	if (x < 1.0)
		return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
	if (x < 2.0)
		return (((x - 5) * x + 8) * x - 4) * a;
	return 0.0;
}

static double image_sinc(double x)
{
	x *= M_PI;
	return x == 0.0 ? 1.0 : sin(x) / x;
}

static double image_lanczos(double x)
{
	return x >= -3.0 && x < 3.0 ? image_sinc(x) * image_sinc(x / 3) : 0.0;
}

static const struct image_filter {
	double (*weight)(double x);
	double support;
} image_filters[] = {
	[NN_LANCZOS] = {image_lanczos, 3.0}, [NN_BILINEAR] = {image_bilinear, 1.0}, [NN_BICUBIC] = {image_bicubic, 2.0},
	[NN_BOX] = {image_box, 0.5},         [NN_HAMMING] = {image_hamming, 1.0},
};

/* What one axis of a resize takes from where: for output i in [0, n), `taps[i].n` inputs from `taps[i].first`, weighed by
 * weights[i * most ...]. */
struct image_axis {
	struct image_tap {
		uint32_t first, n;
	} *taps;
	int32_t *weights;
	uint32_t n, most;
	uint32_t begin, end; /* inputs that any output takes */
};

static int32_t image_fixed(double weight)
{
	weight *= 1 << IMAGE_BITS;
	return (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
}

static void image_axis_tap(struct image_axis *axis, const struct image_filter *filter, uint32_t i, uint32_t at, double scale,
			   uint32_t in, double *weights)
{
	double stretch = scale < 1.0 ? 1.0 : scale, support = filter->support * stretch, sum = 0.0;
	double centre = (at + 0.5) * scale, from = centre - support + 0.5, to = centre + support + 0.5;
	uint32_t first = from < 0 ? 0 : (uint32_t)from, end = to > in ? in : (uint32_t)to, n = end - first;

	for (uint32_t k = 0; k < n; k++) {
		weights[k] = filter->weight((k + (double)first - centre + 0.5) * (1.0 / stretch));
		sum += weights[k];
	}
	for (uint32_t k = 0; k < n; k++)
		axis->weights[(size_t)i * axis->most + k] = image_fixed(sum != 0.0 ? weights[k] / sum : weights[k]);
	axis->taps[i] = (struct image_tap){first, n};
	if (first < axis->begin)
		axis->begin = first;
	if (end > axis->end)
		axis->end = end;
}

/* Outputs [first, first + n) of `full`, from `in` inputs. */
static int image_axis_init(struct nn *c, struct image_axis *axis, const struct image_filter *filter, uint32_t in,
			   uint32_t full, uint32_t first, uint32_t n)
{
	double scale = (double)in / full, support = filter->support * (scale < 1.0 ? 1.0 : scale);
	size_t weights;

	*axis = (struct image_axis){.n = n, .most = (uint32_t)ceil(support) * 2 + 1, .begin = in};
	axis->taps = nn_memory(c, n, sizeof(*axis->taps));
	if (__builtin_mul_overflow((size_t)n, axis->most, &weights))
		c->error = -ENOMEM;
	axis->weights = c->error ? NULL : nn_memory(c, weights, sizeof(*axis->weights));
	double *scratch = nn_memory(c, axis->most, sizeof(*scratch));

	if (!axis->taps || !axis->weights || !scratch)
		return c->error ? c->error : -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		image_axis_tap(axis, filter, i, first + i, scale, in, scratch);
	return 0;
}

/* out [lanes] = sum over taps k of weights[k] * in[k * stride + lane], rounded and held within u8. */
static inline __attribute__((always_inline)) void image_sum_body(uint8_t *out, const uint8_t *in, size_t stride,
								 const int32_t *weights, uint32_t taps, size_t lanes)
{
	enum { WIDE = 32 };
	int32_t sum[WIDE];

	for (size_t at = 0; at < lanes; at += WIDE) {
		size_t n = lanes - at < WIDE ? lanes - at : WIDE;

		for (size_t i = 0; i < WIDE; i++)
			sum[i] = 1 << (IMAGE_BITS - 1);
		for (uint32_t k = 0; k < taps; k++) {
			const uint8_t *row = in + k * stride + at;

			if (n == WIDE)
				for (size_t i = 0; i < WIDE; i++)
					sum[i] += weights[k] * row[i];
			else
				for (size_t i = 0; i < n; i++)
					sum[i] += weights[k] * row[i];
		}
		for (size_t i = 0; i < n; i++) {
			int32_t value = sum[i] >> IMAGE_BITS;

			out[at + i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
		}
	}
}

typedef void image_sum(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, uint32_t taps, size_t lanes);

static void image_sum_portable(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, uint32_t taps,
			       size_t lanes)
{
	image_sum_body(out, in, stride, weights, taps, lanes);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void image_sum_avx2(uint8_t *out, const uint8_t *in, size_t stride,
							   const int32_t *weights, uint32_t taps, size_t lanes)
{
	image_sum_body(out, in, stride, weights, taps, lanes);
}
#endif

static image_sum *image_sum_best(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return image_sum_avx2;
#endif
	return image_sum_portable;
}

/* One pass over a picture: `in` is the first input that any output takes. Strides are in bytes. */
struct image_pass {
	const struct image_axis *axis;
	const uint8_t *in;
	uint8_t *out;
	size_t in_stride, out_stride, rows;
	image_sum *sum;
	int failed;
};

/* Blocks [begin, end) of rows: each is turned so that its rows are lanes, then the columns are summed like rows. */
static void image_pass_horizontal(void *arg, size_t begin, size_t end)
{
	struct image_pass *p = arg;
	const struct image_axis *axis = p->axis;
	uint32_t width = axis->end - axis->begin;
	uint8_t *turned = malloc((size_t)width * IMAGE_LANES), *made = malloc((size_t)axis->n * IMAGE_LANES);

	if (!turned || !made)
		__atomic_store_n(&p->failed, 1, __ATOMIC_RELAXED);
	for (size_t block = begin; turned && made && block < end; block++) {
		size_t y = block * IMAGE_ROWS, rows = p->rows - y < IMAGE_ROWS ? p->rows - y : IMAGE_ROWS;
		size_t lanes = rows * 3;

		for (size_t r = 0; r < rows; r++)
			for (size_t x = 0; x < width; x++)
				memcpy(turned + x * lanes + r * 3, p->in + (y + r) * p->in_stride + x * 3, 3);
		for (size_t x = 0; x < axis->n; x++)
			p->sum(made + x * lanes, turned + (axis->taps[x].first - axis->begin) * lanes, lanes,
			       axis->weights + x * axis->most, axis->taps[x].n, lanes);
		for (size_t r = 0; r < rows; r++)
			for (size_t x = 0; x < axis->n; x++)
				memcpy(p->out + (y + r) * p->out_stride + x * 3, made + x * lanes + r * 3, 3);
	}
	free(turned);
	free(made);
}

static void image_pass_vertical(void *arg, size_t begin, size_t end)
{
	struct image_pass *p = arg;
	const struct image_axis *axis = p->axis;

	for (size_t y = begin; y < end; y++)
		p->sum(p->out + y * p->out_stride, p->in + (axis->taps[y].first - axis->begin) * p->in_stride, p->in_stride,
		       axis->weights + y * axis->most, axis->taps[y].n, p->out_stride);
}

static void image_run_horizontal(struct nn *c, struct image_pass pass)
{
	nn_split(c, (pass.rows + IMAGE_ROWS - 1) / IMAGE_ROWS, 4, image_pass_horizontal, &pass);
	if (pass.failed && !c->error)
		c->error = -ENOMEM;
}

static void image_run_vertical(struct nn *c, struct image_pass pass)
{
	nn_split(c, pass.axis->n, 16, image_pass_vertical, &pass);
}

static int image_resample(struct nn *c, struct image_view src, uint8_t *dst, struct image_window w, enum nn_filter filter)
{
	struct image_axis across, down;

	if (image_axis_init(c, &across, &image_filters[filter], src.width, w.full_width, w.x, w.width) ||
	    image_axis_init(c, &down, &image_filters[filter], src.height, w.full_height, w.y, w.height))
		return c->error;
	int64_t shorter = (int64_t)src.height - w.full_height, narrower = (int64_t)src.width - w.full_width;
	int vertical_first = shorter > 0 && shorter > 2 * narrower;
	size_t columns = across.end - across.begin, rows = down.end - down.begin;
	size_t in_stride = (size_t)src.width * 3, out_stride = (size_t)w.width * 3;
	size_t stride = vertical_first ? columns * 3 : out_stride;
	uint8_t *between = nn_memory(c, vertical_first ? w.height : rows, stride);
	const uint8_t *in = src.data + down.begin * in_stride + (size_t)across.begin * 3;
	image_sum *sum = image_sum_best();

	if (!between)
		return c->error;
	if (vertical_first)
		image_run_vertical(c, (struct image_pass){&down, in, between, in_stride, stride, w.height, sum, 0});
	else
		image_run_horizontal(c, (struct image_pass){&across, in, between, in_stride, stride, rows, sum, 0});
	if (nn_stopped(c))
		return c->error;
	if (vertical_first)
		image_run_horizontal(c, (struct image_pass){&across, between, dst, stride, out_stride, w.height, sum, 0});
	else
		image_run_vertical(c, (struct image_pass){&down, between, dst, stride, out_stride, w.height, sum, 0});
	return c->error;
}

/* As Pillow's affine transform does it, which adds up the steps. */
static uint32_t *image_nearest_axis(struct nn *c, uint32_t in, uint32_t full, uint32_t first, uint32_t n)
{
	double step = (double)in / full, at = step * 0.5;
	uint32_t *from = nn_memory(c, n, sizeof(*from));

	for (uint32_t i = 0; from && i < first + n; i++, at += step)
		if (i >= first)
			from[i - first] = at < in ? (uint32_t)at : in - 1;
	return from;
}

static int image_nearest(struct nn *c, struct image_view src, uint8_t *dst, struct image_window w)
{
	uint32_t *across = image_nearest_axis(c, src.width, w.full_width, w.x, w.width);
	uint32_t *down = image_nearest_axis(c, src.height, w.full_height, w.y, w.height);

	if (!across || !down)
		return c->error;
	for (size_t y = 0; y < w.height; y++) {
		const uint8_t *row = src.data + (size_t)down[y] * src.width * 3;

		for (size_t x = 0; x < w.width; x++, dst += 3)
			memcpy(dst, row + (size_t)across[x] * 3, 3);
	}
	return 0;
}

int image_resize_window(struct nn *c, struct image_view src, uint8_t *dst, struct image_window w, enum nn_filter filter)
{
	if (nn_stopped(c))
		return c->error;
	if (!src.width || !src.height || !w.width || !w.height || src.width > IMAGE_SIDE_MOST ||
	    src.height > IMAGE_SIDE_MOST || w.full_width > IMAGE_SIDE_MOST || w.full_height > IMAGE_SIDE_MOST ||
	    w.x > w.full_width - w.width || w.y > w.full_height - w.height || filter > NN_HAMMING)
		return c->error = -EINVAL;
	if (w.full_width == src.width && w.full_height == src.height) {
		for (size_t y = 0; y < w.height; y++)
			memcpy(dst + y * w.width * 3, src.data + ((w.y + y) * src.width + w.x) * 3, (size_t)w.width * 3);
		return 0;
	}
	return filter == NN_NEAREST ? image_nearest(c, src, dst, w) : image_resample(c, src, dst, w, filter);
}

int nn_image_resize(struct nn *c, const uint8_t *src, uint32_t sw, uint32_t sh, uint8_t *dst, uint32_t dw, uint32_t dh,
		    enum nn_filter filter)
{
	return image_resize_window(c, (struct image_view){src, sw, sh}, dst, (struct image_window){dw, dh, 0, 0, dw, dh},
				   filter);
}

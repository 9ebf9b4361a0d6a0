/* check-work.c - encoders at work; repetition, refusals, cancellation and leaks of any kind. */
#include "sdk/tool/check.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECK_PICTURE = 224, CHECK_CANCEL_MS = 100, CHECK_MERGED = 16 };

/* The work of the kinds that have checks of it. */
static const struct {
	check_job *work, *nonsense, *repeat;
} check_jobs[] = {
	[PERCEPT_ENCODER] = { check_encoder_work, check_encoder_nonsense, check_encoder_repeat },
	[PERCEPT_CONNECTOR] = { check_connector_work, check_connector_nonsense, check_connector_repeat },
	[PERCEPT_FUSION] = { check_fusion_work, check_fusion_nonsense, check_fusion_repeat },
	[PERCEPT_DECODER] = { check_decoder_work, check_decoder_nonsense, check_decoder_repeat },
	[PERCEPT_GENERATOR] = { NULL, NULL, NULL },
};

int check_broken(struct check *c, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(c->why, sizeof(c->why), format, list);
	va_end(list);
	return -EPROTO;
}

int check_finite(struct check *c, const char *what, const float *data, size_t n)
{
	if (!data)
		return check_broken(c, "%s are NULL.", what);
	for (size_t i = 0; i < n; i++) {
		if (!isfinite(data[i]))
			return check_broken(c, "%s: value %zu of %zu is not finite.", what, i, n);
	}
	return 0;
}

int check_refused(struct check *c, const char *what, int r)
{
	if (r >= 0)
		return check_broken(c, "%s was taken (%d); it is refused with a negative errno.", what, r);
	if (!c->host.text[0])
		return check_broken(c, "%s was refused with %d, but without a sentence by percept_fail().", what, r);
	return 0;
}

/* A picture of gradients, so that no two parts of it are alike. */
static uint8_t *check_picture(struct percept_media *m)
{
	const size_t n = (size_t)CHECK_PICTURE * CHECK_PICTURE * 3;
	uint8_t *data = malloc(n);

	for (size_t i = 0; data && i < n; i++)
		data[i] = (uint8_t)(i / 3 % CHECK_PICTURE + i % 3 * (i / 3 / CHECK_PICTURE));
	*m = (struct percept_media){ .size = sizeof(*m), .modality = PERCEPT_IMAGE, .format = PERCEPT_U8_RGB, .frames = 1,
				     .width = CHECK_PICTURE, .height = CHECK_PICTURE, .channels = 3, .data = data, .bytes = n };
	return data;
}

static int check_layout(struct check *c, const struct percept_encoder_info *info, const struct percept_layout *l)
{
	if (!l->items || !l->tokens || l->dim != info->dim)
		return check_broken(c, "The layout has %u items of %u tokens of %u values; info says %u values.", l->items,
				    l->tokens, l->dim, info->dim);
	if ((uint64_t)l->items * l->tokens > info->max_tokens)
		return check_broken(c, "One picture became %llu rows; info says at most %u.",
				    (unsigned long long)l->items * l->tokens, info->max_tokens);
	if (l->rows && (uint64_t)l->rows * l->cols + l->has_class != l->tokens)
		return check_broken(c, "%u x %u patches and %u class tokens are not %u tokens.", l->rows, l->cols, l->has_class,
				    l->tokens);
	return 0;
}

/* encode() of the picture; what it returned stays in the host's call. */
static int check_encode(struct check *c, void *instance, struct percept_features *f)
{
	const struct percept_encoder *ops = c->plugin->ops;
	struct percept_media m;
	uint8_t *picture = check_picture(&m);

	*f = (struct percept_features){ .size = sizeof(*f), .layout = { .size = sizeof(f->layout) } };
	const int r = picture ? ops->encode(&c->host.call, instance, &m, f) : -ENOMEM;

	free(picture);
	return r;
}

int check_encoder_work(struct check *c, void *instance)
{
	const struct percept_encoder *ops = c->plugin->ops;
	struct percept_encoder_info info = { .size = sizeof(info) };
	struct percept_features f;
	struct percept_layout plan = { .size = sizeof(plan) };
	struct percept_media m;

	ops->info(instance, &info);
	int r = check_encode(c, instance, &f);

	if (r)
		return r;
	r = check_layout(c, &info, &f.layout);
	if (!r)
		r = check_finite(c, "The features", f.data, (size_t)f.layout.items * f.layout.tokens * f.layout.dim);
	if (!r && f.pooled_dim != info.pooled_dim)
		r = check_broken(c, "pooled_dim is %llu, and info says %u.", (unsigned long long)f.pooled_dim, info.pooled_dim);
	if (!r && f.pooled_dim)
		r = check_finite(c, "The pooled values", f.pooled, f.pooled_dim);
	if (r || !ops->plan)
		return r;
	uint8_t *picture = check_picture(&m);

	if (picture && (ops->plan(&c->host.call, instance, &m, &plan) || plan.items != f.layout.items ||
			plan.tokens != f.layout.tokens || plan.dim != f.layout.dim))
		r = check_broken(c, "plan() and encode() do not agree on the layout.");
	free(picture);
	return r;
}

int check_encoder_nonsense(struct check *c, void *instance)
{
	const struct percept_encoder *ops = c->plugin->ops;
	struct percept_features f;
	struct percept_media m;
	uint8_t *picture = check_picture(&m);
	static const char *const what[] = { "A picture of no pixels", "A picture with fewer bytes than pixels",
					    "A format that does not exist", "A picture given one token at most" };
	int r = picture ? 0 : -ENOMEM;

	for (int i = 0; i < 4 && !r; i++) {
		struct percept_media bad = m;

		bad.width = i == 0 ? 0 : m.width;
		bad.bytes = i == 0 ? 0 : i == 1 ? m.bytes / 2 : m.bytes;
		bad.format = i == 2 ? 77 : m.format;
		bad.max_tokens = i == 3 ? 1 : 0;
		f = (struct percept_features){ .size = sizeof(f), .layout = { .size = sizeof(f.layout) } };
		const int got = ops->encode(check_host_begin(&c->host), instance, &bad, &f);

		/* One token is what some encoders can do, as the few rows that their connector makes one of. */
		if (i == 3 && !got && (uint64_t)f.layout.items * f.layout.tokens <= CHECK_MERGED)
			continue;
		r = check_refused(c, what[i], got);
	}
	free(picture);
	return r;
}

int check_encoder_repeat(struct check *c, void *instance)
{
	struct percept_features f;
	int r = check_encode(c, instance, &f);

	if (r)
		return r;
	const size_t bytes = (size_t)f.layout.items * f.layout.tokens * f.layout.dim * sizeof(float);
	float *first = malloc(bytes + 1);

	if (first)
		memcpy(first, f.data, bytes);
	check_host_begin(&c->host);
	r = first ? check_encode(c, instance, &f) : -ENOMEM;
	if (!r && memcmp(first, f.data, bytes))
		r = check_broken(c, "The same picture gave other features the second time.");
	free(first);
	return r;
}

check_job *check_work_of(const struct check *c)
{
	return check_jobs[c->plugin->kind].work;
}

/* A job on a fresh instance, as a verdict. */
static enum check_verdict check_do(struct check *c, size_t which)
{
	void *instance;
	const enum check_verdict v = check_open(c, c->model, &instance);

	if (v != CHECK_OK)
		return v;
	check_job *const jobs[] = { check_jobs[c->plugin->kind].work, check_jobs[c->plugin->kind].nonsense,
				    check_jobs[c->plugin->kind].repeat };

	check_host_begin(&c->host);
	const int r = jobs[which] ? jobs[which](c, instance) : 0;

	check_ops(c)->close(instance);
	if (!jobs[which])
		return check_skip(c, "there is no check of this kind's work yet");
	if (r && r != -EPROTO)
		return check_no(c, "It failed with %d: %s", r, c->host.text[0] ? c->host.text : "and gave no reason");
	return r ? CHECK_NOT_OK : CHECK_OK;
}

enum check_verdict check_work(struct check *c)
{
	return check_do(c, 0);
}

enum check_verdict check_nonsense(struct check *c)
{
	return check_do(c, 1);
}

enum check_verdict check_repeat(struct check *c)
{
	return check_do(c, 2);
}

/* The work is cancelled at its first poll, then at its second, its fourth, ...; each time it has to end soon. */
enum check_verdict check_cancel(struct check *c)
{
	void *instance;
	const enum check_verdict v = check_open(c, c->model, &instance);

	if (v != CHECK_OK)
		return v;
	check_job *work = check_work_of(c);

	for (uint64_t at = 1; work && at < (1 << 20); at *= 2) {
		check_host_begin(&c->host);
		c->host.cancel_at = at;
		c->why[0] = '\0';
		const double begin = check_now_ms();
		const int r = work(c, instance);
		const double end = check_now_ms(), since = c->host.cancelled_ms > 0 ? c->host.cancelled_ms : begin;

		if (c->host.polls < at && end - begin > CHECK_CANCEL_MS && at == 1)
			return check_no(c, "%.0f ms of work went by without a look at percept_cancelled().", end - begin);
		if (end - since > CHECK_CANCEL_MS && c->host.polls >= at)
			return check_no(c, "It went on for %.0f ms after it was cancelled.", end - since);
		if (r && r != -ECANCELED)
			return check_no(c, "A cancelled call returns -ECANCELED; this one returned %d: %s", r,
					c->why[0] ? c->why : c->host.text);
		if (c->host.polls < at)
			break;
	}
	check_ops(c)->close(instance);
	return work ? CHECK_OK : check_skip(c, "there is no check of this kind's work yet");
}

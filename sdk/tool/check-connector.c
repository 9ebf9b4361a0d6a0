/* check-connector.c - connectors at work, those that give tokens and those that work inside a decoder's layers. */
#include "sdk/tool/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 16 rows on a 4 x 4 grid. `data` is the caller's. */
static struct percept_features check_item(uint32_t dim, const float *data)
{
	const struct percept_layout layout = { .size = sizeof(layout), .items = 1, .tokens = 16, .dim = dim, .rows = 4, .cols = 4,
					       .grid_rows = 1, .grid_cols = 1, .width = 64, .height = 64 };

	return (struct percept_features){ .size = sizeof(struct percept_features), .data = data, .layout = layout };
}

static float *check_features(uint32_t dim)
{
	float *data = malloc((size_t)16 * dim * sizeof(*data));

	for (uint32_t i = 0; data && i < 16 * dim; i++)
		data[i] = (float)((int)(i * 7 % 31) - 15) / 16;
	return data;
}

static int check_pieces(struct check *c, const struct percept_embeddings *e)
{
	for (uint32_t i = 0; i < e->n_pieces; i++) {
		const struct percept_piece *p = &e->pieces[i];

		if (p->kind == PERCEPT_PIECE_ROWS && (p->first > e->n || p->count > e->n - p->first))
			return check_broken(c, "Piece %u has rows %u to %u of %u.", i, p->first, p->first + p->count, e->n);
		if (p->kind != PERCEPT_PIECE_ROWS && !p->text)
			return check_broken(c, "Piece %u is text, and its text is NULL.", i);
	}
	return 0;
}

/* ---- token fusion ---- */

/* connect() of an item, as often as it takes feature maps. `data` is the caller's. */
static int check_connect(struct check *c, void *instance, uint32_t dim, const float *data, struct percept_embeddings *e)
{
	enum { MAPS = 64 };
	const struct percept_connector *ops = c->plugin->ops;
	struct percept_connector_info info = { .size = sizeof(info) };
	const float *extra[MAPS];

	ops->info(instance, &info);
	for (uint32_t i = 0; i < MAPS; i++)
		extra[i] = data;
	if (info.n_extra > MAPS)
		return check_broken(c, "info says that it takes %u further feature maps.", info.n_extra);
	struct percept_features f = check_item(dim, data);

	f.n_extra = info.n_extra;
	f.extra = info.n_extra ? extra : NULL;
	*e = (struct percept_embeddings){ .size = sizeof(*e) };
	return ops->connect(&c->host.call, instance, &f, "What is this?", e);
}

static uint32_t check_connector_dims(struct check *c, void *instance, struct percept_connector_info *info)
{
	*info = (struct percept_connector_info){ .size = sizeof(*info) };
	((const struct percept_connector *)c->plugin->ops)->info(instance, info);
	return info->in_dim ? info->in_dim : 64;
}

int check_connector_work(struct check *c, void *instance)
{
	struct percept_connector_info info;
	struct percept_embeddings e;
	const uint32_t dim = check_connector_dims(c, instance, &info);
	float *data = check_features(dim);
	int r = data ? check_connect(c, instance, dim, data, &e) : -ENOMEM;

	free(data);
	if (r)
		return r;
	if (!e.n || e.dim != info.out_dim || (info.max_rows && e.n > info.max_rows))
		return check_broken(c, "connect gave %u rows of %u values; info says %u values and at most %u rows.", e.n, e.dim,
				    info.out_dim, info.max_rows);
	if ((r = check_pieces(c, &e)))
		return r;
	return check_finite(c, "The embeddings", e.data, (size_t)e.n * e.dim);
}

int check_connector_nonsense(struct check *c, void *instance)
{
	struct percept_connector_info info;
	struct percept_embeddings e;
	const uint32_t dim = check_connector_dims(c, instance, &info);
	float *data = check_features(dim + 1);

	if (!info.in_dim) {
		free(data);
		return 0;
	}
	check_host_begin(&c->host);
	const int r = data ? check_refused(c, "A row that is one value too long", check_connect(c, instance, dim + 1, data, &e)) :
			     -ENOMEM;

	free(data);
	return r;
}

int check_connector_repeat(struct check *c, void *instance)
{
	struct percept_connector_info info;
	struct percept_embeddings e;
	const uint32_t dim = check_connector_dims(c, instance, &info);
	float *data = check_features(dim), *first = NULL;
	int r = data ? check_connect(c, instance, dim, data, &e) : -ENOMEM;

	if (!r && (first = malloc((size_t)e.n * e.dim * sizeof(float)))) {
		memcpy(first, e.data, (size_t)e.n * e.dim * sizeof(float));
		check_host_begin(&c->host);
		r = check_connect(c, instance, dim, data, &e);
		if (!r && memcmp(first, e.data, (size_t)e.n * e.dim * sizeof(float)))
			r = check_broken(c, "The same features gave other embeddings the second time.");
	}
	free(first);
	free(data);
	return r;
}

/* ---- feature fusion ---- */

enum { FUSION_ROWS = 8, FUSION_SEEN = 3, FUSION_LAYERS = 64 };

/* Rows of sequence 0, which has an item that rows from FUSION_SEEN on have seen, and two of sequence 1, which has none. */
static void check_fusion_rows(struct percept_row *rows)
{
	for (uint32_t i = 0; i < FUSION_ROWS + 2; i++) {
		const uint32_t seen = i >= FUSION_SEEN && i < FUSION_ROWS, of = i < FUSION_ROWS ? 0 : 1;
		const int32_t at = (int32_t)(of ? i - FUSION_ROWS : i);

		rows[i] = (struct percept_row){ .token = 1, .sequence = of, .position = { at, at, at, at }, .media_seen = seen,
						.media_run = seen };
	}
}

static struct percept_fusion_info check_fusion_about(struct check *c, void *instance)
{
	struct percept_fusion_info info = { .size = sizeof(info) };

	((const struct percept_fusion *)c->plugin->ops)->info(instance, &info);
	return info;
}

/* The hooks before and after each layer, over `n` rows of hidden. */
static int check_hooks(struct check *c, void *instance, const struct percept_row *rows, uint32_t n, float *hidden)
{
	const struct percept_fusion *ops = c->plugin->ops;
	const struct percept_fusion_info info = check_fusion_about(c, instance);
	struct percept_hooks hooks = { .size = sizeof(hooks) };
	int r = ops->hooks(&c->host.call, instance, &hooks);

	if (!r && info.hooks & PERCEPT_CAN_HOOK_PROJECT && !hooks.project)
		return check_broken(c, "info says that it projects, and hooks gave no project.");
	if (!r && info.hooks & PERCEPT_CAN_HOOK_LAYERS && !hooks.before_layer && !hooks.after_layer)
		return check_broken(c, "info says that it works before or after layers, and hooks gave neither.");
	for (uint32_t i = 0; i < (info.n_layers && info.n_layers < FUSION_LAYERS ? info.n_layers : FUSION_LAYERS) && !r; i++) {
		r = hooks.before_layer ? hooks.before_layer(&c->host.call, hooks.state, i, rows, n, hidden) : 0;
		if (!r && hooks.after_layer)
			r = hooks.after_layer(&c->host.call, hooks.state, i, rows, n, hidden);
	}
	return r;
}

/* An item's way through the connector; what its layers made of hidden [FUSION_ROWS + 2][d_model], the rows one by one or together. */
static int check_fuse(struct check *c, void *instance, const float *data, int apart, float *hidden)
{
	const struct percept_fusion *ops = c->plugin->ops;
	const struct percept_fusion_info info = check_fusion_about(c, instance);
	const struct percept_features f = check_item(info.in_dim ? info.in_dim : 64, data);
	struct percept_embeddings e = { .size = sizeof(e) };
	struct percept_row rows[FUSION_ROWS + 2];
	uint64_t bytes = 0;
	void *memory = NULL;
	int r = ops->remember(&c->host.call, instance, &f, &memory, &bytes);

	if (r)
		return r;
	if (!memory)
		return check_broken(c, "remember returned 0 and no memory.");
	check_fusion_rows(rows);
	for (size_t i = 0; i < (size_t)(FUSION_ROWS + 2) * info.d_model; i++)
		hidden[i] = (float)((int)(i * 11 % 37) - 18) / 32;
	if (ops->embed && !(r = ops->embed(&c->host.call, instance, memory, &e)))
		r = check_pieces(c, &e);
	if (!r && (e.n > info.max_rows || (e.n && e.dim != info.d_model)))
		r = check_broken(c, "embed gave %u rows of %u values; info says at most %u of %u.", e.n, e.dim, info.max_rows,
				 info.d_model);
	if (!r && !(r = ops->bind(&c->host.call, instance, 0, 1, memory))) {
		if (!apart)
			r = check_hooks(c, instance, rows, FUSION_ROWS + 2, hidden);
		for (uint32_t i = 0; apart && i < FUSION_ROWS + 2 && !r; i++)
			r = check_hooks(c, instance, &rows[i], 1, hidden + (size_t)i * info.d_model);
		ops->bind(&c->host.call, instance, 0, 1, NULL);
	}
	ops->forget(instance, memory);
	return r;
}

/* check_fuse() with memory of its own for both; *hidden is the caller's to free. */
static int check_fused(struct check *c, void *instance, int apart, float **hidden)
{
	const struct percept_fusion_info info = check_fusion_about(c, instance);
	float *data = check_features(info.in_dim ? info.in_dim : 64);

	*hidden = calloc((size_t)(FUSION_ROWS + 2) * info.d_model + 1, sizeof(float));
	const int r = data && *hidden ? check_fuse(c, instance, data, apart, *hidden) : -ENOMEM;

	free(data);
	return r;
}

int check_fusion_work(struct check *c, void *instance)
{
	const size_t d = check_fusion_about(c, instance).d_model;
	float *hidden;
	int r = check_fused(c, instance, 0, &hidden);

	if (!r)
		r = check_finite(c, "The hidden rows", hidden, (FUSION_ROWS + 2) * d);
	for (size_t i = FUSION_ROWS * d; i < (FUSION_ROWS + 2) * d && !r; i++)
		if (hidden[i] != (float)((int)(i * 11 % 37) - 18) / 32)
			r = check_broken(c, "Rows of a sequence that has no item were changed.");
	free(hidden);
	return r;
}

int check_fusion_nonsense(struct check *c, void *instance)
{
	const struct percept_fusion_info info = check_fusion_about(c, instance);
	float *data = check_features(info.in_dim + 1);
	const struct percept_features f = check_item(info.in_dim + 1, data);
	uint64_t bytes = 0;
	void *memory = NULL;
	int r = data ? 0 : -ENOMEM;

	check_host_begin(&c->host);
	if (info.in_dim && !r)
		r = check_refused(c, "A row that is one value too long",
				  ((const struct percept_fusion *)c->plugin->ops)->remember(&c->host.call, instance, &f, &memory, &bytes));
	free(data);
	return r;
}

/* Twice the same, and the second time row by row. */
int check_fusion_repeat(struct check *c, void *instance)
{
	const size_t bytes = (FUSION_ROWS + 2) * check_fusion_about(c, instance).d_model * sizeof(float);
	float *together, *apart = NULL;
	int r = check_fused(c, instance, 0, &together);

	check_host_begin(&c->host);
	if (!r)
		r = check_fused(c, instance, 1, &apart);
	if (!r && memcmp(together, apart, bytes))
		r = check_broken(c, "A row's hidden state depends on what shares its batch.");
	free(together);
	free(apart);
	return r;
}

/* pool.c - a plugin to start from: token fusion. Each `pool` neighbours of an item's features are averaged, and a matrix takes the
 * mean to the decoder's width: embeddings [ceil(tokens / pool)][width] = mean [.][dim] W^T, with `begin` and `end` around them. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <percept/plugin.h>

struct pool {
	uint32_t pool, width, dim;
	float *matrix; /* [width][dim] */
	char *begin, *end; /* NULL: none */
	char identity[96];
};

static void pool_close(void *connector)
{
	struct pool *p = connector;

	free(p->matrix);
	free(p->begin);
	free(p->end);
	free(p);
}

/* The model is a file of floats, [width][dim]: its length tells dim. A file is never trusted. */
static int pool_read(struct percept_call *call, struct pool *p, const char *path)
{
	const long row = (long)p->width * (long)sizeof(float);
	FILE *file = path ? fopen(path, "rb") : NULL;
	long bytes = -1;
	int error = 0;

	if (!file)
		return percept_fail(call, -ENOENT, "The pool connector needs a file of floats: model=FILE%s%s.",
				    path ? ", but cannot open " : "", path ? path : "");
	if (!fseek(file, 0, SEEK_END))
		bytes = ftell(file);
	p->dim = bytes > 0 && bytes / row <= 65536 ? (uint32_t)(bytes / row) : 0;
	if (!p->dim || bytes % row)
		error = percept_fail(call, -EINVAL, "%s has %ld bytes, which are no rows of %u floats.", path, bytes, p->width);
	else if (!(p->matrix = malloc((size_t)bytes)))
		error = percept_fail(call, -ENOMEM, "Memory is out.");
	else if (fseek(file, 0, SEEK_SET) || fread(p->matrix, 1, (size_t)bytes, file) != (size_t)bytes)
		error = percept_fail(call, -EIO, "%s cannot be read.", path);
	fclose(file);
	return error;
}

/* FNV-1a: equal weights and options, equal identity, and what was cached may be used again. */
static void pool_name(struct pool *p)
{
	const unsigned char *bytes = (const unsigned char *)p->matrix;
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < (size_t)p->width * p->dim * sizeof(float); i++)
		h = (h ^ bytes[i]) * 1099511628211u;
	for (const char *c = p->begin; c && *c; c++)
		h = (h ^ (unsigned char)*c) * 1099511628211u;
	for (const char *c = p->end; c && *c; c++)
		h = (h ^ (unsigned char)*c) * 1099511628211u;
	snprintf(p->identity, sizeof(p->identity), "pool-1-%u-%u-%016llx", p->pool, p->width, (unsigned long long)h);
}

static char *pool_text(const struct percept_open *open, const char *name)
{
	const struct percept_value *v = percept_option(open, name);

	return v && v->string && v->string[0] ? strdup(v->string) : NULL;
}

static int pool_open(struct percept_call *call, const struct percept_open *open, void **connector)
{
	struct pool *p = calloc(1, sizeof(*p));
	int error;

	if (!p)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	p->pool = (uint32_t)percept_option(open, "pool")->integer;
	p->width = (uint32_t)percept_option(open, "width")->integer;
	p->begin = pool_text(open, "begin");
	p->end = pool_text(open, "end");
	error = pool_read(call, p, open->model);
	if (error) {
		pool_close(p);
		return error;
	}
	pool_name(p);
	*connector = p;
	return 0;
}

static int pool_info(void *connector, struct percept_connector_info *info)
{
	const struct pool *p = connector;

	info->in_dim = p->dim;
	info->out_dim = p->width;
	info->position_components = 1;
	info->identity = p->identity;
	info->weight_bytes = (uint64_t)p->width * p->dim * sizeof(float);
	return 0;
}

/* Rows, and the text around them, without the work. */
static int pool_plan(struct percept_call *call, void *connector, const struct percept_layout *l, struct percept_embeddings *e)
{
	const struct pool *p = connector;
	const uint64_t tokens = (uint64_t)l->items * l->tokens;
	struct percept_piece *pieces = percept_alloc(call, 3 * sizeof(*pieces));

	if (l->dim != p->dim)
		return percept_fail(call, -EINVAL, "The pool connector takes features of %u values, not of %u.", p->dim, l->dim);
	if (!pieces)
		return -ENOMEM;
	e->n = (uint32_t)((tokens + p->pool - 1) / p->pool);
	e->dim = p->width;
	e->pieces = pieces;
	if (p->begin)
		pieces[e->n_pieces++] = (struct percept_piece){ .kind = PERCEPT_PIECE_TEXT, .text = p->begin };
	pieces[e->n_pieces++] = (struct percept_piece){ .kind = PERCEPT_PIECE_ROWS, .count = e->n };
	if (p->end)
		pieces[e->n_pieces++] = (struct percept_piece){ .kind = PERCEPT_PIECE_TEXT, .text = p->end };
	return 0;
}

static int pool_connect(struct percept_call *call, void *connector, const struct percept_features *f, const char *instruction,
			struct percept_embeddings *e)
{
	const struct pool *p = connector;
	const int error = pool_plan(call, connector, &f->layout, e);
	const uint64_t tokens = (uint64_t)f->layout.items * f->layout.tokens;

	if (error)
		return error;
	float *mean = percept_alloc(call, p->dim * sizeof(float)), *out = percept_alloc(call, (size_t)e->n * p->width * sizeof(float));

	if (!mean || !out)
		return -ENOMEM;
	for (uint64_t first = 0, row = 0; first < tokens; first += p->pool, row++) {
		const uint64_t n = tokens - first < p->pool ? tokens - first : p->pool;

		if (percept_cancelled(call))
			return percept_fail(call, -ECANCELED, "The connecting was cancelled.");
		memset(mean, 0, p->dim * sizeof(float));
		for (uint64_t i = first * p->dim; i < (first + n) * p->dim; i++)
			mean[i % p->dim] += f->data[i] / (float)n;
		for (uint64_t i = 0; i < p->width; i++)
			for (uint64_t j = 0; j < p->dim; j++)
				out[row * p->width + i] += p->matrix[i * p->dim + j] * mean[j];
	}
	e->data = out;
	return 0;
}

static const struct percept_option options[] = {
	{ .name = "pool", .type = PERCEPT_OPTION_INT, .fallback = "4", .min = 1, .max = 4096, .help = "features that become one token" },
	{ .name = "width", .type = PERCEPT_OPTION_INT, .fallback = "192", .min = 1, .max = 65536, .help = "of the decoder" },
	{ .name = "begin", .type = PERCEPT_OPTION_STRING, .help = "text before the tokens, special tokens recognised" },
	{ .name = "end", .type = PERCEPT_OPTION_STRING, .help = "text behind them" },
};

static const struct percept_connector ops = {
	.size = sizeof(ops),
	.n_options = 4,
	.options = options,
	.open = pool_open,
	.close = pool_close,
	.info = pool_info,
	.plan = pool_plan,
	.connect = pool_connect,
};

const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin),
	.abi = PERCEPT_ABI,
	.kind = PERCEPT_CONNECTOR,
	.name = "pool",
	.version = "1.0",
	.license = "MIT",
	.summary = "Averages features and takes them to a decoder's width",
	.ops = &ops,
};

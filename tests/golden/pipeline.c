/* pipeline.c - pictures and a prompt through the three parts of a bundle. */
#include "tests/golden/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/engine/bundle.h"

static const char *pipeline_text(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));

	return text ? text : "";
}

/* Opens the part in `role`. 0 or -1. */
static int pipeline_part(struct part *part, struct golden *g, const cJSON *parts, const char *role)
{
	const cJSON *row;

	cJSON_ArrayForEach(row, parts)
		if (!strcmp(pipeline_text(row, "role"), role))
			return part_open(part, g, pipeline_text(row, "plugin"), pipeline_text(row, "model"),
					 cJSON_GetObjectItem(row, "options"), 1);
	golden_fail(g, "the bundle has no %s", role);
	return -1;
}

static int pipeline_media_token(const char *model)
{
	cJSON *config = golden_json(model, "config.json");
	const cJSON *id = cJSON_GetObjectItem(config, "image_token_id");

	if (!cJSON_IsNumber(id))
		id = cJSON_GetObjectItem(config, "image_token_index");
	const int token = cJSON_IsNumber(id) ? id->valueint : -1;

	cJSON_Delete(config);
	return token;
}

int pipeline_open(struct pipeline *p, struct golden *g, const char *model)
{
	struct wire_error why = { 0 };

	memset(p, 0, sizeof(*p));
	p->media_token = pipeline_media_token(g->mmproj ? g->path : model);
	cJSON *parts = bundle_parts(model, g->mmproj, NULL, &why);
	int failed = !parts || (!golden_tensor(&g->io, "F32", "in.features") && pipeline_part(&p->encoder, g, parts, "image.encoder")) ||
		     pipeline_part(&p->connector, g, parts, "image.connector") || run_open(&p->decoder, g, model);

	if (!parts)
		golden_fail(g, "%s", why.text[0] ? why.text : "this is no bundle that is known");
	cJSON_Delete(parts);
	wire_error_fini(&why);
	if (!failed && p->media_token < 0 && !fusion_is(p)) {
		golden_fail(g, "config.json names no image token");
		return -1;
	}
	if (!failed && fusion_is(p))
		p->decoder.fusion = &p->connector;
	return failed ? -1 : 0;
}

void pipeline_close(struct pipeline *p)
{
	fusion_forget(p);
	part_close(&p->encoder);
	part_close(&p->connector);
	run_close(&p->decoder);
	free(p->features);
	free(p->embeddings);
	free(p->rows);
	free(p->memories);
	free(p->begins);
}

void pipeline_begin(struct pipeline *p)
{
	fusion_forget(p);
	p->n_features = p->n_embeddings = p->n_rows = 0;
	p->n_pictures = 0;
	run_begin(&p->decoder);
}

static int pipeline_add(float **all, size_t *n, const float *data, size_t count)
{
	float *more = realloc(*all, (*n + count + 1) * sizeof(float));

	if (!more)
		return -1;
	if (count)
		memcpy(more + *n, data, count * sizeof(float));
	*all = more;
	*n += count;
	return 0;
}

/* Rows [first, first + count) of an answer whose first one is number `base` of all. */
static int pipeline_add_rows(struct pipeline *p, const struct percept_embeddings *e, size_t base,
			     const struct percept_piece *piece)
{
	const uint32_t first = piece->first, count = piece->count;
	struct pipeline_row *rows = realloc(p->rows, (p->n_rows + count + 1) * sizeof(*rows));

	if (!rows)
		return -1;
	p->rows = rows;
	for (uint32_t i = first; i < first + count && i < e->n; i++) {
		struct pipeline_row *row = &rows[p->n_rows++];

		*row = (struct pipeline_row){ .embedding = base + i, .picture = p->n_pictures, .bidirectional = piece->bidirectional != 0, .unowned = piece->unowned != 0,
					      .placed = e->positions != NULL, .after = (int32_t)e->position_span };
		if (e->positions)
			memcpy(row->position, e->positions + (size_t)i * 4, sizeof(row->position));
	}
	return 0;
}

/* The rows in the order of the pieces: text between them is in the case's own ids. */
static int pipeline_take(struct pipeline *p, const struct percept_embeddings *e)
{
	const size_t base = e->dim ? p->n_embeddings / e->dim : 0;
	const struct percept_piece all = { .count = e->n };
	int failed = pipeline_add(&p->embeddings, &p->n_embeddings, e->data, (size_t)e->n * e->dim);

	p->n_pictures++;
	if (!e->n_pieces)
		return failed || pipeline_add_rows(p, e, base, &all);
	for (uint32_t i = 0; i < e->n_pieces && !failed; i++)
		if (e->pieces[i].kind == PERCEPT_PIECE_ROWS)
			failed = pipeline_add_rows(p, e, base, &e->pieces[i]);
	return failed;
}

static int pipeline_connect(struct pipeline *p, struct golden *g, const struct percept_features *f, struct percept_embeddings *e)
{
	if (fusion_is(p))
		return fusion_take(p, g, f, e);
	const int error = part_connector(&p->connector)->connect(part_call(&p->connector), p->connector.instance, f,
								 p->instruction, e);

	if (error)
		part_failed(&p->connector, g, error);
	return error ? -1 : 0;
}

int pipeline_features(struct pipeline *p, struct golden *g, const struct percept_features *f)
{
	const struct percept_layout *l = &f->layout;
	struct percept_embeddings e = { .size = sizeof(e) };

	if (pipeline_connect(p, g, f, &e))
		return -1;
	return pipeline_add(&p->features, &p->n_features, f->data, (size_t)l->items * l->tokens * l->dim) || pipeline_take(p, &e) ? -1 : 0;
}

int pipeline_picture(struct pipeline *p, struct golden *g, const struct percept_media *media)
{
	struct percept_features f = { .size = sizeof(f) };
	int error = part_encoder(&p->encoder)->encode(part_call(&p->encoder), p->encoder.instance, media, &f);

	if (error) {
		part_failed(&p->encoder, g, error);
		return -1;
	}
	return pipeline_features(p, g, &f);
}

/* Whether row i of the prompt is one of a picture's: its id says so or, where the configuration names none, its type. */
static int pipeline_is_place(const struct pipeline *p, const struct golden *g, const int32_t *ids, uint32_t i)
{
	const struct golden_tensor *types = p->media_token < 0 ? golden_tensor(&g->io, "I32", "in.token_type_ids") : NULL;

	return ids[i] == p->media_token || (types && i < types->n && ((const int32_t *)types->data)[i] == 1);
}

/* Row i of the prompt is the first that has seen the next picture; `last`: the row before it that stands for one, counted from 1. */
static void pipeline_see(struct run *r, uint32_t i, uint32_t last)
{
	r->media_seen++;
	r->media_run = last && last >= i ? r->media_run : r->media_seen;
}

/* The prompt's row for row i of the pictures; *base is the position of its picture's first. */
static struct percept_row pipeline_media_row(struct pipeline *p, size_t i, int32_t *base)
{
	const struct pipeline_row *from = &p->rows[i];
	struct run *r = &p->decoder;
	struct percept_row row = { .token = -1, .embedding = p->embeddings + from->embedding * r->info.d_model,
				   .media = from->unowned ? 0 : from->picture, .media_seen = r->media_seen,
				   .media_run = r->media_run, .span = from->bidirectional ? from->picture : 0 };

	if (!i || p->rows[i - 1].picture != from->picture)
		*base = r->position;
	for (int c = 0; c < 4; c++)
		row.position[c] = from->placed ? *base + from->position[c] : r->position;
	if (!from->placed)
		r->position++;
	else if (i + 1 == p->n_rows || p->rows[i + 1].picture != from->picture)
		r->position = *base + from->after;
	return row;
}

/* All rows of the prompt. 0 or -1. */
static int pipeline_rows(struct pipeline *p, struct golden *g, const int32_t *ids, uint32_t n, struct percept_row *rows)
{
	uint32_t last = 0, at = 0;
	int32_t base = 0;

	for (uint32_t i = 0; i < n; i++) {
		const int place = p->n_rows && pipeline_is_place(p, g, ids, i);

		if (place && at == p->n_rows)
			return -1;
		if (place && (!at || p->rows[at - 1].picture != p->rows[at].picture))
			pipeline_see(&p->decoder, i, last);
		for (int first = 1; p->begins && p->decoder.media_seen < p->n_pictures && p->begins[p->decoder.media_seen] == i;
		     first = 0) {
			pipeline_see(&p->decoder, i, first ? last : i);
			last = i + 1;
		}
		if (place)
			last = i + 1;
		rows[i] = place ? pipeline_media_row(p, at++, &base) : run_row(&p->decoder, ids[i]);
		rows[i].wants = PERCEPT_WANT_LOGITS;
	}
	return at == p->n_rows ? 0 : -1;
}

/* Whether the connector says that the whole prompt sees itself both ways. */
static int pipeline_is_span(const struct pipeline *p)
{
	struct percept_connector_info info = { .size = sizeof(info) };

	if (fusion_is(p))
		return 0;
	part_connector(&p->connector)->info(p->connector.instance, &info);
	return info.bidirectional == PERCEPT_BIDIRECTIONAL_PROMPT;
}

int pipeline_prompt(struct pipeline *p, struct golden *g, const int32_t *ids, uint32_t n)
{
	struct percept_row *rows = calloc((size_t)n + 1, sizeof(*rows));
	int failed = !rows || (fusion_is(p) && fusion_bind(p, g, ids, n));

	if (!failed && pipeline_rows(p, g, ids, n, rows)) {
		golden_fail(g, "the prompt has not the %zu places that its pictures take", p->n_rows);
		failed = 1;
	}
	if (failed) {
		free(rows);
		return -1;
	}
	for (uint32_t i = 0; pipeline_is_span(p) && i < n; i++)
		rows[i].span = 1;
	return run_encodes(&p->decoder) ? run_encode(&p->decoder, g, rows, n) : run_step_rows(&p->decoder, g, rows, n);
}

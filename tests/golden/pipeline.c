/* pipeline.c - pictures and a prompt through the three parts of a LLaVA bundle. */
#include "tests/golden/pipeline.h"

#include <stdlib.h>
#include <string.h>

/* The plugin of a bundle's picture tower. */
static const char *pipeline_encoder(const cJSON *config)
{
	const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(config, "vision_config"), "model_type"));

	return type && !strcmp(type, "siglip_vision_model") ? "siglip" : "clip";
}

int pipeline_open(struct pipeline *p, struct golden *g, const char *model)
{
	memset(p, 0, sizeof(*p));
	cJSON *config = golden_json(model, "config.json");
	const char *encoder = pipeline_encoder(config);
	const cJSON *id = cJSON_GetObjectItem(config, "image_token_id");

	if (!cJSON_IsNumber(id))
		id = cJSON_GetObjectItem(config, "image_token_index");
	p->media_token = cJSON_IsNumber(id) ? id->valueint : -1;
	cJSON_Delete(config);
	if (p->media_token < 0) {
		golden_fail(g, "config.json names no image token");
		return -1;
	}
	return part_open(&p->encoder, g, encoder, model, NULL, 1) || part_open(&p->connector, g, "mlp", model, NULL, 1) ||
	       run_open(&p->decoder, g, model) ? -1 : 0;
}

void pipeline_close(struct pipeline *p)
{
	part_close(&p->encoder);
	part_close(&p->connector);
	run_close(&p->decoder);
	free(p->features);
	free(p->embeddings);
}

void pipeline_begin(struct pipeline *p)
{
	p->n_features = p->n_embeddings = 0;
	p->decoder.n = 0;
	part_decoder(&p->decoder.part)->sequence_new(p->decoder.part.instance, 0);
}

static int pipeline_add(float **all, size_t *n, const float *data, size_t count)
{
	float *more = realloc(*all, (*n + count + 1) * sizeof(float));

	if (!more)
		return -1;
	memcpy(more + *n, data, count * sizeof(float));
	*all = more;
	*n += count;
	return 0;
}

int pipeline_picture(struct pipeline *p, struct golden *g, const struct percept_media *media)
{
	struct percept_features f = { .size = sizeof(f) };
	struct percept_embeddings e = { .size = sizeof(e) };
	int error = part_encoder(&p->encoder)->encode(part_call(&p->encoder), p->encoder.instance, media, &f);

	if (error) {
		part_failed(&p->encoder, g, error);
		return -1;
	}
	error = part_connector(&p->connector)->connect(part_call(&p->connector), p->connector.instance, &f, NULL, &e);
	if (error) {
		part_failed(&p->connector, g, error);
		return -1;
	}
	return pipeline_add(&p->features, &p->n_features, f.data, (size_t)f.layout.items * f.layout.tokens * f.layout.dim) ||
	       pipeline_add(&p->embeddings, &p->n_embeddings, e.data, (size_t)e.n * e.dim);
}

int pipeline_prompt(struct pipeline *p, struct golden *g, const int32_t *ids, uint32_t n)
{
	size_t places = 0;

	for (uint32_t i = 0; i < n; i++)
		places += ids[i] == p->media_token;
	if (places * p->decoder.info.d_model != p->n_embeddings) {
		golden_fail(g, "the prompt has %zu places for pictures, and they take %zu", places,
			    p->n_embeddings / p->decoder.info.d_model);
		return -1;
	}
	return run_step(&p->decoder, g, ids, n, p->media_token, p->embeddings);
}

/* case-qformer.c - Q-Formers by themselves: features, and an instruction's ids, to queries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/golden/qformer.h"
#include "tests/golden/towers.h"

int qformer_variant(const struct golden *g, const char *file, char out[PATH_MAX])
{
	cJSON *config = golden_json(g->path, file);
	const cJSON *vocab = cJSON_GetObjectItem(cJSON_GetObjectItem(config, "qformer_config"), "vocab_size");
	char *tokenizer = towers_tokenizer(cJSON_IsNumber(vocab) ? (uint32_t)vocab->valueint : 30523, "[%u]");
	char path[PATH_MAX + 64];
	int failed = !tokenizer || variant_make(g->path, file, NULL, out);

	if (!failed) {
		snprintf(path, sizeof(path), "%s/qformer_tokenizer", out);
		failed = mkdir(path, 0700);
		snprintf(path, sizeof(path), "%s/qformer_tokenizer/tokenizer.json", out);
		FILE *f = failed ? NULL : fopen(path, "we");

		failed = !f || fputs(tokenizer, f) < 0;
		failed |= f && fclose(f);
	}
	free(tokenizer);
	cJSON_Delete(config);
	return failed ? -1 : 0;
}

size_t qformer_words(const struct golden *g, size_t i, char text[QFORMER_TEXT_MAX])
{
	const struct golden_tensor *ids = golden_tensor(&g->io, "I32", "in.qformer_input_ids");
	const struct golden_tensor *mask = golden_tensor(&g->io, "I32", "in.qformer_attention_mask");
	const size_t n = ids ? ids->shape[1] : 0;
	size_t count = 0;

	*text = '\0';
	for (size_t k = 0, at = 0; k < n && at + 16 < QFORMER_TEXT_MAX; k++) {
		if (mask && !((const int32_t *)mask->data)[i * n + k])
			continue;
		at += (size_t)sprintf(text + at, "[%d]", ((const int32_t *)ids->data)[i * n + k]);
		count++;
	}
	return count;
}

/* The rows of the reference's sequence that are no padding, against ours. */
static void qformer_sequence(struct golden *g, const struct part *p, size_t i, size_t words, size_t queries)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "F32", "out.sequence");
	const struct tap *got = part_tap(p, "sequence");
	char name[64];

	if (!want || !got || want->rank != 3)
		return;
	const size_t dim = want->shape[2], rows = queries + words;

	snprintf(name, sizeof(name), "out.sequence %zu", i);
	((struct golden_tensor *)want)->seen = 1;
	golden_compare(g, name, got->data + got->n - rows * dim, rows * dim, (const float *)want->data + i * want->shape[1] * dim,
		       rows * dim);
}

static void qformer_run(struct golden *g, struct part *p, const struct golden_tensor *in)
{
	const uint32_t items = (uint32_t)in->shape[0], tokens = (uint32_t)in->shape[1], dim = (uint32_t)in->shape[2];
	const struct golden_tensor *queries = golden_tensor(&g->io, "F32", "out.queries");
	struct rows projected = { 0 }, kept = { 0 };

	for (uint32_t i = 0; i < items; i++) {
		const struct percept_features f = {
			.size = sizeof(f), .data = (const float *)in->data + (size_t)i * tokens * dim,
			.layout = { .size = sizeof(f.layout), .items = 1, .tokens = tokens, .dim = dim },
		};
		struct percept_embeddings e = { .size = sizeof(e) };
		char text[QFORMER_TEXT_MAX];
		const size_t words = qformer_words(g, i, text);
		const int error = part_connector(p)->connect(part_call(p), p->instance, &f, text, &e);
		const struct tap *t = part_tap(p, "queries");

		if (error) {
			part_failed(p, g, error);
			break;
		}
		rows_add(&projected, e.data, (size_t)e.n * e.dim);
		if (t && t->calls == i + 1)
			rows_add(&kept, t->data + t->n / t->calls * i, t->n / t->calls);
		qformer_sequence(g, p, i, words, queries ? queries->shape[1] : 0);
	}
	part_check_taps(p, g, "");
	golden_check(g, "out.queries", kept.data, kept.n);
	golden_check(g, "out.projected", projected.data, projected.n);
	rows_free(&projected);
	rows_free(&kept);
}

void case_qformer(struct golden *g)
{
	const struct golden_tensor *in = golden_tensor(&g->io, "F32", "in.image_embeds");
	struct part p = { 0 };
	char variant[PATH_MAX];

	if (!in || in->rank != 3) {
		golden_fail(g, "io.safetensors has no in.image_embeds");
		return;
	}
	if (qformer_variant(g, "config.json", variant)) {
		golden_fail(g, "the folder cannot be linked to");
		return;
	}
	if (!part_open(&p, g, "qformer", variant, NULL, 1))
		qformer_run(g, &p, in);
	part_close(&p);
	variant_remove(variant);
}

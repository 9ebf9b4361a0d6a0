/* fuzz-fusion.c - fuzz target: the configuration of a small model whose layers attend pictures, changed in a few places; then a picture through
 * its encoder, into the memory of its fusion connector, and rows through the hooks. They do it, or say why not. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/folder.h"
#include "tests/plugins/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_FLOATS = 1 << 21, FUZZ_SIDE = 120, FUZZ_POLLS = 2000, FUZZ_ROWS = 6, FUZZ_LAYERS = 8, FUZZ_WIDTH = 1 << 16 };

static const struct fuzz_case {
	const char *encoder, *connector, *folder;
} cases[] = {
	{ "mllama", "cross_attention", "vlm_mllama" },
	{ "idefics", "gated_cross_attention", "vlm_idefics_small" },
	{ "eva", "visual_expert", "vlm_cogvlm" },
	{ "idefics", "gated_cross_attention", "vlm_idefics_vector" },
};

static void fuzz_refused(const struct check_host *host, int error)
{
	if (error >= 0 || (!host->text[0] && error != -ECANCELED))
		abort();
}

/* Begins a call that is cancelled after a while. */
static struct percept_call *fuzz_begin(struct check_host *host)
{
	struct percept_call *call = check_host_begin(host);

	host->cancel_at = FUZZ_POLLS;
	return call;
}

/* 0, or why there are no features. */
static int fuzz_encode(struct check_host *host, const struct percept_encoder *ops, void *encoder, struct bytes *in,
		       struct percept_features *features)
{
	static unsigned char pixels[3 * FUZZ_SIDE * FUZZ_SIDE];
	struct percept_media m = { .size = sizeof(m), .modality = PERCEPT_IMAGE, .format = PERCEPT_U8_RGB, .frames = 1, .channels = 3,
				   .width = 1 + take(in) % FUZZ_SIDE, .height = 1 + take(in) % FUZZ_SIDE, .detail = take(in) % 3,
				   .max_tokens = take(in), .data = pixels };
	struct percept_layout layout = { .size = sizeof(layout) };

	m.bytes = (uint64_t)m.width * m.height * 3;
	int error = ops->plan(fuzz_begin(host), encoder, &m, &layout);

	if (error)
		fuzz_refused(host, error);
	if (!error && (uint64_t)layout.items * layout.tokens * layout.dim > FUZZ_FLOATS)
		return -E2BIG;
	if (!error && (error = ops->encode(fuzz_begin(host), encoder, &m, features)))
		fuzz_refused(host, error);
	if (!error && (features->layout.items != layout.items || features->layout.tokens != layout.tokens || features->layout.dim != layout.dim))
		abort();
	return error;
}

/* Layer `layer` of rows in front of, at and behind a picture, of which the text's are left or changed, never lost. */
static void fuzz_layer(struct check_host *host, const struct percept_hooks *h, const struct percept_fusion_info *info, uint32_t layer)
{
	static float hidden[FUZZ_ROWS * FUZZ_WIDTH], out[FUZZ_ROWS * FUZZ_WIDTH];
	static const uint32_t index[] = { 1, 2 };
	struct percept_row rows[FUZZ_ROWS] = { { .token = 0 } };
	const struct { enum percept_project what; uint32_t x, y; } projects[] = {
		{ PERCEPT_PROJECT_QKV, info->d_model, info->qkv_dim }, { PERCEPT_PROJECT_OUT, info->out_dim, info->d_model },
		{ PERCEPT_PROJECT_MLP, info->d_model, info->d_model },
	};

	for (uint32_t t = 0; t < FUZZ_ROWS; t++) {
		rows[t].media_seen = rows[t].media_run = t > 3 ? 2 : t > 0;
		rows[t].media = t == 1 || t == 2;
		for (int k = 0; k < 4; k++)
			rows[t].position[k] = (int32_t)t;
	}
	int error = h->before_layer ? h->before_layer(fuzz_begin(host), h->state, layer, rows, FUZZ_ROWS, hidden) : 0;

	if (!error && h->after_layer)
		error = h->after_layer(fuzz_begin(host), h->state, layer, rows, FUZZ_ROWS, hidden);
	for (size_t i = 0; !error && h->project && i < sizeof(projects) / sizeof(projects[0]); i++)
		if (projects[i].x && projects[i].y && projects[i].x <= FUZZ_WIDTH && projects[i].y <= FUZZ_WIDTH)
			error = h->project(fuzz_begin(host), h->state, layer, projects[i].what, rows, index, 2, hidden, out);
	if (error)
		fuzz_refused(host, error);
}

/* Two items of the same memory. */
static void fuzz_attend(struct check_host *host, const struct percept_fusion *ops, void *fusion, const struct percept_fusion_info *info,
			void *memory)
{
	struct percept_hooks hooks = { .size = sizeof(hooks) };
	int error = ops->bind(fuzz_begin(host), fusion, 0, 1, memory);

	if (!error)
		error = ops->bind(fuzz_begin(host), fusion, 0, 2, memory);
	if (!error)
		error = ops->hooks(fuzz_begin(host), fusion, &hooks);
	if (error)
		fuzz_refused(host, error);
	for (uint32_t i = 0; !error && i < (info->n_layers ? info->n_layers : 1) && i < FUZZ_LAYERS; i++)
		fuzz_layer(host, &hooks, info, i);
	ops->bind(fuzz_begin(host), fusion, 0, 2, NULL);
	ops->bind(fuzz_begin(host), fusion, 0, 1, NULL);
}

static void fuzz_fuse(struct check_host *host, const struct percept_fusion *ops, void *fusion, const struct percept_features *features)
{
	struct percept_fusion_info info = { .size = sizeof(info) };
	struct percept_embeddings e = { .size = sizeof(e) };
	uint64_t bytes = 0;
	void *memory = NULL;

	ops->info(fusion, &info);
	if (!info.d_model || (info.in_dim && info.in_dim != features->layout.dim) || info.d_model > FUZZ_WIDTH)
		return;
	int error = ops->remember(fuzz_begin(host), fusion, features, &memory, &bytes);

	if (error) {
		fuzz_refused(host, error);
		return;
	}
	if (!memory || !bytes)
		abort();
	error = ops->embed ? ops->embed(fuzz_begin(host), fusion, memory, &e) : 0;
	if (error)
		fuzz_refused(host, error);
	fuzz_attend(host, ops, fusion, &info, memory);
	ops->forget(fusion, memory);
}

static void fuzz_run(const struct fuzz_case *c, const char *folder, struct bytes *in)
{
	const struct percept_open open = { .size = sizeof(open), .role = "fuzz", .model = folder, .assistant = "fuzz", .max_sequences = 1 };
	const struct percept_encoder *encodes = host_load(c->encoder)->ops;
	const struct percept_fusion *fuses = host_load(c->connector)->ops;
	struct percept_features features = { .size = sizeof(features), .layout.size = sizeof(features.layout) };
	struct check_host host, other;
	void *encoder = NULL, *fusion = NULL;

	check_host_init(&host);
	check_host_init(&other);
	int error = encodes->open(check_host_begin(&host), &open, &encoder);

	if (error)
		fuzz_refused(&host, error);
	else
		error = fuzz_encode(&host, encodes, encoder, in, &features);
	const int opened = fuses->open(fuzz_begin(&other), &open, &fusion);

	if (opened)
		fuzz_refused(&other, opened);
	if (!opened && !error)
		fuzz_fuse(&other, fuses, fusion, &features);
	if (!opened)
		fuses->close(fusion);
	if (encoder)
		encodes->close(encoder);
	check_host_fini(&host);
	check_host_fini(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, data + size };
	const size_t i = take(&in) % (sizeof(cases) / sizeof(cases[0]));

	fuzz_run(&cases[i], fuzz_folder(cases[i].folder, &in), &in);
	return 0;
}

/* fuzz-tower.c - fuzz target: the configuration of a small picture tower, changed in a few places; then a picture through the encoder
 * and the connector that it is used with. What they make of it is of the size that they say, or they say why not. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/fuzz/folder.h"
#include "tests/plugins/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_FLOATS = 1 << 21, FUZZ_SIDE = 300, FUZZ_POLLS = 200 };

/* What is opened: plugins (NULL: none) and a golden folder. */
static const struct fuzz_case {
	const char *encoder, *connector, *folder;
} cases[] = {
	{ "clip", "mlp", "vlm_llava" }, { "clip", "mlp", "vlm_llava_next" }, { "clip", "mlp", "vlm_llava_own_pad" },
	{ "clip", "mlp", "vlm_vipllava" }, { "siglip", "mlp", "vlm_llava_next_siglip" }, { "siglip", "grid", "vlm_gemma3_crops" },
	{ "siglip", "mlp", "vlm_paligemma" }, { "idefics3", "grid", "vlm_smolvlm_small_tile" }, { "idefics3", "grid", "vlm_idefics3_grid19" },
	{ "internvl", "grid", "vlm_internvl" }, { "internvl", "grid", "vlm_internvl_rms" }, { "pixtral", "mlp", "vlm_pixtral" },
	{ "pixtral", "mlp", "vlm_mistral3" }, { "qwen2vl", "merger", "vlm_qwen2vl" }, { "qwen2vl", "merger", "vlm_qwen25vl" },
	{ "blip", NULL, "vis_blip2" }, { "clip", NULL, "vis_clip_full" }, { "siglip", NULL, "vis_siglip" }, { "siglip2", NULL, "vis_siglip2" },
	{ "dinov2", NULL, "vis_dinov2_registers_swiglu" }, { "vit", NULL, "vis_vit_interp" }, { "vit", NULL, "vis_openclip_vit_map" }, { "eva", NULL, "vis_eva01" },
	{ "eva", NULL, "vis_openclip_eva02" }, { "openclip", NULL, "vis_openclip_vit_quickgelu" }, { "convnext", NULL, "vis_convnext" },
	{ "convnext", NULL, "vis_openclip_convnext_mlp" }, { NULL, "qformer", "conn_blip2_qformer" },
	{ NULL, "qformer", "conn_instructblip_qformer" }, { NULL, "ldp", "conn_mobilevlm_ldp" }, { NULL, "ldp", "conn_mobilevlm_ldpv2" },
	{ "eva", NULL, "vlm_cogvlm2" }, { NULL, "resampler", "conn_flamingo_frames" }, { NULL, "resampler", "conn_minicpmv" },
	{ NULL, "resampler", "conn_minicpmv_places" },
};

/* ---- the plugins ---- */

static void fuzz_refused(const struct check_host *host, int error)
{
	if (error >= 0 || (!host->text[0] && error != -ECANCELED))
		abort();
}

/* All of it is there. */
static void fuzz_look(const float *data, uint64_t n)
{
	volatile float sum = 0;

	if (n && !data)
		abort();
	for (uint64_t i = 0; i < n; i++)
		sum = sum + data[i];
}

static struct percept_call *fuzz_begin(struct check_host *host)
{
	struct percept_call *call = check_host_begin(host);

	host->cancel_at = FUZZ_POLLS;
	return call;
}

static void fuzz_connect(struct check_host *host, const struct percept_connector *ops, void *connector,
			 const struct percept_features *features)
{
	struct percept_embeddings e = { .size = sizeof(e) };
	int error = ops->plan(&host->call, connector, &features->layout, &e);

	if (error || (uint64_t)e.n * e.dim > FUZZ_FLOATS)
		return;
	const uint32_t n = e.n;

	error = ops->connect(&host->call, connector, features, "What is it?", &e);
	if (error)
		return;
	if (e.n != n)
		abort();
	fuzz_look(e.data, (uint64_t)e.n * e.dim);
	for (uint32_t i = 0; i < e.n_pieces; i++)
		if (e.pieces[i].kind == PERCEPT_PIECE_ROWS ? (uint64_t)e.pieces[i].first + e.pieces[i].count > e.n : !e.pieces[i].text)
			abort();
	for (uint64_t i = 0; e.positions && i < (uint64_t)e.n * 4; i++)
		if (e.positions[i] < 0)
			abort();
}

/* A picture of any shape, or prepared pixels. */
static struct percept_media fuzz_media(struct bytes *in)
{
	static float pixels[3 * FUZZ_SIDE * FUZZ_SIDE];
	const unsigned kind = take(in);
	struct percept_media m = {
		.size = sizeof(m), .modality = PERCEPT_IMAGE, .format = kind % 4 ? PERCEPT_U8_RGB : PERCEPT_F32_PIXELS, .frames = 1, .channels = 3,
		.width = 1 + take(in) % FUZZ_SIDE, .height = 1 + take(in) % FUZZ_SIDE, .detail = kind / 4 % 3, .max_tokens = take(in), .data = pixels,
	};

	m.bytes = (uint64_t)m.width * m.height * 3 * (kind % 4 ? 1 : sizeof(float));
	return m;
}

static int fuzz_encode(struct check_host *host, const struct percept_encoder *ops, void *encoder, struct bytes *in,
		       struct percept_features *features)
{
	const struct percept_media media = fuzz_media(in);
	struct percept_layout layout = { .size = sizeof(layout) };
	struct percept_encoder_info info = { .size = sizeof(info) };
	int error = ops->plan(fuzz_begin(host), encoder, &media, &layout);

	if (error) {
		fuzz_refused(host, error);
		return error;
	}
	const uint64_t n = (uint64_t)layout.items * layout.tokens * layout.dim;

	ops->info(encoder, &info);
	if (!info.dim || info.dim != layout.dim || !info.max_tokens)
		abort();
	if (n > FUZZ_FLOATS)
		return -E2BIG;
	error = ops->encode(fuzz_begin(host), encoder, &media, features);
	if (error) {
		fuzz_refused(host, error);
		return error;
	}
	if ((uint64_t)features->layout.items * features->layout.tokens * features->layout.dim != n)
		abort();
	fuzz_look(features->data, n);
	for (uint32_t i = 0; i < features->n_extra; i++)
		fuzz_look(features->extra[i], n);
	fuzz_look(features->pooled, features->pooled ? features->pooled_dim : 0);
	return 0;
}

/* Features of another encoder: what the connector takes, in a grid. */
static struct percept_features fuzz_features(const struct percept_connector_info *info, struct bytes *in)
{
	static float rows[FUZZ_FLOATS];
	struct percept_features f = { .size = sizeof(f), .data = rows };
	struct percept_layout *l = &f.layout;

	*l = (struct percept_layout){ .size = sizeof(*l), .items = 1 + take(in) % 3, .rows = take(in) % 20, .cols = take(in) % 20,
				      .dim = info->in_dim ? info->in_dim : 8, .grid_rows = 1, .grid_cols = 1, .width = 20, .height = 30 };
	l->tokens = l->rows && l->cols ? l->rows * l->cols : take(in);
	if ((uint64_t)l->items * l->tokens * l->dim > FUZZ_FLOATS)
		l->tokens = 0;
	return f;
}

static void fuzz_case_run(const struct fuzz_case *c, const char *folder, struct bytes *in)
{
	const struct percept_open open = { .size = sizeof(open), .role = "fuzz", .model = folder, .assistant = "fuzz", .max_sequences = 1 };
	const struct percept_encoder *encodes = c->encoder ? host_load(c->encoder)->ops : NULL;
	const struct percept_connector *connects = c->connector ? host_load(c->connector)->ops : NULL;
	struct percept_features features = { .size = sizeof(features), .layout.size = sizeof(features.layout) };
	struct percept_connector_info info = { .size = sizeof(info) };
	struct check_host host, other;
	void *encoder = NULL, *connector = NULL;

	check_host_init(&host);
	check_host_init(&other);
	int error = encodes ? encodes->open(check_host_begin(&host), &open, &encoder) : 0;

	if (error)
		fuzz_refused(&host, error);
	if (!error && encodes)
		error = fuzz_encode(&host, encodes, encoder, in, &features);
	if (!error && connects) {
		error = connects->open(fuzz_begin(&other), &open, &connector);
		if (error)
			fuzz_refused(&other, error);
	}
	if (!error && connects) {
		connects->info(connector, &info);
		if (!encodes)
			features = fuzz_features(&info, in);
		fuzz_begin(&other);
		fuzz_connect(&other, connects, connector, &features);
	}
	if (connector)
		connects->close(connector);
	if (encoder)
		encodes->close(encoder);
	check_host_fini(&host);
	check_host_fini(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, data + size };
	const size_t i = take(&in) % (sizeof(cases) / sizeof(cases[0]));
	const char *folder = fuzz_folder(cases[i].folder, &in);

	fuzz_case_run(&cases[i], folder, &in);
	return 0;
}

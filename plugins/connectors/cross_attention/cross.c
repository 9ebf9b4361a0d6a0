/* cross.c - the plugin: the layers of Llama 3.2 Vision's language model that attend pictures. */
#include "plugins/connectors/cross_attention/cross.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/nn/compute.h"

static void cross_close(void *fusion)
{
	struct cross *x = fusion;

	for (uint32_t i = 0; x->sequences && i < x->n_sequences; i++) {
		cross_unlist(&x->sequences[i]);
		free(x->sequences[i].items);
	}
	free(x->sequences);
	free(x->layers);
	nn_arena_free(x->arena);
	nn_checkpoint_close(x->checkpoint);
	free(x);
}

static const char *cross_option(const struct percept_open *open, const char *name)
{
	const struct percept_value *value = percept_option(open, name);

	return value && value->string ? value->string : "";
}

/* As `memory` says; else in 16 bits, and whole where everything is computed in float32. */
static enum nn_page_type cross_page_type(const struct percept_open *open)
{
	const char *memory = cross_option(open, "memory");

	if (!strcmp(memory, "f32") || !strcmp(memory, "f16"))
		return !strcmp(memory, "f32") ? NN_PAGE_F32 : NN_PAGE_F16;
	return strcmp(cross_option(open, "compute"), "f32") ? NN_PAGE_F16 : NN_PAGE_F32;
}

static int cross_open(struct percept_call *call, const struct percept_open *open, void **fusion)
{
	const enum nn_compute how = nn_compute_option(open);
	struct nn_error error = { 0 };

	if (!open->model)
		return percept_fail(call, -EINVAL, "The cross_attention connector needs a model: name a directory with config.json and "
				    "model.safetensors.");
	struct cross *x = calloc(1, sizeof(*x));

	if (!x)
		return percept_fail(call, -ENOMEM, "Memory is out.");
	x->whole = strcmp(cross_option(open, "leading"), "none") != 0;
	x->n_sequences = open->max_sequences;
	x->sequences = calloc((size_t)x->n_sequences + 1, sizeof(*x->sequences));
	x->arena = nn_arena_new(0);
	if (!x->sequences || !x->arena || cross_load(x, open->model, how, &error)) {
		cross_close(x);
		return percept_fail(call, error.code ? error.code : -ENOMEM, "%s", error.code ? error.text : "Memory is out.");
	}
	x->page = (struct nn_page_shape){ x->n_kv_heads, x->head_dim + CROSS_MORE, x->head_dim, cross_page_type(open) };
	snprintf(x->marker_text, sizeof(x->marker_text), "%s", cross_option(open, "marker"));
	x->marker = x->marker_text[0] ? x->marker_text : NULL;
	snprintf(x->identity, sizeof(x->identity), "cross_attention-1-%s-%s-page%d-whole%d", nn_checkpoint_identity(x->checkpoint),
		 nn_compute_name(how), (int)x->page.type, x->whole);
	*fusion = x;
	return 0;
}

static int cross_info(void *fusion, struct percept_fusion_info *info)
{
	const struct cross *x = fusion;

	*info = (struct percept_fusion_info){
		.size = sizeof(*info), .in_dim = x->in_dim, .d_model = x->d_model, .n_layers = x->n_layers, .hooks = PERCEPT_CAN_HOOK_LAYERS,
		.marker = x->marker, .identity = x->identity, .weight_bytes = x->weight_bytes, .whole = x->whole != 0,
	};
	return 0;
}

static int cross_hooks(struct percept_call *call, void *fusion, struct percept_hooks *hooks)
{
	if (cross_list(fusion))
		return percept_fail(call, -ENOMEM, "Memory is out.");
	*hooks = (struct percept_hooks){ .size = sizeof(*hooks), .state = fusion, .before_layer = cross_before, .after_layer = cross_after };
	return 0;
}

static const struct percept_option options[] = {
	NN_COMPUTE_OPTION,
	{ .name = "memory", .type = PERCEPT_OPTION_ENUM, .choices = "f16|f32",
	  .help = "how a picture's keys and values are kept: f16 by default, f32 where compute is f32" },
	{ .name = "leading", .type = PERCEPT_OPTION_ENUM, .fallback = "all", .choices = "all|none",
	  .help = "text before the first picture attends all pictures, as in transformers, or none, as in Meta's own code" },
	{ .name = "marker", .type = PERCEPT_OPTION_STRING, .fallback = "<|image|>", .help = "the token that stands for a picture in the prompt" },
};
static const struct percept_fusion ops = {
	.size = sizeof(ops), .n_options = sizeof(options) / sizeof(options[0]), .options = options, .open = cross_open,
	.close = cross_close, .info = cross_info, .remember = cross_remember, .forget = cross_forget, .bind = cross_bind,
	.hooks = cross_hooks,
};
const struct percept_plugin percept_plugin = {
	.size = sizeof(percept_plugin), .abi = PERCEPT_ABI, .kind = PERCEPT_FUSION, .name = "cross_attention", .version = "0.1.0",
	.license = "Apache-2.0", .summary = "Llama 3.2 Vision's layers that attend pictures", .ops = &ops,
};

/* assembly-check.c - do the parts fit? What they say of themselves, and one clear sentence where they do not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/engine/assembly.h"

#define ASSEMBLY_MAX_DIM (1u << 20)

static const char *assembly_model(const struct part *part)
{
	return part->model ? part->model : "no model";
}

/* Which lane a role like "image.encoder" belongs to, and what follows the dot. */
static struct lane *assembly_lane(struct assembly *assembly, const char *role, const char **what)
{
	for (size_t i = 0; i < TEXT_MEDIA; i++) {
		size_t n = strlen(text_media_names[i]);

		if (strncmp(role, text_media_names[i], n) == 0 && role[n] == '.') {
			*what = role + n + 1;
			return &assembly->lanes[i];
		}
	}
	return NULL;
}

static int assembly_learn_decoder(struct assembly *assembly, const struct part *part, struct call *call, struct wire_error *error)
{
	struct percept_decoder_info *info = &assembly->info;

	assembly->decoder = part;
	assembly->ops = part->plugin.api->ops;
	*info = (struct percept_decoder_info){.size = sizeof(*info), .start = -1};
	int r = assembly->ops->info(part->instance, info);

	if (r)
		return call_failed(call, r, "describe itself", error);
	if (info->vocab == 0 || info->vocab > INT32_MAX || info->context == 0 || info->max_batch == 0 ||
	    info->d_model > ASSEMBLY_MAX_DIM || info->n_end > 1024 || (info->n_end && !info->end))
		return call_broken(call, error, "info() says vocab %u, context %u, max_batch %u, d_model %u, n_end %u", info->vocab,
				   info->context, info->max_batch, info->d_model, info->n_end);
	if (info->capabilities & PERCEPT_CAN_ENCODE && (info->start < 0 || (uint32_t)info->start >= info->vocab))
		return call_broken(call, error, "info() says that decoding starts with token %d of %u", info->start, info->vocab);
	if (assembly->context == 0 || assembly->context > info->context)
		assembly->context = info->context;
	return 0;
}

/* An encoder whose model has no text tower says -ENOTSUP to any text. */
static int assembly_takes_text(const struct lane *lane, const struct part *part, struct call *call)
{
	const struct percept_encoder *ops = lane->encoder_ops;
	const float *pooled = NULL;

	if (!PERCEPT_HAS(ops, encode_text) || !ops->encode_text)
		return 0;
	call_reset(call, part->plugin.api->name);
	return ops->encode_text(&call->base, part->instance, "a", &pooled) != -ENOTSUP;
}

static int assembly_learn_encoder(struct lane *lane, const struct part *part, struct call *call, struct wire_error *error)
{
	lane->encoder = part;
	lane->encoder_ops = part->plugin.api->ops;
	lane->encoder_info = (struct percept_encoder_info){.size = sizeof(lane->encoder_info)};
	int r = lane->encoder_ops->info(part->instance, &lane->encoder_info);

	if (r)
		return call_failed(call, r, "describe itself", error);
	lane->takes_text = lane->encoder_info.pooled_dim && assembly_takes_text(lane, part, call);
	if (lane->encoder_info.dim == 0 || lane->encoder_info.dim > ASSEMBLY_MAX_DIM ||
	    lane->encoder_info.pooled_dim > ASSEMBLY_MAX_DIM)
		return call_broken(call, error, "info() says dim %u, pooled_dim %u", lane->encoder_info.dim,
				   lane->encoder_info.pooled_dim);
	return 0;
}

static int assembly_learn_connector(struct assembly *assembly, struct lane *lane, const struct part *part, struct call *call,
				    struct wire_error *error)
{
	lane->connector = part;
	lane->connector_ops = part->plugin.api->ops;
	lane->connector_info = (struct percept_connector_info){.size = sizeof(lane->connector_info), .position_components = 1};
	int r = lane->connector_ops->info(part->instance, &lane->connector_info);

	if (r)
		return call_failed(call, r, "describe itself", error);
	if (lane->connector_info.out_dim == 0 || lane->connector_info.out_dim > ASSEMBLY_MAX_DIM ||
	    lane->connector_info.in_dim > ASSEMBLY_MAX_DIM)
		return call_broken(call, error, "info() says in_dim %u, out_dim %u", lane->connector_info.in_dim,
				   lane->connector_info.out_dim);
	assembly->prefix |= lane->connector_info.bidirectional == PERCEPT_BIDIRECTIONAL_PROMPT;
	assembly->leads |= assembly->prefix || lane->connector_info.leads;
	return 0;
}

static int assembly_learn_expert(struct lane *lane, const struct part *part, struct call *call, struct wire_error *error)
{
	lane->expert = part;
	lane->expert_ops = part->plugin.api->ops;
	lane->expert_info = (struct percept_expert_info){.size = sizeof(lane->expert_info)};
	int r = lane->expert_ops->info(part->instance, &lane->expert_info);

	if (r)
		return call_failed(call, r, "describe itself", error);
	if (!lane->expert_info.modalities)
		return call_broken(call, error, "info() says that it takes no kind of media");
	return 0;
}

static int assembly_learn_fusion(struct assembly *assembly, struct lane *lane, const struct part *part, struct call *call,
				 struct wire_error *error)
{
	struct percept_fusion_info *info = &lane->fusion_info;

	lane->connector = part;
	lane->fusion_ops = part->plugin.api->ops;
	*info = (struct percept_fusion_info){.size = sizeof(*info)};
	int r = lane->fusion_ops->info(part->instance, info);

	if (r)
		return call_failed(call, r, "describe itself", error);
	if (info->d_model == 0 || info->d_model > ASSEMBLY_MAX_DIM || info->in_dim > ASSEMBLY_MAX_DIM)
		return call_broken(call, error, "info() says in_dim %u, d_model %u", info->in_dim, info->d_model);
	if (assembly->fusion)
		return wire_error_set(error, WIRE_PARAMS,
				      "Connectors %s and %s both work inside the decoder's layers; an assistant can have one such.",
				      assembly->fusion->connector->plugin.api->name, part->plugin.api->name);
	assembly->fusion = lane;
	lane->connector_info = (struct percept_connector_info){
		.size = sizeof(lane->connector_info), .in_dim = info->in_dim, .out_dim = info->d_model,
		.max_rows = info->max_rows, .position_components = 1, .identity = info->identity,
		.weight_bytes = info->weight_bytes,
	};
	return 0;
}

int assembly_learn(struct assembly *assembly, const struct part *part, struct call *call, struct wire_error *error)
{
	uint32_t kind = part->plugin.api->kind;
	const char *what = part->role;
	struct lane *lane = assembly_lane(assembly, part->role, &what);
	int decoder = strcmp(part->role, "decoder") == 0;

	if (decoder && kind == PERCEPT_DECODER)
		return assembly_learn_decoder(assembly, part, call, error);
	if (lane && strcmp(what, "encoder") == 0 && kind == PERCEPT_ENCODER)
		return assembly_learn_encoder(lane, part, call, error);
	if (lane && strcmp(what, "connector") == 0 && kind == PERCEPT_CONNECTOR)
		return assembly_learn_connector(assembly, lane, part, call, error);
	if (lane && strcmp(what, "connector") == 0 && kind == PERCEPT_FUSION)
		return assembly_learn_fusion(assembly, lane, part, call, error);
	if (lane && strcmp(what, "expert") == 0 && kind == PERCEPT_EXPERT)
		return assembly_learn_expert(lane, part, call, error);
	if ((decoder && kind == PERCEPT_REMOTE) || (lane && strcmp(what, "generator") == 0 && kind == PERCEPT_GENERATOR))
		return wire_error_set(error, WIRE_PARAMS, "Plugin %s is a%s %s; this version does not run one as %s of an assistant.",
				      part->plugin.api->name, kind == PERCEPT_ENCODER || kind == PERCEPT_EXPERT ? "n" : "",
				      loader_kind_name(kind), part->role);
	return wire_error_set(error, WIRE_PARAMS, "Plugin %s is a%s %s and cannot be %s of an assistant.", part->plugin.api->name,
			      kind == PERCEPT_ENCODER || kind == PERCEPT_EXPERT ? "n" : "", loader_kind_name(kind), part->role);
}

static int assembly_check_lane(const struct assembly *assembly, size_t i, struct wire_error *error)
{
	const struct lane *lane = &assembly->lanes[i];
	const struct part *e = lane->encoder, *c = lane->connector, *d = assembly->decoder;

	if (!e != !c && (d || c))
		return wire_error_set(error, WIRE_PARAMS, "Assistant %s has %s.%s but no %s.%s: it needs both, or neither.",
				      assembly->name, text_media_names[i], e ? "encoder" : "connector", text_media_names[i],
				      e ? "connector" : "encoder");
	if (lane->expert && !(lane->expert_info.modalities & (uint32_t)(PERCEPT_IMAGE << i)))
		return wire_error_set(error, WIRE_PARAMS, "Expert %s of %s does not take %s input.", lane->expert->plugin.api->name,
				      assembly_model(lane->expert), text_media_names[i]);
	if (!e)
		return 0;
	if (!(lane->encoder_info.modalities & (uint32_t)(PERCEPT_IMAGE << i)))
		return wire_error_set(error, WIRE_PARAMS, "Encoder %s of %s does not take %s input.", e->plugin.api->name,
				      assembly_model(e), text_media_names[i]);
	if (!c)
		return 0;
	if (lane->connector_info.in_dim && lane->connector_info.in_dim != lane->encoder_info.dim)
		return wire_error_set(error, WIRE_PARAMS,
				      "Encoder %s of %s gives %u values a token, but connector %s of %s takes %u.",
				      e->plugin.api->name, assembly_model(e), lane->encoder_info.dim, c->plugin.api->name,
				      assembly_model(c), lane->connector_info.in_dim);
	if (lane->connector_info.n_extra != lane->encoder_info.n_extra)
		return wire_error_set(error, WIRE_PARAMS,
				      "Encoder %s of %s gives the features of %u layers, but connector %s of %s takes those of %u.",
				      e->plugin.api->name, assembly_model(e), lane->encoder_info.n_extra + 1, c->plugin.api->name,
				      assembly_model(c), lane->connector_info.n_extra + 1);
	if (lane->connector_info.out_dim != assembly->info.d_model)
		return wire_error_set(error, WIRE_PARAMS, "Connector %s of %s %s %u values, but decoder %s of %s %s %u.",
				      c->plugin.api->name, assembly_model(c),
				      lane->fusion_ops ? "was made for a decoder of" : "gives embeddings of",
				      lane->connector_info.out_dim, d->plugin.api->name, assembly_model(d),
				      lane->fusion_ops ? "has" : "takes", assembly->info.d_model);
	return 0;
}

/* What a fusion connector says of the decoder that it was made for, as far as it says it. */
static int assembly_check_sizes(const struct assembly *assembly, const struct lane *lane, struct wire_error *error)
{
	const struct percept_fusion_info *f = &lane->fusion_info;
	const struct percept_decoder_info *d = &assembly->info;
	const struct {
		uint32_t wanted, found;
		const char *what;
	} sizes[] = {
		{f->n_layers, d->n_layers, "layers"},
		{f->qkv_dim, d->qkv_dim, "values of q, k and v a row"},
		{f->out_dim, d->out_dim, "values of all heads a row"},
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (sizes[i].wanted && sizes[i].wanted != sizes[i].found)
			return wire_error_set(error, WIRE_PARAMS,
					      "Connector %s of %s was made for a decoder of %u %s, but decoder %s of %s has %u.",
					      lane->connector->plugin.api->name, assembly_model(lane->connector), sizes[i].wanted,
					      sizes[i].what, assembly->decoder->plugin.api->name, assembly_model(assembly->decoder),
					      sizes[i].found);
	return 0;
}

/* What a connector asks of a decoder. */
static int assembly_check_abilities(const struct assembly *assembly, const struct lane *lane, struct wire_error *error)
{
	const int fuses = lane->fusion_ops != NULL;
	const struct {
		int asked;
		uint32_t capability;
		const char *text;
	} needs[] = {
		{!fuses || lane->fusion_info.max_rows, PERCEPT_CAN_EMBEDDINGS, "puts embeddings into the prompt"},
		{lane->connector_info.bidirectional != 0, PERCEPT_CAN_BIDIRECTIONAL, "gives tokens that see each other both ways"},
		{lane->connector_info.position_components > 1, PERCEPT_CAN_MROPE, "gives each token three positions"},
		{lane->fusion_info.hooks & PERCEPT_CAN_HOOK_LAYERS, PERCEPT_CAN_HOOK_LAYERS,
		 "works inside the decoder's layers (before and after a layer)"},
		{lane->fusion_info.hooks & PERCEPT_CAN_HOOK_PROJECT, PERCEPT_CAN_HOOK_PROJECT,
		 "works inside the decoder's layers (in its projections)"},
	};

	for (size_t i = 0; lane->connector && i < sizeof(needs) / sizeof(needs[0]); i++)
		if (needs[i].asked && !(assembly->info.capabilities & needs[i].capability))
			return wire_error_set(error, WIRE_PARAMS, "Connector %s of %s %s, but decoder %s of %s cannot take that.",
					      lane->connector->plugin.api->name, assembly_model(lane->connector), needs[i].text,
					      assembly->decoder->plugin.api->name, assembly_model(assembly->decoder));
	return fuses ? assembly_check_sizes(assembly, lane, error) : 0;
}

int assembly_check(const struct assembly *assembly, struct wire_error *error)
{
	int r = 0, encoders = 0, connectors = 0;

	for (size_t i = 0; i < TEXT_MEDIA; i++) {
		encoders += assembly->lanes[i].encoder != NULL;
		connectors += assembly->lanes[i].connector != NULL;
	}
	if (!assembly->decoder && (!encoders || connectors))
		return wire_error_set(error, WIRE_PARAMS, "Assistant %s has no decoder: give it a model, or decoder = PLUGIN.",
				      assembly->name);
	for (size_t i = 0; i < TEXT_MEDIA && r == 0; i++)
		r = assembly_check_lane(assembly, i, error);
	for (size_t i = 0; i < TEXT_MEDIA && r == 0; i++)
		r = assembly_check_abilities(assembly, &assembly->lanes[i], error);
	return r;
}

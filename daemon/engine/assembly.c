/* assembly.c - opens the parts of one assistant. */
#include "daemon/engine/assembly.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/engine/bundle.h"
#include "sdk/nn/gguf.h"

/* Beside the running requests: finished ones whose rows may serve as somebody's prefix. */
#define ASSEMBLY_KEPT 32
#define ASSEMBLY_RUNNING 64
/* What an expert's text becomes, where nothing is configured. */
#define ASSEMBLY_TEMPLATE "{text}\\n"

static const char *assembly_text_of(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static char *assembly_copy(const cJSON *object, const char *name)
{
	const char *text = assembly_text_of(object, name);

	return text && *text ? strdup(text) : NULL;
}

static double assembly_number(const cJSON *object, const char *name, double fallback, double max)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
	double x = cJSON_IsNumber(item) ? item->valuedouble : fallback;

	return x >= 0 && x <= max ? x : fallback;
}

/* The operations of every kind begin alike, and open() is their first function. */
struct assembly_ops {
	uint32_t size;
	uint32_t n_options;
	const struct percept_option *options;
	int (*open)(struct percept_call *call, const struct percept_open *open, void **instance);
	void (*close)(void *instance);
};

/* What an open() that failed means: a bad file if a model was named and the plugin says so, else a failed plugin. */
static int assembly_open_failed(const struct part *part, const struct call *call, int r, struct wire_error *error)
{
	if (part->model && call->text[0] && r != -ENOMEM && r != -ECANCELED) {
		wire_error_set(error, WIRE_MODEL, "%s", call->text);
		wire_error_string(error, "file", part->model);
		wire_error_string(error, "reason", call->text);
		return error->code;
	}
	if (r == -ECANCELED)
		return wire_error_set(error, WIRE_SHUTDOWN, "The engine was told to end while it opened %s.", part->role);
	call_failed(call, r, "open its model", error);
	return error->code = r == -ENOMEM ? WIRE_INTERNAL : WIRE_PLUGIN;
}

/* A context that the assistant is given goes to a decoder that has an option of that name. */
static void assembly_add_context(const struct assembly_ops *ops, cJSON *row, uint32_t context)
{
	cJSON *options = cJSON_GetObjectItemCaseSensitive(row, "options");

	if (context == 0)
		return;
	if (!cJSON_IsObject(options)) {
		cJSON_DeleteItemFromObjectCaseSensitive(row, "options");
		options = cJSON_AddObjectToObject(row, "options");
	}
	for (uint32_t i = 0; i < ops->n_options; i++)
		if (strcmp(ops->options[i].name, "context") == 0 && !cJSON_HasObjectItem(options, "context"))
			cJSON_AddNumberToObject(options, "context", context);
}

/* The template in the configuration, where \\n stands for a line feed. It is the engine's option, not the expert's own. */
static int assembly_take_template(struct part *part, cJSON *row, struct wire_error *error)
{
	cJSON *options = cJSON_GetObjectItemCaseSensitive(row, "options");
	cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(options, "template");
	const char *text = cJSON_IsString(item) ? item->valuestring : ASSEMBLY_TEMPLATE;
	char *to = part->template = strdup(text);

	for (const char *at = text; to && *at; at++) {
		const int feed = at[0] == '\\' && at[1] == 'n';

		*to++ = feed ? '\n' : *at;
		at += feed;
	}
	if (to)
		*to = '\0';
	if (!to)
		wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	else if (!strstr(part->template, "{text}"))
		wire_error_set(error, WIRE_PARAMS, "The template of %s has no {text}: that is where what the expert reads goes.", part->role);
	cJSON_Delete(item);
	return error->code;
}

int assembly_load_plugin(struct part *part, const char *name, const cJSON *resolved, const char *program, struct wire_error *error)
{
	char reason[512];
	char *path = loader_find(program, cJSON_GetObjectItemCaseSensitive(resolved, "plugin_path"), name, reason, sizeof(reason));

	if (!path)
		return wire_error_set(error, WIRE_NOT_FOUND, "The plugin for %s cannot be used: %s.", part->role, reason);
	int r = loader_open(path, &part->plugin);

	if (r)
		wire_error_set(error, WIRE_NOT_FOUND, "The plugin for %s, %s, cannot be used: %s.", part->role, path,
			       part->plugin.reason);
	free(path);
	return r ? error->code : 0;
}

int assembly_open_part(struct assembly *assembly, cJSON *row, const cJSON *resolved, const char *program, struct call *call,
		       struct wire_error *error)
{
	struct part *part = &assembly->parts[assembly->n_parts];
	const char *name = assembly_text_of(row, "plugin");

	*part = (struct part){.role = assembly_copy(row, "role"), .model = assembly_copy(row, "model")};
	assembly->n_parts++;
	if (!part->role || !name)
		return wire_error_set(error, WIRE_PARAMS, "A part of assistant %s has no role or no plugin.", assembly->name);
	int r = assembly_load_plugin(part, name, resolved, program, error);

	if (r)
		return r;
	const struct assembly_ops *ops = part->plugin.api->ops;

	if (strcmp(part->role, "decoder") == 0)
		assembly_add_context(ops, row, assembly->context);
	if (part->plugin.api->kind == PERCEPT_EXPERT && assembly_take_template(part, row, error))
		return error->code;
	r = options_parse(part->plugin.api->name, ops->options, ops->n_options, cJSON_GetObjectItemCaseSensitive(row, "options"),
			  &part->options, error);
	if (r)
		return r;
	struct percept_open open = {
		.size = sizeof(open),
		.n_values = part->options.n,
		.values = part->options.values,
		.model = part->model,
		.role = part->role,
		.assistant = assembly->name,
		.max_sequences = assembly->max_sequences,
	};

	call_reset(call, part->plugin.api->name);
	r = ops->open(&call->base, &open, &part->instance);
	if (r) {
		part->instance = NULL;
		return assembly_open_failed(part, call, r, error);
	}
	if (!part->instance)
		return call_broken(call, error, "open() returned 0 and no instance");
	log_info("part", "assistant=%s role=%s plugin=%s model=%s", assembly->name, part->role, part->plugin.api->name,
		 part->model ? part->model : "none");
	return assembly_learn(assembly, part, call, error);
}

static int assembly_open_parts(struct assembly *assembly, cJSON *rows, const cJSON *resolved, const char *program,
			       struct call *call, struct wire_error *error)
{
	int n = cJSON_GetArraySize(rows), r = 0;
	cJSON *row;

	if (n > ASSEMBLY_PARTS)
		return wire_error_set(error, WIRE_PARAMS, "Assistant %s has %d parts; %d are possible.", assembly->name, n,
				      ASSEMBLY_PARTS);
	assembly->parts = calloc((size_t)n + 1, sizeof(*assembly->parts));
	if (!assembly->parts)
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	/* The decoder first: what is wrong with the others is told by comparison with it. */
	for (int pass = 0; pass < 2; pass++)
		cJSON_ArrayForEach(row, rows) {
			const char *role = assembly_text_of(row, "role");

			if (r == 0 && (role && strcmp(role, "decoder") == 0) == (pass == 0))
				r = assembly_open_part(assembly, row, resolved, program, call, error);
		}
	return r;
}

/* The GGUF file that pictures go through; NULL: none. */
static const char *assembly_tower(const struct assembly *assembly)
{
	const struct part *connector = assembly->lanes[0].connector;

	return connector && connector->model && nn_gguf_is_path(connector->model) ? connector->model : NULL;
}

int assembly_open(struct assembly *assembly, const cJSON *resolved, const char *program, struct call *call,
		  struct wire_error *error)
{
	*assembly = (struct assembly){
		.name = assembly_copy(resolved, "name"),
		.model = assembly_copy(resolved, "model"),
		.instructions = assembly_copy(resolved, "instructions"),
		.context = (uint32_t)assembly_number(resolved, "context", 0, INT32_MAX),
		.max_sequences = (uint32_t)assembly_number(resolved, "max_running", ASSEMBLY_RUNNING, 4096) + ASSEMBLY_KEPT,
	};
	if (!assembly->name && !(assembly->name = strdup("default")))
		return wire_error_set(error, WIRE_INTERNAL, "Memory is out.");
	cJSON *rows = bundle_parts(assembly->model, assembly_text_of(resolved, "mmproj"), cJSON_GetObjectItemCaseSensitive(resolved, "parts"), error);
	int r = rows ? assembly_open_parts(assembly, rows, resolved, program, call, error) : error->code;

	cJSON_Delete(rows);
	if (r == 0)
		r = assembly_check(assembly, error);
	if (r == 0 && assembly->decoder)
		r = text_open(&assembly->text, assembly->ops, assembly->decoder->instance, assembly->decoder->plugin.api->name,
			      assembly->decoder->model ? assembly->decoder->model : assembly->model, assembly_tower(assembly), error);
	if (r)
		assembly_close(assembly);
	return r;
}

void assembly_close(struct assembly *assembly)
{
	text_close(&assembly->text);
	for (size_t i = assembly->n_parts; i-- > 0;) {
		struct part *part = &assembly->parts[i];

		if (part->instance)
			((const struct assembly_ops *)part->plugin.api->ops)->close(part->instance);
		options_fini(&part->options);
		loader_close(&part->plugin);
		free(part->role);
		free(part->model);
		free(part->template);
	}
	free(assembly->parts);
	free(assembly->name);
	free(assembly->model);
	free(assembly->instructions);
	*assembly = (struct assembly){0};
}

cJSON *assembly_describe(const struct assembly *assembly)
{
	cJSON *result = cJSON_CreateObject();
	cJSON *inputs = cJSON_CreateArray(), *outputs = cJSON_CreateArray(), *modules = cJSON_CreateArray();
	int token = 0, feature = assembly->fusion != NULL;

	if (assembly->decoder || assembly_text_lane(assembly))
		cJSON_AddItemToArray(inputs, cJSON_CreateString("text"));
	cJSON_AddItemToArray(outputs, cJSON_CreateString(assembly->decoder ? "text" : "embedding"));
	for (size_t i = 0; i < TEXT_MEDIA; i++)
		if (assembly->lanes[i].encoder || assembly->lanes[i].expert) {
			cJSON_AddItemToArray(inputs, cJSON_CreateString(text_media_names[i]));
			token |= assembly->lanes[i].connector_ops != NULL;
		}
	for (size_t i = 0; i < assembly->n_parts; i++) {
		const struct part *part = &assembly->parts[i];
		cJSON *module = cJSON_CreateObject();

		cJSON_AddStringToObject(module, "role", part->role);
		cJSON_AddStringToObject(module, "plugin", part->plugin.api->name);
		cJSON_AddStringToObject(module, "model", part->model ? part->model : "");
		cJSON_AddItemToArray(modules, module);
	}
	cJSON_AddStringToObject(result, "name", assembly->name);
	cJSON_AddItemToObject(result, "modalities", cJSON_Duplicate(inputs, 1));
	cJSON_AddItemToObject(result, "inputs", inputs);
	cJSON_AddItemToObject(result, "outputs", outputs);
	cJSON_AddItemToObject(result, "modules", modules);
	cJSON_AddNumberToObject(result, "context", assembly->context);
	cJSON_AddStringToObject(result, "fusion", token && feature ? "token+feature" : token ? "token" : feature ? "feature" : "none");
	return result;
}

const struct lane *assembly_text_lane(const struct assembly *assembly)
{
	for (size_t i = 0; i < TEXT_MEDIA; i++)
		if (assembly->lanes[i].encoder && assembly->lanes[i].takes_text)
			return &assembly->lanes[i];
	return NULL;
}

uint64_t assembly_weight_bytes(const struct assembly *assembly)
{
	uint64_t bytes = assembly->info.weight_bytes;

	for (size_t i = 0; i < TEXT_MEDIA; i++)
		bytes += assembly->lanes[i].encoder_info.weight_bytes + assembly->lanes[i].connector_info.weight_bytes +
			 assembly->lanes[i].expert_info.weight_bytes;
	return bytes;
}

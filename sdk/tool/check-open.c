/* check-open.c - loading a plugin, and what open, info and close must do. */
#include "sdk/tool/check.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kinds: how long a table of operations is, which functions it must have, and info(). */
#define CHECK_HAS(type, member) offsetof(struct type, member)

static const struct check_kind {
	const char *name;
	size_t size;
	size_t needs[8]; /* offsets of the functions besides open and close; 0 ends them */
} check_kinds[] = {
	[PERCEPT_ENCODER] = { "encoder", sizeof(struct percept_encoder),
			      { CHECK_HAS(percept_encoder, info), CHECK_HAS(percept_encoder, encode) } },
	[PERCEPT_CONNECTOR] = { "connector", sizeof(struct percept_connector),
				{ CHECK_HAS(percept_connector, info), CHECK_HAS(percept_connector, connect) } },
	[PERCEPT_FUSION] = { "fusion connector", sizeof(struct percept_fusion),
			     { CHECK_HAS(percept_fusion, info), CHECK_HAS(percept_fusion, remember),
			       CHECK_HAS(percept_fusion, forget), CHECK_HAS(percept_fusion, bind),
			       CHECK_HAS(percept_fusion, hooks) } },
	[PERCEPT_DECODER] = { "decoder", sizeof(struct percept_decoder),
			      { CHECK_HAS(percept_decoder, info), CHECK_HAS(percept_decoder, step),
				CHECK_HAS(percept_decoder, sequence_new), CHECK_HAS(percept_decoder, sequence_free),
				CHECK_HAS(percept_decoder, sequence_bytes) } },
	[PERCEPT_REMOTE] = { "remote decoder", sizeof(struct percept_remote), { CHECK_HAS(percept_remote, respond) } },
	[PERCEPT_EXPERT] = { "expert", sizeof(struct percept_expert),
			     { CHECK_HAS(percept_expert, info), CHECK_HAS(percept_expert, read) } },
	[PERCEPT_GENERATOR] = { "generator", sizeof(struct percept_generator),
				{ CHECK_HAS(percept_generator, info), CHECK_HAS(percept_generator, generate) } },
};

enum { CHECK_KINDS = sizeof(check_kinds) / sizeof(check_kinds[0]) };

_Static_assert(offsetof(struct percept_encoder, close) == offsetof(struct check_ops, close) &&
	       offsetof(struct percept_connector, close) == offsetof(struct check_ops, close) &&
	       offsetof(struct percept_fusion, close) == offsetof(struct check_ops, close) &&
	       offsetof(struct percept_decoder, close) == offsetof(struct check_ops, close) &&
	       offsetof(struct percept_remote, close) == offsetof(struct check_ops, close) &&
	       offsetof(struct percept_expert, close) == offsetof(struct check_ops, close) &&
	       offsetof(struct percept_generator, close) == offsetof(struct check_ops, close), "all kinds begin alike");

enum check_verdict check_load(struct check *c)
{
	void *handle = dlopen(c->path, RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		return check_no(c, "It cannot be loaded: %s.", dlerror());
	c->plugin = dlsym(handle, "percept_plugin");
	return c->plugin ? CHECK_OK : check_no(c, "It does not export percept_plugin.");
}

const struct check_ops *check_ops(const struct check *c)
{
	return c->plugin->ops;
}

enum check_verdict check_description(struct check *c)
{
	const enum check_verdict v = check_load(c);
	const struct percept_plugin *p = c->plugin;

	if (v != CHECK_OK)
		return v;
	if (p->size < sizeof(*p) || p->size > 4096)
		return check_no(c, "percept_plugin.size is %u; sizeof(struct percept_plugin) is %zu.", p->size, sizeof(*p));
	if (p->abi != PERCEPT_ABI)
		return check_no(c, "It is of ABI %u, and this is ABI %d.", p->abi, PERCEPT_ABI);
	if (!p->name || !p->name[0] || p->name[strspn(p->name, "abcdefghijklmnopqrstuvwxyz0123456789_")])
		return check_no(c, "Its name must be of [a-z0-9_]+.");
	if (!p->version || !p->version[0] || !p->license || !p->license[0] || !p->summary || !p->summary[0])
		return check_no(c, "version, license and summary must all be given.");
	if (p->kind < 1 || p->kind >= CHECK_KINDS)
		return check_no(c, "Its kind, %u, is not one of enum percept_kind.", p->kind);
	return p->ops ? CHECK_OK : check_no(c, "percept_plugin.ops is NULL.");
}

enum check_verdict check_operations(struct check *c)
{
	const enum check_verdict v = check_description(c);

	if (v != CHECK_OK)
		return v;
	const struct check_kind *kind = &check_kinds[c->plugin->kind];
	const struct check_ops *ops = check_ops(c);

	if (ops->size < kind->size || ops->size > 65536)
		return check_no(c, "ops->size is %u; the table of an %s has %zu bytes.", ops->size, kind->name, kind->size);
	if (!ops->open || !ops->close)
		return check_no(c, "open and close must both be there.");
	for (size_t i = 0; i < 8 && kind->needs[i]; i++) {
		const void *function;

		memcpy(&function, (const char *)ops + kind->needs[i], sizeof(function));
		if (!function)
			return check_no(c, "A function that is not optional is NULL: the pointer at offset %zu of the table.",
					kind->needs[i]);
	}
	if (c->plugin->kind == PERCEPT_DECODER) {
		const struct percept_decoder *d = c->plugin->ops;

		if (!d->tokenize != !d->piece)
			return check_no(c, "tokenize and piece come both or not at all.");
	}
	return CHECK_OK;
}

static const char *check_option_fault(const struct percept_option *o)
{
	char *end;

	if (!o->name || !o->name[0] || o->name[strspn(o->name, "abcdefghijklmnopqrstuvwxyz0123456789_")])
		return "its name must be of [a-z0-9_]+";
	if (o->type < PERCEPT_OPTION_BOOL || o->type > PERCEPT_OPTION_PATH)
		return "its type is not one of enum percept_option_type";
	if ((o->type == PERCEPT_OPTION_ENUM) != (o->choices && o->choices[0]))
		return "choices belong to PERCEPT_OPTION_ENUM, and only to it";
	if (!o->help || !o->help[0])
		return "it has no help";
	if (o->min > o->max)
		return "min is greater than max";
	if (!o->fallback || (o->type != PERCEPT_OPTION_INT && o->type != PERCEPT_OPTION_FLOAT))
		return NULL;
	const double x = strtod(o->fallback, &end);

	if (end == o->fallback || *end)
		return "its default is not a number";
	return (o->min != 0 || o->max != 0) && (x < o->min || x > o->max) ? "its default is out of its own range" : NULL;
}

enum check_verdict check_options(struct check *c)
{
	const enum check_verdict v = check_operations(c);

	if (v != CHECK_OK)
		return v;
	for (uint32_t i = 0; i < check_ops(c)->n_options; i++) {
		const struct percept_option *o = &check_ops(c)->options[i];
		const char *fault = check_option_fault(o);

		for (uint32_t k = 0; k < i && !fault; k++)
			fault = strcmp(o->name, check_ops(c)->options[k].name) ? NULL : "its name was there before";
		if (fault)
			return check_no(c, "Option %u (%s): %s.", i, o->name ? o->name : "without a name", fault);
	}
	return CHECK_OK;
}

/* The value of an option: what -o gave, else the default. */
static int check_value(struct check *c, const struct percept_option *o)
{
	const size_t n = strlen(o->name);
	struct percept_value *v = &c->values[c->n_values];
	const char *text = o->fallback;

	*v = (struct percept_value){ .name = o->name, .type = o->type };
	for (size_t i = 0; c->options[i]; i++) {
		if (!strncmp(c->options[i], o->name, n) && c->options[i][n] == '=') {
			text = c->options[i] + n + 1;
			v->given = 1;
		}
	}
	if (!text)
		return 0;
	v->string = text;
	v->real = strtod(text, NULL);
	v->integer = (int64_t)v->real;
	if (o->type == PERCEPT_OPTION_BOOL)
		v->integer = !strcmp(text, "true") || !strcmp(text, "yes") || !strcmp(text, "on") || !strcmp(text, "1");
	c->n_values++;
	return 0;
}

/* open(), on any model. */
static int check_open_raw(struct check *c, const char *model, void **instance)
{
	const struct check_ops *ops = check_ops(c);

	c->n_values = 0;
	for (uint32_t i = 0; i < ops->n_options && c->n_values < CHECK_VALUES; i++)
		check_value(c, &ops->options[i]);
	const struct percept_open open = { .size = sizeof(open), .n_values = c->n_values, .values = c->values, .model = model,
					   .role = check_kinds[c->plugin->kind].name, .assistant = "check", .max_sequences = 4 };

	return ops->open(check_host_begin(&c->host), &open, instance);
}

enum check_verdict check_open(struct check *c, const char *model, void **instance)
{
	const enum check_verdict v = check_operations(c);

	*instance = NULL;
	if (v != CHECK_OK)
		return v;
	const int r = check_open_raw(c, model, instance);

	if (r > 0)
		return check_no(c, "open returned %d; it returns 0 or a negative errno.", r);
	if (r && !c->model)
		return check_skip(c, "it does not open without a model (name one by --model): %s", c->host.text);
	if (r)
		return check_no(c, "open failed: %s", c->host.text[0] ? c->host.text : "and gave no reason");
	return *instance ? CHECK_OK : check_no(c, "open returned 0 and left the instance NULL.");
}

/* open() on a model that is no model: refused with a sentence, or not looked at. */
static enum check_verdict check_bad_model(struct check *c, const char *model, const char *what)
{
	void *instance = NULL;
	const int r = check_open_raw(c, model, &instance);

	if (r > 0)
		return check_no(c, "open returned %d on %s; it returns 0 or a negative errno.", r, what);
	if (!r)
		check_ops(c)->close(instance);
	if (r && !c->host.text[0])
		return check_no(c, "open refused %s with %d, and gave no reason by percept_fail().", what, r);
	return CHECK_OK;
}

enum check_verdict check_missing_model(struct check *c)
{
	enum check_verdict v = check_operations(c);

	if (v == CHECK_OK)
		v = check_bad_model(c, NULL, "no model");
	return v == CHECK_OK ? check_bad_model(c, "/nonexistent/percept/model", "a model that does not exist") : v;
}

static void check_write(const char *folder, const char *file, const char *text, size_t n)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	FILE *f = fopen(path, "we");

	if (!f)
		return;
	fwrite(text, 1, n, f);
	fclose(f);
}

enum check_verdict check_damaged_model(struct check *c)
{
	/* Contents of config.json and of model.safetensors. The second length reaches behind the file's end. */
	static const char *const configs[] = { "", "{", "{}", "[1]", "{\"model_type\":7,\"hidden_size\":-1}",
					       "{\"model_type\":\"llama\",\"hidden_size\":1e300,\"num_hidden_layers\":4000000000}" };
	static const char weights[] = "\377\377\377\377\377\377\377\177{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
	char folder[] = "/tmp/percept-check-XXXXXX", file[64];
	enum check_verdict v = check_operations(c);

	if (v == CHECK_OK && !mkdtemp(folder))
		return check_no(c, "A folder in /tmp cannot be made.");
	for (size_t i = 0; v == CHECK_OK && i < sizeof(configs) / sizeof(configs[0]); i++) {
		check_write(folder, "config.json", configs[i], strlen(configs[i]));
		check_write(folder, "model.safetensors", weights, i % 2 ? sizeof(weights) - 1 : 7);
		v = check_bad_model(c, folder, "a damaged model");
	}
	static const char *const files[] = { "config.json", "model.safetensors" };

	for (size_t i = 0; i < 2; i++) {
		snprintf(file, sizeof(file), "%s/%s", folder, files[i]);
		unlink(file);
	}
	rmdir(folder);
	return v;
}

/* What an instance says of itself: an identity, and the sizes that cannot be 0. */
enum check_verdict check_info(struct check *c)
{
	union {
		struct percept_encoder_info encoder;
		struct percept_connector_info connector;
		struct percept_fusion_info fusion;
		struct percept_decoder_info decoder;
	} info;
	void *instance;
	const enum check_verdict v = check_open(c, c->model, &instance);
	const char *identity = NULL;
	int r = 0, dims = 1;

	if (v != CHECK_OK)
		return v;
	memset(&info, 0, sizeof(info));
	if (c->plugin->kind == PERCEPT_ENCODER) {
		info.encoder.size = sizeof(info.encoder);
		r = ((const struct percept_encoder *)c->plugin->ops)->info(instance, &info.encoder);
		identity = info.encoder.identity;
		dims = info.encoder.dim && info.encoder.modalities && info.encoder.max_tokens;
	} else if (c->plugin->kind == PERCEPT_CONNECTOR) {
		info.connector.size = sizeof(info.connector);
		r = ((const struct percept_connector *)c->plugin->ops)->info(instance, &info.connector);
		identity = info.connector.identity;
		dims = info.connector.out_dim && info.connector.position_components;
	} else if (c->plugin->kind == PERCEPT_FUSION) {
		info.fusion.size = sizeof(info.fusion);
		r = ((const struct percept_fusion *)c->plugin->ops)->info(instance, &info.fusion);
		identity = info.fusion.identity;
		dims = info.fusion.d_model != 0;
	} else if (c->plugin->kind == PERCEPT_DECODER) {
		info.decoder.size = sizeof(info.decoder);
		r = ((const struct percept_decoder *)c->plugin->ops)->info(instance, &info.decoder);
		identity = info.decoder.identity;
		dims = info.decoder.vocab && info.decoder.d_model && info.decoder.context && info.decoder.max_batch;
	} else {
		check_ops(c)->close(instance);
		return check_skip(c, "there is no check of this kind's info yet");
	}
	const int named = identity && identity[0];

	check_ops(c)->close(instance);
	if (r)
		return check_no(c, "info returned %d.", r);
	if (!named)
		return check_no(c, "info gives no identity; caches need one that names weights, preprocessing and options.");
	return dims ? CHECK_OK : check_no(c, "info leaves a size 0 that cannot be: a dimension, the vocabulary, the context.");
}

enum check_verdict check_double_open(struct check *c)
{
	void *first, *second;
	enum check_verdict v = check_open(c, c->model, &first);

	if (v != CHECK_OK)
		return v;
	v = check_open(c, c->model, &second);
	if (v == CHECK_OK && first == second)
		return check_no(c, "Two opens gave the same instance.");
	/* Closed in the order of opening, so that the second must live on without the first. */
	check_ops(c)->close(first);
	if (v == CHECK_OK)
		check_ops(c)->close(second);
	return v;
}

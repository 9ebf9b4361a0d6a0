/* loader.c - opens a plugin's shared object and checks what it exports. */
#include "daemon/engine/loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What each kind must have. */
#define LOADER_MEMBER(type, member) {offsetof(struct type, member), #member}
#define LOADER_END {0, NULL}
struct loader_member {
	size_t offset;
	const char *name;
};
static const struct loader_member loader_encoder[] = {
	LOADER_MEMBER(percept_encoder, open), LOADER_MEMBER(percept_encoder, close), LOADER_MEMBER(percept_encoder, info),
	LOADER_MEMBER(percept_encoder, encode), LOADER_END,
};
static const struct loader_member loader_connector[] = {
	LOADER_MEMBER(percept_connector, open), LOADER_MEMBER(percept_connector, close),
	LOADER_MEMBER(percept_connector, info), LOADER_MEMBER(percept_connector, connect), LOADER_END,
};
static const struct loader_member loader_fusion[] = {
	LOADER_MEMBER(percept_fusion, open), LOADER_MEMBER(percept_fusion, close), LOADER_MEMBER(percept_fusion, info),
	LOADER_MEMBER(percept_fusion, remember), LOADER_MEMBER(percept_fusion, forget), LOADER_MEMBER(percept_fusion, bind),
	LOADER_MEMBER(percept_fusion, hooks), LOADER_END,
};
static const struct loader_member loader_decoder[] = {
	LOADER_MEMBER(percept_decoder, open), LOADER_MEMBER(percept_decoder, close), LOADER_MEMBER(percept_decoder, info),
	LOADER_MEMBER(percept_decoder, step), LOADER_MEMBER(percept_decoder, sequence_new),
	LOADER_MEMBER(percept_decoder, sequence_free), LOADER_MEMBER(percept_decoder, sequence_bytes), LOADER_END,
};
static const struct loader_member loader_remote[] = {
	LOADER_MEMBER(percept_remote, open), LOADER_MEMBER(percept_remote, close), LOADER_MEMBER(percept_remote, respond),
	LOADER_END,
};
static const struct loader_member loader_expert[] = {
	LOADER_MEMBER(percept_expert, open), LOADER_MEMBER(percept_expert, close), LOADER_MEMBER(percept_expert, info),
	LOADER_MEMBER(percept_expert, read), LOADER_END,
};
static const struct loader_member loader_generator[] = {
	LOADER_MEMBER(percept_generator, open), LOADER_MEMBER(percept_generator, close),
	LOADER_MEMBER(percept_generator, info), LOADER_MEMBER(percept_generator, generate), LOADER_END,
};

static const struct {
	const char *name;
	const struct loader_member *members;
} loader_kinds[] = {
	[PERCEPT_ENCODER] = {"encoder", loader_encoder},
	[PERCEPT_CONNECTOR] = {"connector", loader_connector},
	[PERCEPT_FUSION] = {"fusion", loader_fusion},
	[PERCEPT_DECODER] = {"decoder", loader_decoder},
	[PERCEPT_REMOTE] = {"remote", loader_remote},
	[PERCEPT_EXPERT] = {"expert", loader_expert},
	[PERCEPT_GENERATOR] = {"generator", loader_generator},
};
#define LOADER_KINDS (sizeof(loader_kinds) / sizeof(loader_kinds[0]))

const char *loader_kind_name(uint32_t kind)
{
	return kind < LOADER_KINDS ? loader_kinds[kind].name : NULL;
}

/* Every operations struct begins so. */
struct loader_ops {
	uint32_t size;
	uint32_t n_options;
	const struct percept_option *options;
};

static int loader_name_is_good(const char *name)
{
	size_t n = strnlen(name, 65);

	return n >= 1 && n <= 64 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static int loader_check_options(const struct loader_ops *ops, char *reason, size_t bytes)
{
	if (ops->n_options > 1024 || (ops->n_options && !ops->options)) {
		snprintf(reason, bytes, "its table of options is not sound");
		return -ENOEXEC;
	}
	for (uint32_t i = 0; i < ops->n_options; i++)
		if (!ops->options[i].name || ops->options[i].type < PERCEPT_OPTION_BOOL ||
		    ops->options[i].type > PERCEPT_OPTION_PATH) {
			snprintf(reason, bytes, "its option number %u has no name or no known type", i + 1);
			return -ENOEXEC;
		}
	return 0;
}

static int loader_check_ops(const struct percept_plugin *api, char *reason, size_t bytes)
{
	const struct loader_ops *ops = api->ops;

	if (!ops) {
		snprintf(reason, bytes, "it has no operations");
		return -ENOEXEC;
	}
	for (const struct loader_member *m = loader_kinds[api->kind].members; m->name; m++) {
		void (*function)(void);

		if (ops->size < m->offset + sizeof(function)) {
			snprintf(reason, bytes, "its operations are %u bytes, too small to have %s(), which every %s needs",
				 ops->size, m->name, loader_kinds[api->kind].name);
			return -ENOEXEC;
		}
		memcpy(&function, (const char *)api->ops + m->offset, sizeof(function));
		if (!function) {
			snprintf(reason, bytes, "it has no %s(), which every %s needs", m->name, loader_kinds[api->kind].name);
			return -ENOEXEC;
		}
	}
	return loader_check_options(ops, reason, bytes);
}

int loader_check(const struct percept_plugin *api, char *reason, size_t bytes)
{
	/* size and abi come first: nothing behind them has a meaning if they are wrong. */
	if (api->abi != PERCEPT_ABI)
		snprintf(reason, bytes, "it was built for plugin ABI %u; this program speaks %u: build it again", api->abi,
			 PERCEPT_ABI);
	else if (api->size < sizeof(struct percept_plugin) || api->size > 65536)
		snprintf(reason, bytes, "its struct percept_plugin says it is %u bytes, but ABI %u has %zu", api->size, PERCEPT_ABI,
			 sizeof(struct percept_plugin));
	else if (!loader_kind_name(api->kind))
		snprintf(reason, bytes, "its kind, %u, is none of the seven", api->kind);
	else if (!api->name || !loader_name_is_good(api->name))
		snprintf(reason, bytes, "its name is not of the form [a-z0-9_]+, at most 64 letters");
	else
		return loader_check_ops(api, reason, bytes);
	return -ENOEXEC;
}

int loader_open(const char *path, struct plugin *plugin)
{
	*plugin = (struct plugin){.path = strdup(path)};
	if (!plugin->path)
		return snprintf(plugin->reason, sizeof(plugin->reason), "memory is out"), -ENOEXEC;
	plugin->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!plugin->handle) {
		const char *why = dlerror();

		snprintf(plugin->reason, sizeof(plugin->reason), "it cannot be loaded: %s", why ? why : "no reason given");
		return -ENOEXEC;
	}
	const struct percept_plugin *api = dlsym(plugin->handle, "percept_plugin");

	if (!api)
		snprintf(plugin->reason, sizeof(plugin->reason), "it does not export the symbol percept_plugin");
	else if (loader_check(api, plugin->reason, sizeof(plugin->reason)) == 0)
		plugin->api = api;
	return plugin->api ? 0 : -ENOEXEC;
}

void loader_close(struct plugin *plugin)
{
	if (plugin->handle)
		dlclose(plugin->handle);
	free(plugin->path);
	*plugin = (struct plugin){0};
}

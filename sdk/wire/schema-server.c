/* schema-server.c - the methods about the daemon itself: hello, status, assistants, plugins, administration. */
#include "sdk/wire/schema-tables.h"

#define COUNT(n) {.name = n, .type = WIRE_INT, .required = 1, .min = 0, .max = WIRE_MAX_INT}
#define TEXT(n) {.name = n, .type = WIRE_STRING, .required = 1}
#define OBJECT(n, members) {.name = n, .type = WIRE_OBJECT, .required = 1, .items = members}

const struct wire_field wire_no_members[] = {{0}};
const struct wire_field wire_empty_result = {.type = WIRE_OBJECT, .items = wire_no_members};

static const struct wire_field text_element = {.type = WIRE_STRING};

/* ---- hello, ping, describe ---- */

static const struct wire_field version_element = {.type = WIRE_INT, .min = 0, .max = WIRE_INT32};
static const struct wire_field client_members[] = {
	{.name = "name", .type = WIRE_STRING, .min = 0, .max = 256},
	{.name = "version", .type = WIRE_STRING, .min = 0, .max = 256},
	{0},
};
static const struct wire_field hello_params[] = {
	{.name = "protocol", .type = WIRE_ARRAY, .required = 1, .min = 1, .max = 64, .items = &version_element},
	{.name = "client", .type = WIRE_OBJECT, .items = client_members},
	{0},
};
static const struct wire_field hello_server[] = {TEXT("name"), TEXT("version"), TEXT("instance"), {0}};
static const struct wire_field hello_peer[] = {
	COUNT("uid"),
	{.name = "role", .type = WIRE_STRING, .required = 1, .choices = "admin|user"},
	{0},
};
static const struct wire_field hello_limits[] = {COUNT("line"), COUNT("tail"), COUNT("fds"), COUNT("inflight"), COUNT("queue"), {0}};
static const struct wire_field hello_result_members[] = {
	COUNT("protocol"),
	OBJECT("server", hello_server),
	OBJECT("peer", hello_peer),
	{.name = "features", .type = WIRE_ARRAY, .required = 1, .items = &text_element},
	OBJECT("limits", hello_limits),
	{0},
};
static const struct wire_field hello_result = {.type = WIRE_OBJECT, .items = hello_result_members};
static const int hello_errors[] = {WIRE_VERSION, 0};

const struct wire_method wire_method_hello = {
	"hello", WIRE_USER, 1, hello_params, &hello_result, NULL, hello_errors,
	"Agrees on a protocol version; optional, and first if it is sent.",
};
const struct wire_method wire_method_ping = {
	"ping", WIRE_USER, 1, wire_no_members, &wire_empty_result, NULL, NULL, "Answers at once.",
};

static const struct wire_field describe_params[] = {
	{.name = "method", .type = WIRE_STRING, .help = "one method instead of all"},
	{0},
};
static const struct wire_field describe_result_members[] = {
	COUNT("protocol"),
	{.name = "methods", .type = WIRE_ANY, .required = 1,
	 .help = "by name: params, result, notifications as JSON Schema 2020-12, and errors"},
	{0},
};
static const struct wire_field describe_result = {.type = WIRE_OBJECT, .items = describe_result_members};
static const int describe_errors[] = {WIRE_NOT_FOUND, 0};

const struct wire_method wire_method_describe = {
	"describe", WIRE_USER, 1, describe_params, &describe_result, NULL, describe_errors,
	"Describes the methods, from the table that checks them.",
};

/* ---- status ---- */

static const struct wire_field status_assistant_members[] = {
	TEXT("name"),
	TEXT("state"),
	{.name = "pid", .type = WIRE_INT},
	{.name = "modalities", .type = WIRE_ARRAY, .items = &text_element},
	{.name = "memory_bytes", .type = WIRE_INT},
	COUNT("inflight"),
	COUNT("queued"),
	{0},
};
static const struct wire_field status_assistant = {.type = WIRE_OBJECT, .items = status_assistant_members};
static const struct wire_field status_cache[] = {COUNT("entries"), COUNT("bytes"), COUNT("hits"), COUNT("misses"), {0}};
static const struct wire_field status_requests[] = {COUNT("done"), COUNT("failed"), COUNT("cancelled"), {0}};
static const struct wire_field status_result_members[] = {
	TEXT("version"),
	COUNT("pid"),
	{.name = "uptime_s", .type = WIRE_NUMBER, .required = 1},
	COUNT("generation"),
	{.name = "assistants", .type = WIRE_ARRAY, .required = 1, .items = &status_assistant},
	COUNT("connections"),
	OBJECT("cache", status_cache),
	OBJECT("requests", status_requests),
	{.name = "stages", .type = WIRE_ANY, .required = 1, .help = "by stage: {count, seconds}"},
	{.name = "last_reload", .type = WIRE_ANY, .required = 1},
	{0},
};
static const struct wire_field status_result = {.type = WIRE_OBJECT, .items = status_result_members};

const struct wire_method wire_method_status = {
	"status", WIRE_USER, 1, wire_no_members, &status_result, NULL, NULL, "Tells how the daemon and its assistants are.",
};

/* ---- assistants, plugins ---- */

static const struct wire_field module_members[] = {
	TEXT("role"),
	TEXT("plugin"),
	{.name = "model", .type = WIRE_ANY, .help = "text, or null"},
	{0},
};
static const struct wire_field module = {.type = WIRE_OBJECT, .items = module_members};
static const struct wire_field assistant_members[] = {
	TEXT("name"),
	TEXT("state"),
	{.name = "inputs", .type = WIRE_ARRAY, .items = &text_element},
	{.name = "outputs", .type = WIRE_ARRAY, .items = &text_element},
	{.name = "modules", .type = WIRE_ARRAY, .items = &module},
	{.name = "context", .type = WIRE_INT},
	{.name = "fusion", .type = WIRE_ANY, .help = "\"token\", \"feature\", \"token+feature\" or \"none\""},
	{0},
};
static const struct wire_field assistant = {.type = WIRE_OBJECT, .items = assistant_members};
static const struct wire_field assistant_list_result = {.type = WIRE_ARRAY, .items = &assistant};

const struct wire_method wire_method_assistant_list = {
	"assistant.list", WIRE_USER, 1, wire_no_members, &assistant_list_result, NULL, NULL, "Lists the assistants.",
};

static const struct wire_field named_params[] = {
	{.name = "assistant", .type = WIRE_STRING, .required = 1},
	{0},
};
static const int load_errors[] = {WIRE_FORBIDDEN, WIRE_NOT_READY, WIRE_PLUGIN, WIRE_NOT_FOUND, WIRE_SHUTDOWN, WIRE_MODEL, 0};

const struct wire_method wire_method_assistant_load = {
	"assistant.load", WIRE_ADMIN, 1, named_params, &assistant, NULL, load_errors, "Starts an assistant.",
};
const struct wire_method wire_method_assistant_unload = {
	"assistant.unload", WIRE_ADMIN, 1, named_params, &assistant, NULL, load_errors,
	"Lets an assistant's requests end, and stops it.",
};

static const struct wire_field plugin_members[] = {
	TEXT("name"),
	TEXT("kind"),
	TEXT("version"),
	COUNT("abi"),
	TEXT("path"),
	TEXT("license"),
	{.name = "state", .type = WIRE_STRING, .required = 1, .help = "\"usable\", or why it is refused"},
	{0},
};
static const struct wire_field plugin = {.type = WIRE_OBJECT, .items = plugin_members};
static const struct wire_field plugin_list_result = {.type = WIRE_ARRAY, .items = &plugin};
static const int plugin_errors[] = {WIRE_PLUGIN, 0};

const struct wire_method wire_method_plugin_list = {
	"plugin.list", WIRE_USER, 1, wire_no_members, &plugin_list_result, NULL, plugin_errors, "Lists the plugins that were found.",
};

/* ---- administration ---- */

static const int admin_errors[] = {WIRE_FORBIDDEN, WIRE_NOT_FOUND, 0};
static const struct wire_field reload_result = {.type = WIRE_ANY, .help = "what was changed"};
static const struct wire_field level_params[] = {
	{.name = "level", .type = WIRE_STRING, .required = 1, .choices = "error|warn|info|debug"},
	{0},
};

const struct wire_method wire_method_config_reload = {
	"config.reload", WIRE_ADMIN, 1, wire_no_members, &reload_result, NULL, admin_errors,
	"Reads the configuration again; on any error the old one stays.",
};
const struct wire_method wire_method_shutdown = {
	"shutdown", WIRE_ADMIN, 1, wire_no_members, &wire_empty_result, NULL, admin_errors,
	"Lets the requests in flight end, and ends the daemon.",
};
const struct wire_method wire_method_log_level = {
	"log.level", WIRE_ADMIN, 1, level_params, &wire_empty_result, NULL, admin_errors, "Sets how much is logged.",
};

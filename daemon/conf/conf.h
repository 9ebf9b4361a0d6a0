/* conf.h - the configuration: read, checked, resolved, compared. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cjson/cJSON.h>

/* Numbers are kept as they are used: bytes, milliseconds, counts. */
struct conf_daemon {
	uint64_t threads;        /* 0: as many as there are processors */
	uint64_t encode_threads; /* 0: chosen by the engine */
	char *models;            /* folders, colon-separated; NULL: none named */
	char *plugins;
	uint64_t stall_ms;       /* of a step with prompts, an engine */
	uint64_t cache_bytes;    /* of embeddings, an assistant */
	char *features;          /* "auto", "off", or a folder */
	uint64_t features_bytes;
	uint64_t log;            /* enum log_level; CONF_UNSET: PERCEPT_LOG decides */
	uint64_t max_line, max_tail;
	uint64_t max_connections, max_connections_other;
	uint64_t max_inflight, max_running, max_queued;
	uint64_t write_merge, write_high, write_high_ms, write_most, read_waiting;
	uint64_t start_ms, hang_ms, drain_ms;
	uint64_t media_workers, media_pixels, media_side, media_bytes, media_ms, media_seconds, media_memory;
	uint64_t media_background; /* 0xRRGGBB; CONF_UNSET: alpha is dropped */
};
#define CONF_UNSET UINT64_MAX

struct conf_option {
	char *name;
	char *value;
};

/* One line of an assistant: role = plugin model=... option=... */
struct conf_part {
	char *role;
	char *plugin;
	char *model; /* resolved, absolute; NULL: none */
	struct conf_option *options;
	size_t n_options;
	int line;
};

struct conf_assistant {
	char *name;
	char *model;        /* a bundle: resolved, absolute (as written if it was not found and nobody wrote it); NULL: none */
	char *mmproj;       /* the GGUF file of its picture tower: resolved, absolute; or "none"; NULL: the one beside the model */
	char *instructions; /* NULL: none */
	uint64_t context;   /* 0: the model's own */
	uint64_t autoload;
	struct conf_part *parts;
	size_t n_parts;
	int line, model_line, mmproj_line; /* 0: nobody wrote it */
};

/* Owns all that it points to. Never changed once loaded. */
struct conf {
	char *file; /* NULL: there is none, these are the defaults */
	struct conf_daemon daemon;
	struct conf_assistant *assistants;
	size_t n_assistants;
	char *model_path;  /* folders, colon-separated, resolved */
	char *plugin_path;
};

struct conf_error {
	char text[1024]; /* "file:line: what, and what was expected" */
};

/* Reads `path`; if NULL $PERCEPT_CONFIG, else the first that exists of $XDG_CONFIG_HOME/percept/perceptd.conf and
 * /etc/percept/perceptd.conf, else the defaults. The caller owns the result. NULL and *error. [loop] */
struct conf *conf_load(const char *path, struct conf_error *error);
/* The same from a text; `file` names it in messages. Model names are resolved only if `resolve`. [loop] */
struct conf *conf_parse(const char *file, const char *text, size_t n, bool resolve, struct conf_error *error);
void conf_free(struct conf *conf);

/* NULL if there is none of that name. [any] */
const struct conf_assistant *conf_assistant_named(const struct conf *conf, const char *name);
/* What engine.open is given: the resolved assistant. A new object; NULL when memory is out. [any] */
cJSON *conf_assistant_json(const struct conf *conf, const struct conf_assistant *assistant);
/* True if an engine started for one serves the other as well. False too when memory is out. [any] */
bool conf_assistant_same(const struct conf *a, const struct conf_assistant *of_a, const struct conf *b,
			 const struct conf_assistant *of_b);

#endif

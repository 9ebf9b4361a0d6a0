/* keys.c - the table of keys, and the values that they take. */
#include "daemon/conf/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define DAEMON(key, member, type, min, max, fallback, help)                                                            \
	{CONF_DAEMON, key, type, offsetof(struct conf_daemon, member), min, max, fallback, help}
#define ASSISTANT(key, member, type, min, max, fallback, help)                                                         \
	{CONF_ASSISTANT, key, type, offsetof(struct conf_assistant, member), min, max, fallback, help}

const struct conf_key conf_keys[] = {
	DAEMON("threads", threads, CONF_AUTO, 1, 1024, "auto", "threads that compute, an engine"),
	DAEMON("encode_threads", encode_threads, CONF_AUTO, 1, 1024, "auto", "threads that encode media, an engine"),
	DAEMON("models", models, CONF_FOLDERS, 0, 0, NULL, "folders of models"),
	DAEMON("plugins", plugins, CONF_FOLDERS, 0, 0, NULL, "folders of plugins"),
	DAEMON("cache", cache_bytes, CONF_SIZE, 0, 1024 * GIB, "256M", "embeddings kept, an assistant"),
	DAEMON("features", features, CONF_TEXT, 0, 0, "auto", "where engines share what encoders gave: auto, off, or a folder"),
	DAEMON("features_size", features_bytes, CONF_SIZE, 0, 1024 * GIB, "512M", "kept of it"),
	DAEMON("log", log, CONF_LEVEL, 0, 3, NULL, "error, warn, info or debug"),
	DAEMON("stall", stall_ms, CONF_TIME, 1, 3600000, "200ms", "that a long prompt may hold up other answers"),
	DAEMON("max_line", max_line, CONF_SIZE, 4 * KIB, 64 * MIB, "1M", "a request's line"),
	DAEMON("max_tail", max_tail, CONF_SIZE, 4 * KIB, 64 * MIB, "64M", "a request's binary data"),
	DAEMON("max_connections", max_connections, CONF_COUNT, 1, 1000000, "4096", "connections"),
	DAEMON("max_connections_other", max_connections_other, CONF_COUNT, 1, 1000000, "128",
	       "connections of one user other than the daemon's own"),
	DAEMON("max_inflight", max_inflight, CONF_COUNT, 1, 65536, "16", "requests in flight, a connection"),
	DAEMON("max_running", max_running, CONF_COUNT, 1, 4096, "64", "requests running, an assistant"),
	DAEMON("max_queued", max_queued, CONF_COUNT, 0, 1000000, "256", "requests waiting, an assistant"),
	DAEMON("write_merge", write_merge, CONF_SIZE, 1, GIB, "64K", "from so much unread on, deltas are merged"),
	DAEMON("write_high", write_high, CONF_SIZE, 1, GIB, "1M", "so much unread is suffered for write_high_time only"),
	DAEMON("write_high_time", write_high_ms, CONF_TIME, 1, 86400000, "10s", "then the connection is closed"),
	DAEMON("write_most", write_most, CONF_SIZE, 1, GIB, "8M", "with so much unread the connection is closed at once"),
	DAEMON("read_waiting", read_waiting, CONF_SIZE, 1, GIB, "4M", "with so much waiting a client is not read from"),
	DAEMON("start_time", start_ms, CONF_TIME, 1000, 86400000, "2min", "that an engine may take to start"),
	DAEMON("hang_time", hang_ms, CONF_TIME, 100, 86400000, "30s", "after which an engine that does not answer is ended"),
	DAEMON("drain_time", drain_ms, CONF_TIME, 0, 86400000, "30s", "that requests are given to end at shutdown"),
	DAEMON("media_workers", media_workers, CONF_AUTO, 1, 256, "auto", "media items decoded at a time"),
	DAEMON("media_megapixels", media_pixels, CONF_MEGA, 1000000, 1000000000, "67", "the largest picture"),
	DAEMON("media_side", media_side, CONF_COUNT, 1, 65535, "32768", "its longest side"),
	DAEMON("media_bytes", media_bytes, CONF_SIZE, 1, GIB, "128M", "the largest media file"),
	DAEMON("media_time", media_ms, CONF_TIME, 1, 86400000, "20s", "that decoding an item may take"),
	DAEMON("media_seconds", media_seconds, CONF_SECONDS, 1, 86400, "10min", "the longest sound or film"),
	DAEMON("media_memory", media_memory, CONF_SIZE, 16 * MIB, 64 * GIB, "2G", "that a media worker may use"),
	DAEMON("background", media_background, CONF_COLOUR, 0, 0xffffff, "none", "laid under transparent pictures"),
	ASSISTANT("model", model, CONF_MODEL, 0, 0, NULL, "a bundle: several parts in one folder"),
	ASSISTANT("mmproj", mmproj, CONF_MODEL, 0, 0, NULL, "the GGUF file of the model's picture tower, or none"),
	ASSISTANT("instructions", instructions, CONF_TEXT, 0, 0, NULL, "system text, before a request's own"),
	ASSISTANT("context", context, CONF_AUTO, 16, 16777216, "auto", "tokens of a conversation"),
	ASSISTANT("autoload", autoload, CONF_YES, 0, 1, "yes", "start it with the daemon"),
	{0},
};

const struct conf_key *conf_key_named(enum conf_section section, const char *name)
{
	for (const struct conf_key *key = conf_keys; key->name; key++)
		if (key->section == section && strcmp(key->name, name) == 0)
			return key;
	return NULL;
}

/* ---- values ---- */

struct conf_unit {
	const char *name;
	uint64_t factor;
};
static const struct conf_unit units_none[] = {{"", 1}, {NULL, 0}};
static const struct conf_unit units_size[] = {{"", 1}, {"K", KIB}, {"M", MIB}, {"G", GIB}, {"T", 1024 * GIB}, {NULL, 0}};
static const struct conf_unit units_time[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct conf_unit units_seconds[] = {{"s", 1}, {"min", 60}, {"h", 3600}, {NULL, 0}};
static const struct conf_unit units_mega[] = {{"", 1000000}, {NULL, 0}};

/* A whole number and a unit. False if it is none or does not fit. */
static bool conf_number(const char *text, const struct conf_unit *units, uint64_t *out)
{
	uint64_t n = 0;
	if (!isdigit((unsigned char)*text))
		return false;
	for (; isdigit((unsigned char)*text); text++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			return false;
	for (; units->name; units++)
		if (strcmp(units->name, text) == 0)
			return !__builtin_mul_overflow(n, units->factor, out);
	return false;
}

static bool conf_yes(const char *text, uint64_t *out)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], text) == 0) {
			*out = i & 1;
			return true;
		}
	return false;
}

static bool conf_colour(const char *text, uint64_t *out)
{
	if (strcmp(text, "none") == 0) {
		*out = CONF_UNSET;
		return true;
	}
	text += *text == '#'; /* in quotes: it would begin a comment */
	if (strlen(text) != 6 || strspn(text, "0123456789abcdefABCDEF") != 6)
		return false;
	*out = strtoull(text, NULL, 16);
	return true;
}

static bool conf_level(const char *text, uint64_t *out)
{
	int level = log_level_named(text);
	*out = (uint64_t)level;
	return level >= 0;
}

/* How a value of each type is read and what to say if it cannot be. `units` and `read` are alternatives; texts have
 * neither. */
static const struct {
	const struct conf_unit *units;
	bool (*read)(const char *text, uint64_t *out);
	const char *noun;
	bool automatic; /* "auto" is 0 */
	uint64_t scale; /* of limits in messages */
	const char *unit;
} conf_types[] = {
	[CONF_COUNT] = {units_none, NULL, "a whole number", false, 1, ""},
	[CONF_AUTO] = {units_none, NULL, "auto or a whole number", true, 1, ""},
	[CONF_SIZE] = {units_size, NULL, "a number of bytes (or with K, M, G, T)", false, 1, ""},
	[CONF_TIME] = {units_time, NULL, "a time with its unit (ms, s, min, h)", false, 1, "ms"},
	[CONF_SECONDS] = {units_seconds, NULL, "a time with its unit (s, min, h)", false, 1, "s"},
	[CONF_MEGA] = {units_mega, NULL, "a whole number of millions", false, 1000000, ""},
	[CONF_YES] = {NULL, conf_yes, "yes or no", false, 1, ""},
	[CONF_COLOUR] = {NULL, conf_colour, "none or a colour as RRGGBB", false, 1, ""},
	[CONF_LEVEL] = {NULL, conf_level, "error, warn, info or debug", false, 1, ""},
	[CONF_TEXT] = {NULL, NULL, "a text", false, 1, ""},
	[CONF_FOLDERS] = {NULL, NULL, "folders, separated by colons", false, 1, ""},
	[CONF_MODEL] = {NULL, NULL, "the name or path of a model", false, 1, ""},
};

static int conf_set_text(char **member, const char *value)
{
	char *copy = strdup(value);
	if (copy == NULL)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

int conf_key_set(const struct conf_key *key, void *base, const char *value, char expected[160])
{
	void *member = (char *)base + key->offset;
	const char *noun = conf_types[key->type].noun, *unit = conf_types[key->type].unit;
	uint64_t n, scale = conf_types[key->type].scale;
	if (*value == '\0') {
		snprintf(expected, 160, "%s", noun);
		return -EINVAL;
	}
	if (conf_types[key->type].units == NULL && conf_types[key->type].read == NULL)
		return conf_set_text(member, value);
	if (conf_types[key->type].automatic && strcmp(value, "auto") == 0) {
		*(uint64_t *)member = 0;
		return 0;
	}
	bool read = conf_types[key->type].units ? conf_number(value, conf_types[key->type].units, &n)
						: conf_types[key->type].read(value, &n);
	if (read && (conf_types[key->type].read || (n >= key->min && n <= key->max))) {
		*(uint64_t *)member = n;
		return 0;
	}
	if (conf_types[key->type].read)
		snprintf(expected, 160, "%s", noun);
	else
		snprintf(expected, 160, "%s from %llu%s to %llu%s", noun, (unsigned long long)(key->min / scale), unit,
			 (unsigned long long)(key->max / scale), unit);
	return -EINVAL;
}

static bool conf_is_text(const struct conf_key *key)
{
	return key->type == CONF_TEXT || key->type == CONF_FOLDERS || key->type == CONF_MODEL;
}

int conf_keys_defaults(enum conf_section section, void *base)
{
	char expected[160];
	for (const struct conf_key *key = conf_keys; key->name; key++) {
		if (key->section != section)
			continue;
		if (key->fallback) {
			int rc = conf_key_set(key, base, key->fallback, expected);
			if (rc < 0)
				return rc;
		} else if (!conf_is_text(key)) {
			*(uint64_t *)(void *)((char *)base + key->offset) = CONF_UNSET;
		}
	}
	return 0;
}

void conf_keys_fini(enum conf_section section, void *base)
{
	for (const struct conf_key *key = conf_keys; key->name; key++) {
		char **member = (char **)(void *)((char *)base + key->offset);
		if (key->section != section || !conf_is_text(key))
			continue;
		free(*member);
		*member = NULL;
	}
}

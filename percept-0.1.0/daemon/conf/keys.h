/* keys.h - the table of keys. Inside daemon/conf only (and its tests). */
#ifndef CONF_KEYS_H
#define CONF_KEYS_H

#include "daemon/conf/conf.h"

enum conf_type {
	CONF_COUNT,    /* a number */
	CONF_AUTO,     /* a number, or "auto" (0) */
	CONF_SIZE,     /* bytes, with K, M, G, T */
	CONF_TIME,     /* with ms, s, min, h */
	CONF_SECONDS,  /* the same, kept in seconds */
	CONF_MEGA,     /* millions, kept in ones */
	CONF_YES,      /* yes or no */
	CONF_COLOUR,   /* "none" or RRGGBB */
	CONF_LEVEL,    /* a log level */
	CONF_TEXT,
	CONF_FOLDERS,  /* colon-separated */
	CONF_MODEL,    /* a name to be found among the models */
};

enum conf_section { CONF_DAEMON, CONF_ASSISTANT };

struct conf_key {
	enum conf_section section;
	const char *name;
	enum conf_type type;
	size_t offset;        /* in struct conf_daemon or struct conf_assistant: uint64_t or char * */
	uint64_t min, max;    /* as kept */
	const char *fallback; /* as one would write it; NULL: unset */
	const char *help;
};

extern const struct conf_key conf_keys[]; /* NULL-name-terminated */
const struct conf_key *conf_key_named(enum conf_section section, const char *name);
/* All members of a section's struct to what the table says; 0 or -ENOMEM. */
int conf_keys_defaults(enum conf_section section, void *base);
/* Sets one member. 0, -ENOMEM, or -EINVAL and in `expected` what was expected. */
int conf_key_set(const struct conf_key *key, void *base, const char *value, char expected[160]);
/* Frees the texts. */
void conf_keys_fini(enum conf_section section, void *base);

/* "plugin model=x option=y": fills plugin, model (as written), options. 0, -ENOMEM, or -EINVAL and `why`. */
int conf_part_parse(struct conf_part *part, const char *text, char why[160]);
void conf_part_fini(struct conf_part *part);
/* True if it is a role of a part: "decoder", "image.encoder", ... */
bool conf_is_role(const char *name);

#endif

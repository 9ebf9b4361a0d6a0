/* settings.h - what the configuration says to perceptd, checked and complete. */
#ifndef SERVE_SETTINGS_H
#define SERVE_SETTINGS_H

#include <stddef.h>
#include <stdint.h>
#include <cjson/cJSON.h>

#include "sdk/wire/frame.h"

struct settings {
	struct wire_limits client;    /* what clients may send */
	unsigned connections;         /* all */
	unsigned foreign_connections; /* of one uid other than the daemon's own */
	unsigned inflight;            /* requests a connection */
	unsigned running, queued;     /* requests an assistant */
	size_t write_merge, write_high, write_most, read_waiting; /* bytes */
	unsigned write_high_ms;
	unsigned drain_ms;            /* at the end */
	unsigned hang_ms;             /* an engine that does not answer */
	unsigned start_ms;            /* for an engine to become ready */
	unsigned media_ms;
	uint64_t media_pixels, media_bytes;
	uint32_t media_side, media_workers, media_background;
	int log;                      /* enum log_level, or -1 */
	char *plugin_path;
	cJSON *assistants;            /* resolved ones */
	cJSON *idle;                  /* names of those that are not to be started */
};

/* Reads the configuration at `path` (NULL: where it is looked for, or the default one). 0, or a code in *error. [loop] */
int settings_load(const char *path, struct settings *settings, struct wire_error *error);
void settings_fini(struct settings *settings);

#endif

/* settings.h - what the configuration says to perceptd, checked and complete. */
#ifndef SERVE_SETTINGS_H
#define SERVE_SETTINGS_H

#include <stdint.h>
#include <cjson/cJSON.h>

#include "sdk/wire/frame.h"

struct settings {
	unsigned connections;         /* all */
	unsigned foreign_connections; /* of one uid other than the daemon's own */
	unsigned inflight;            /* requests a connection */
	unsigned running, queued;     /* requests an assistant */
	unsigned drain_ms;            /* at the end */
	unsigned hang_ms;             /* an engine that does not answer */
	unsigned open_ms;             /* for an engine to become ready */
	unsigned media_ms;
	uint64_t media_max_pixels;
	uint32_t media_max_side;
	uint32_t media_background;
	cJSON *assistants;            /* resolved ones */
};

/* Reads the configuration at `path` (NULL: where it is looked for, or the default one). 0, or a code in *error. [loop] */
int settings_load(const char *path, struct settings *settings, struct wire_error *error);
void settings_fini(struct settings *settings);

#endif

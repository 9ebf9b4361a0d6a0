/* scan.h - which plugins there are, asked of an engine that opens no assistant. */
#ifndef ASSIST_SCAN_H
#define ASSIST_SCAN_H

#include <cjson/cJSON.h>

#include "daemon/assist/assist.h"

/* The answer of plugin.list (borrowed), or NULL and *error. */
typedef void scan_told(void *arg, const cJSON *plugins, const struct wire_error *error);

/* Asks; `told` is called once, now (from what is known) or later. [loop] */
void scan_plugins(struct assist *home, scan_told *told, void *arg);
/* What is known is old: the next question is asked anew. [loop] */
void scan_forget(struct assist *home);

#endif

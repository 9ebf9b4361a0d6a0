/* host.h - a plugin from the build tree under percept check's host. */
#ifndef TESTS_PLUGINS_HOST_H
#define TESTS_PLUGINS_HOST_H

#include <percept/plugin.h>

#include "sdk/tool/check-host.h"

/* Loads the plugin of that name; ends the test program with a message if it cannot. */
const struct percept_plugin *host_load(const char *name);
/* The folder of golden vectors `name`, or the bundled model. Lives in `path`. */
const char *host_golden(const char *name, char path[4096]);

#endif

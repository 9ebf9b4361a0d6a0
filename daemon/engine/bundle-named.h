/* bundle-named.h - bundles that are made beside other models, and name their folders. */
#ifndef ENGINE_BUNDLE_NAMED_H
#define ENGINE_BUNDLE_NAMED_H

#include <cjson/cJSON.h>

#include "sdk/wire/frame.h"

/* The plugin of a folder's part in that role; NULL: it has none. */
typedef const char *bundle_named_plugin(const char *folder, const char *role);

/* Adds to `all` the parts whose folders the config.json of `model` names (relative to it), as far as nothing overrides them, with what they
 * are told to be such parts. Other bundles than those that name folders: nothing. 0 or *error. [worker] */
int bundle_named_add(const char *model, const cJSON *config, cJSON *all, bundle_named_plugin *plugin, struct wire_error *error);

#endif

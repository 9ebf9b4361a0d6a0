/* place.h - where the programs, plugins, models and the socket are, installed or in a build tree. */
#ifndef WIRE_PLACE_H
#define WIRE_PLACE_H

#include <limits.h>
#include <stddef.h>

#include "sdk/wire/frame.h"

/* A build tree is recognised by `build-tree.conf` beside the running program (a `.libs` is left out).
 * 1 and both folders if the program runs in one, else 0. Each may be NULL. [any] */
int place_build_tree(char builddir[PATH_MAX], char srcdir[PATH_MAX]);
/* The absolute path of a program of ours ("percept-engine", "perceptd"). 0, or -ENOENT with the path where it should
 * have been. [any] */
int place_program(const char *name, char path[PATH_MAX]);
/* Folders of plugins and of models, first wins: the environment's (PERCEPT_PLUGIN_PATH, PERCEPT_MODELS), those that the
 * configuration names (`configured`, colon-separated, may be NULL), the user's own models, the build tree's or the
 * installed ones. Colon-separated, without doubles, by malloc; NULL when memory is out. [any] */
char *place_plugin_path(const char *configured);
char *place_model_path(const char *configured);
/* Finds `name`, or else the file `name`.gguf, in the colon-separated `folders`; an absolute or "~/" name stands for itself. 0, or
 * -ENOENT. [any] */
int place_find(const char *folders, const char *name, char path[PATH_MAX]);
/* `text` with a leading "~/" made the home folder. 0, or -ENAMETOOLONG. [any] */
int place_expand(const char *text, char path[PATH_MAX]);

/* The daemon's socket: $PERCEPT_SOCKET, $XDG_RUNTIME_DIR/percept/percept.sock, /run/user/UID/percept/percept.sock, or
 * /tmp/percept-UID/percept.sock. 0, or a negative errno and one sentence in *error. [any] */
int wire_socket_path(char *path, size_t size, struct wire_error *error);
/* The same rules for a path that was given. */
int wire_socket_path_check(const char *path, struct wire_error *error);
/* Makes the folder of the socket, if it is one of the last three above, with mode 0700, and refuses one that is not a
 * folder of this user's own or that others can write. 0, or a negative errno and one sentence. [any] */
int wire_socket_folder(const char *path, struct wire_error *error);

#endif

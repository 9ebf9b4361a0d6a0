/* models-pull.h - bringing a file of the catalogue onto this machine. */
#ifndef TOOL_MODELS_PULL_H
#define TOOL_MODELS_PULL_H

#include <limits.h>
#include <stdio.h>

#include "sdk/nn/digest.h"
#include "sdk/tool/progress.h"
#include "sdk/tool/tool.h"

/* A file of the catalogue, on its way: what is there of it lies in `part`. */
struct pull {
	struct tool *tool;
	char path[PATH_MAX], part[PATH_MAX];
	double bytes;       /* that it will have; 0: not known */
	const char *sha256; /* NULL: not known */
	FILE *file;         /* `part`, for appending */
	double have;        /* bytes of it that are there */
	struct progress progress;
};

/* A catalogue entry by name, from the folders "catalogue" of the model folders; NULL if there is none. cJSON_Delete(). */
cJSON *catalogue_find(struct tool *tool, const char *name);
/* A line for each entry, to standard error. */
void catalogue_list(struct tool *tool);

/* Sources. Each goes on where the part ends, or begins anew; 0, or -1 after saying why it failed. */
int pull_url(struct pull *p, const char *url);
int pull_file(struct pull *p, const char *path);
/* `packages`: [{"package", "file"}]: the files whose names end so, one behind the other. */
int pull_python(struct pull *p, const cJSON *packages);

/* Appends; -errno. Shows how far it is. */
int pull_append(struct pull *p, const void *data, size_t n);
/* Forgets what is there. */
int pull_restart(struct pull *p);
/* The file's SHA-256; 0 or -errno. */
int pull_digest(const char *path, char hex[NN_DIGEST_HEX]);

/* model.bin of `folder`, CTranslate2's Whisper, becomes model.safetensors with Hugging Face's names; `kind` is the catalogue's
 * word for it. 0, or -1 after saying why. */
int models_convert_whisper(struct tool *tool, const char *folder, const char *kind);

/* A file or a folder with all that is in it; symbolic links are removed, not followed. 0 or -errno. */
int models_remove_tree(const char *path);

#endif

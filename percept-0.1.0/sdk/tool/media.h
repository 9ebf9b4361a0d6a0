/* media.h - files and standard input as parts of a message. */
#ifndef TOOL_MEDIA_H
#define TOOL_MEDIA_H

#include "sdk/tool/tool.h"

/* What standard input may be used for, once. Begin with all zero. */
struct media_source {
	const struct tool *tool;
	struct percept_input *input;
	int stdin_used;
	int words; /* text parts so far */
};

/* "image", "audio" or "video" by a file's first bytes, "text" for UTF-8, or NULL. */
const char *media_sniff(const void *bytes, size_t n);
/* Adds the file `path`, or standard input for "-". 0, or an exit code after saying why. */
int media_add(struct media_source *s, const char *kind, const char *path);
int media_add_text(struct media_source *s, const char *text);
/* Adds standard input as what it is. Empty input is 0 with nothing added. */
int media_add_stdin(struct media_source *s);
/* True if something may come on standard input that nobody named. */
int media_stdin_piped(const struct media_source *s);

#endif

/* embed.h - what the files of "percept embed" share. */
#ifndef TOOL_EMBED_H
#define TOOL_EMBED_H

#include "sdk/tool/media.h"
#include "sdk/tool/tool.h"

/* "image", "audio" or "video" by the letter of its option. */
const char *embed_kind(int letter);
/* Prints how alike the items are, by their vectors in the encoder's space. An exit code. */
int embed_compare(struct tool *tool, const struct tool_items *words);

#endif

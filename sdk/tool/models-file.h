/* models-file.h - a model file that takes its name only when it is whole. */
#ifndef TOOL_MODELS_FILE_H
#define TOOL_MODELS_FILE_H

#include <limits.h>
#include <stdio.h>

#include "sdk/tool/progress.h"
#include "sdk/tool/tool.h"

/* Written beside the file that it becomes. */
struct models_file {
	char path[PATH_MAX], part[PATH_MAX];
	FILE *file;
};

/* 0, or -1 after saying why. A file of that name that is there already is kept until the end. */
int models_file_begin(struct tool *tool, struct models_file *f, const char *path);
/* error 0: the file takes its name, safe on the disk. Else it is removed, and why is said. 0 or -1. */
int models_file_end(struct tool *tool, struct models_file *f, int error);
/* Says what became of `input`: sizes, or with --json an object. An exit code. */
int models_file_report(struct tool *tool, const char *input, const char *output);

#endif

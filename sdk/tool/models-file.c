/* models-file.c - a model file that takes its name only when it is whole. */
#include "sdk/tool/models-file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int models_file_begin(struct tool *tool, struct models_file *f, const char *path)
{
	if (snprintf(f->path, sizeof f->path, "%s", path) >= (int)sizeof f->path || !*path ||
	    snprintf(f->part, sizeof f->part, "%s.%ld.part", path, (long)getpid()) >= (int)sizeof f->part) {
		tool_say(tool, 0, "The name of the output is too long or empty.");
		return -1;
	}
	f->file = fopen(f->part, "wbe");
	if (!f->file)
		tool_say(tool, 0, "%s cannot be written: %s.", f->part, strerror(errno));
	return f->file ? 0 : -1;
}

int models_file_end(struct tool *tool, struct models_file *f, int error)
{
	if (!error && (fflush(f->file) != 0 || fsync(fileno(f->file)) != 0))
		error = -errno;
	if (fclose(f->file) != 0 && !error)
		error = -errno;
	if (!error && rename(f->part, f->path) != 0)
		error = -errno;
	if (!error)
		return 0;
	unlink(f->part);
	tool_say(tool, 0, "%s was not written: %s.", f->path, strerror(-error));
	return -1;
}

int models_file_report(struct tool *tool, const char *input, const char *output)
{
	struct stat from = {0}, to = {0};
	char was[32], is[32];
	if (stat(input, &from) != 0 || stat(output, &to) != 0)
		return tool_say(tool, TOOL_FAILED, "%s is gone: %s.", output, strerror(errno));
	if (!tool->json) {
		if (S_ISREG(from.st_mode))
			printf("%s: %s, of %s\n", output, tool_bytes((double)to.st_size, is), tool_bytes((double)from.st_size, was));
		else
			printf("%s: %s\n", output, tool_bytes((double)to.st_size, is));
		return TOOL_DONE;
	}
	cJSON *json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "path", output);
	cJSON_AddNumberToObject(json, "bytes", (double)to.st_size);
	cJSON_AddStringToObject(json, "from", input);
	char *text = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	if (!text)
		return tool_no_memory(tool);
	puts(text);
	free(text);
	return TOOL_DONE;
}

/* input.c - messages of text and media, and the options to answer them with. */
#include "sdk/client/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_BYTES_LIMIT (64u << 20) /* of one item that is kept in memory */

static const char *const input_kinds[] = {"image", "audio", "video"};
static const char *const input_roles[] = {"user", "system", "assistant"};

static int input_no_memory(struct percept_error *error)
{
	return client_fail(error, -ENOMEM, "Memory is out.");
}

static void input_file_fini(struct client_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file->bytes);
}

struct percept_input *percept_input_new(void)
{
	struct percept_input *in = calloc(1, sizeof *in);
	if (!in)
		return NULL;
	in->options = cJSON_CreateObject();
	in->messages = cJSON_CreateArray();
	if (in->options && in->messages)
		return in;
	percept_input_free(in);
	return NULL;
}

void percept_input_free(struct percept_input *in)
{
	if (!in)
		return;
	for (size_t i = 0; i < in->n_files; i++)
		input_file_fini(&in->files[i]);
	free(in->files);
	cJSON_Delete(in->options);
	cJSON_Delete(in->messages);
	free(in);
}

int percept_input_message(struct percept_input *in, const char *role)
{
	size_t i = 0, n = sizeof input_roles / sizeof *input_roles;
	while (i < n && strcmp(role, input_roles[i]) != 0)
		i++;
	if (i == n)
		return -EINVAL;
	cJSON *message = cJSON_CreateObject();
	if (message && cJSON_AddStringToObject(message, "type", "message") && cJSON_AddStringToObject(message, "role", role) &&
	    cJSON_AddArrayToObject(message, "content") && cJSON_AddItemToArray(in->messages, message))
		return 0;
	cJSON_Delete(message);
	return -ENOMEM;
}

/* The last message, of the user if there was none; NULL when memory is out. */
static cJSON *input_last(struct percept_input *in)
{
	int n = cJSON_GetArraySize(in->messages);
	if (n == 0 && percept_input_message(in, "user") < 0)
		return NULL;
	return cJSON_GetArrayItem(in->messages, n == 0 ? 0 : n - 1);
}

/* Takes `part` over. */
static int input_add(struct percept_input *in, cJSON *part, struct percept_error *error)
{
	cJSON *message = input_last(in);
	if (part && message && cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(message, "content"), part))
		return 0;
	cJSON_Delete(part);
	return input_no_memory(error);
}

int percept_input_text(struct percept_input *in, const char *text, struct percept_error *error)
{
	cJSON *message = input_last(in);
	if (!message)
		return input_no_memory(error);
	const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(message, "role"));
	cJSON *part = cJSON_CreateObject();
	if (cJSON_AddStringToObject(part, "type", strcmp(role, "assistant") == 0 ? "output_text" : "input_text") &&
	    cJSON_AddStringToObject(part, "text", text))
		return input_add(in, part, error);
	cJSON_Delete(part);
	return input_no_memory(error);
}

/* Takes *file over. */
static int input_add_file(struct percept_input *in, const char *kind, struct client_file *file, struct percept_error *error)
{
	char type[32];
	size_t i = 0, n = sizeof input_kinds / sizeof *input_kinds;
	while (i < n && strcmp(kind, input_kinds[i]) != 0)
		i++;
	if (i == n) {
		input_file_fini(file);
		return client_fail(error, -EINVAL, "'%s' is no kind of media: image, audio and video are.", kind);
	}
	if (in->n_files == in->room) {
		size_t room = in->room ? in->room * 2 : 8;
		struct client_file *grown = realloc(in->files, room * sizeof *grown);
		if (!grown) {
			input_file_fini(file);
			return input_no_memory(error);
		}
		in->files = grown;
		in->room = room;
	}
	snprintf(type, sizeof type, "input_%s", kind);
	cJSON *part = cJSON_CreateObject();
	if (!cJSON_AddStringToObject(part, "type", type) || !cJSON_AddNumberToObject(part, "file", (double)in->n_files)) {
		cJSON_Delete(part);
		part = NULL;
	}
	in->files[in->n_files++] = *file; /* stays, unreferenced, if the part fails */
	return input_add(in, part, error);
}

int percept_input_bytes(struct percept_input *in, const char *kind, const void *bytes, size_t n, struct percept_error *error)
{
	if (n == 0)
		return client_fail(error, WIRE_MEDIA, "The %s is empty: give one with content.", kind);
	struct client_file file = {.fd = -1, .bytes = malloc(n), .n = n};
	if (!file.bytes)
		return input_no_memory(error);
	memcpy(file.bytes, bytes, n);
	return input_add_file(in, kind, &file, error);
}

/* The rest of what `fd` gives, into *file. */
static int input_slurp(struct client_file *file, const char *kind, int fd, struct percept_error *error)
{
	int r = client_read_all(fd, -1, INPUT_BYTES_LIMIT, &file->bytes, &file->n);
	if (r == -EFBIG)
		client_fail(error, WIRE_LIMIT, "The %s has more than %u MiB: give it as a file.", kind, INPUT_BYTES_LIMIT >> 20);
	else if (r < 0)
		client_fail(error, r, "The %s cannot be read: %s.", kind, strerror(-r));
	else if (file->n == 0)
		r = client_fail(error, WIRE_MEDIA, "The %s is empty: give one with content.", kind);
	if (r < 0)
		free(file->bytes);
	return r == -EFBIG ? WIRE_LIMIT : r;
}

int percept_input_fd(struct percept_input *in, const char *kind, int fd, struct percept_error *error)
{
	struct stat st;
	int code = 0;
	if (fstat(fd, &st) < 0)
		code = client_fail(error, -errno, "The %s is not open: %s.", kind, strerror(errno));
	else if (S_ISDIR(st.st_mode))
		code = client_fail(error, -EISDIR, "The %s is a directory: name a file.", kind);
	else if (S_ISREG(st.st_mode) && st.st_size == 0)
		code = client_fail(error, WIRE_MEDIA, "The %s is empty: give one with content.", kind);
	if (code < 0) {
		if (code != -EBADF)
			close(fd);
		return code;
	}
	struct client_file file = {.fd = fd};
	if (!S_ISREG(st.st_mode)) {
		file.fd = -1;
		code = input_slurp(&file, kind, fd, error);
		close(fd);
	}
	return code < 0 ? code : input_add_file(in, kind, &file, error);
}

int percept_input_file(struct percept_input *in, const char *kind, const char *path, struct percept_error *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return client_fail(error, -errno, "The %s %s cannot be opened: %s.", kind, path, strerror(errno));
	struct percept_error why = {0};
	int r = percept_input_fd(in, kind, fd, &why);
	if (r < 0)
		client_fail(error, r, "%s: %s", path, why.text);
	percept_error_clear(&why);
	return r;
}

int percept_input_set(struct percept_input *in, const char *name, const char *json, struct percept_error *error)
{
	cJSON_DeleteItemFromObjectCaseSensitive(in->options, name);
	if (!json)
		return 0;
	const char *why = "";
	cJSON *value = wire_json_parse(json, strlen(json), &why);
	if (!value)
		return client_fail(error, WIRE_PARAMS, "The value of %s is not JSON: %s.", name, why);
	if (cJSON_AddItemToObject(in->options, name, value))
		return 0;
	cJSON_Delete(value);
	return input_no_memory(error);
}

size_t percept_input_count(const struct percept_input *in)
{
	return (size_t)cJSON_GetArraySize(in->messages);
}

/* The files that no message refers to any more are at the end: they are numbered in the order of their adding. */
static size_t input_files_used(const struct percept_input *in)
{
	size_t used = 0;
	const cJSON *message, *part;
	cJSON_ArrayForEach(message, in->messages)
		cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(message, "content")) {
			const cJSON *file = cJSON_GetObjectItemCaseSensitive(part, "file");
			if (file && (size_t)file->valuedouble + 1 > used)
				used = (size_t)file->valuedouble + 1;
		}
	return used;
}

void percept_input_truncate(struct percept_input *in, size_t count)
{
	while (percept_input_count(in) > count)
		cJSON_DeleteItemFromArray(in->messages, (int)percept_input_count(in) - 1);
	for (size_t used = input_files_used(in); in->n_files > used; in->n_files--)
		input_file_fini(&in->files[in->n_files - 1]);
}

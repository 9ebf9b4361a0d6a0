/* odd.c - golden folders of which one value is another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#undef fail /* percept_host has a member of that name */
#include <cjson/cJSON.h>

#include "tests/plugins/host.h"
#include "tests/plugins/odd.h"

static char *odd_text(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 1 << 16);

	assert_non_null(file);
	assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
	fclose(file);
	return text;
}

/* The object's member at `path` becomes `value`; created where it is not there. */
static void odd_set(cJSON *root, const char *path, const char *value)
{
	char key[64];
	const size_t n = strcspn(path, ".");

	snprintf(key, sizeof(key), "%.*s", (int)n, path);
	if (path[n]) {
		cJSON *inner = cJSON_GetObjectItemCaseSensitive(root, key);

		odd_set(inner ? inner : cJSON_AddObjectToObject(root, key), path + n + 1, value);
		return;
	}
	cJSON_DeleteItemFromObjectCaseSensitive(root, key);
	cJSON_AddItemToObject(root, key, cJSON_Parse(value));
}

/* The folder with links to all files but the configuration, which is written anew. */
static void odd_make(const struct odd *o, char out[64])
{
	char golden[4096], from[8192], to[8192];

	strcpy(out, "/tmp/percept-test-XXXXXX");
	assert_non_null(mkdtemp(out));
	DIR *folder = opendir(host_golden(o->folder, golden));

	assert_non_null(folder);
	for (const struct dirent *e; (e = readdir(folder));) {
		char *absolute = realpath(golden, NULL);

		snprintf(from, sizeof(from), "%s/%s", absolute, e->d_name);
		snprintf(to, sizeof(to), "%s/%s", out, e->d_name);
		if (e->d_name[0] != '.' && strcmp(e->d_name, o->file))
			assert_int_equal(symlink(from, to), 0);
		free(absolute);
	}
	closedir(folder);
	snprintf(from, sizeof(from), "%s/%s", golden, o->file);
	char *text = odd_text(from);
	cJSON *root = cJSON_Parse(text);

	if (o->path)
		odd_set(root, o->path, o->value);
	free(text);
	text = cJSON_PrintUnformatted(root);
	cJSON_Delete(root);
	snprintf(to, sizeof(to), "%s/%s", out, o->file);
	FILE *file = fopen(to, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	fclose(file);
	cJSON_free(text);
}

static void odd_drop(const char *path)
{
	char name[8192];
	DIR *folder = opendir(path);

	for (const struct dirent *e; folder && (e = readdir(folder));) {
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		unlink(name);
	}
	if (folder)
		closedir(folder);
	rmdir(path);
}

/* Opens and closes by the plugin's kind. What open() gave. */
static int odd_try(const struct percept_plugin *plugin, struct percept_call *call, const struct percept_open *open)
{
	const struct percept_encoder *encoder = plugin->ops;
	const struct percept_fusion *fusion = plugin->ops;
	const struct percept_decoder *decoder = plugin->ops;
	int (*const opens)(struct percept_call *, const struct percept_open *, void **) =
		plugin->kind == PERCEPT_FUSION ? fusion->open : plugin->kind == PERCEPT_DECODER ? decoder->open : encoder->open;
	void (*const closes)(void *) =
		plugin->kind == PERCEPT_FUSION ? fusion->close : plugin->kind == PERCEPT_DECODER ? decoder->close : encoder->close;
	void *instance = NULL;
	const int error = opens(call, open, &instance);

	if (!error)
		closes(instance);
	return error;
}

int odd_open(const struct odd *o, char text[512])
{
	struct check_host host;
	char path[64];

	odd_make(o, path);
	const struct percept_open open = { .size = sizeof(open), .role = "test", .model = path, .assistant = "test", .max_sequences = 1 };

	check_host_init(&host);
	const int error = odd_try(host_load(o->plugin), check_host_begin(&host), &open);

	snprintf(text, 512, "%s", host.text);
	check_host_fini(&host);
	odd_drop(path);
	return error;
}

void odd_taken(const struct odd *odd, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char text[512];
		const int error = odd_open(&odd[i], text);

		if (error)
			print_error("%s: %s\n", odd[i].plugin, text);
		assert_int_equal(error, 0);
	}
}

void odd_refused(const struct odd *odd, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char text[512];
		const int error = odd_open(&odd[i], text);

		if (error >= 0 || !text[0])
			print_error("%s: %s = %s was opened, or refused without a reason\n", odd[i].plugin, odd[i].path, odd[i].value);
		assert_true(error < 0 && text[0]);
	}
}

/* host.c - a plugin from the build tree under percept check's host. */
#include "tests/plugins/host.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

const struct percept_plugin *host_load(const char *name)
{
	const char *build = getenv("top_builddir");
	char path[4096];

	snprintf(path, sizeof(path), "%s/plugins/.libs/%s.so", build ? build : ".", name);
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!handle) {
		printf("Bail out! %s\n", dlerror());
		exit(1);
	}
	return dlsym(handle, "percept_plugin");
}

const char *host_golden(const char *name, char path[4096])
{
	const char *top = getenv("top_srcdir");

	snprintf(path, 4096, "%s/tests/goldens/%s", top ? top : ".", name);
	return path;
}

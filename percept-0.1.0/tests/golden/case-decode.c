/* case-decode.c - picture files through percept-media: as the reference decodes them, or refused. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/golden/golden.h"
#include "tests/media/media-peer.h"

enum { DECODE_TIMEOUT_MS = 60000, DECODE_BAD_TIMEOUT_MS = 10000 };

/* JPEG decoders differ in their inverse transform and chroma upsampling: case.json says by how many levels. */
struct decode_limit {
	double mean, most;
};

static int decode_is_jpeg(const char *name)
{
	const char *end = strrchr(name, '.');

	return end && (!strcmp(end, ".jpg") || !strcmp(end, ".jpeg"));
}

static struct decode_limit decode_limits(const struct golden *g, const char *name)
{
	const cJSON *jpeg = cJSON_GetObjectItem(g->info, "jpeg_tolerance");
	const cJSON *mean = cJSON_GetObjectItem(jpeg, "mean_abs"), *most = cJSON_GetObjectItem(jpeg, "max_abs");

	if (!decode_is_jpeg(name))
		return (struct decode_limit){ g->abs, g->abs };
	return (struct decode_limit){ cJSON_IsNumber(mean) ? mean->valuedouble : 1, cJSON_IsNumber(most) ? most->valuedouble : 8 };
}

/* Sends a file and waits. 0, or -1 when percept-media did not answer. */
static int decode_file(const struct media_peer *peer, const char *path, struct media_answer *answer, int *memory, int timeout_ms)
{
	struct media_request request = peer_request(1);
	int file = open(path, O_RDONLY | O_CLOEXEC), failed;

	*memory = -1;
	failed = file < 0 || peer_send(peer, &request, file) || peer_receive(peer, answer, memory, timeout_ms);
	if (file >= 0)
		close(file);
	return failed ? -1 : 0;
}

static int decode_equal(const uint8_t *got, const struct golden_tensor *want, struct decode_limit limit, char text[96])
{
	const uint8_t *data = want->data;
	double sum = 0, most = 0;

	for (size_t i = 0; i < want->n; i++) {
		const double d = got[i] > data[i] ? got[i] - data[i] : data[i] - got[i];

		sum += d;
		most = d > most ? d : most;
	}
	sum /= want->n ? (double)want->n : 1;
	snprintf(text, 96, "levels: most %.0f, mean %.3f", most, sum);
	return most <= limit.most && sum <= limit.mean;
}

/* 1 if the answer's picture is `want`'s; `text` says by how much they differ. */
static int decode_matches(const struct media_answer *answer, int memory, const struct golden_tensor *want,
			  struct decode_limit limit, char text[96])
{
	if (want->rank != 3 || answer->height != want->shape[0] || answer->width != want->shape[1] || answer->bytes != want->n) {
		snprintf(text, 96, "%u x %u, expected %u x %u", answer->width, answer->height, (unsigned)want->shape[1],
			 (unsigned)want->shape[0]);
		return 0;
	}
	void *rgb = mmap(NULL, answer->bytes, PROT_READ, MAP_SHARED, memory, 0);

	if (rgb == MAP_FAILED) {
		snprintf(text, 96, "the memory cannot be mapped");
		return 0;
	}
	const int equal = decode_equal(rgb, want, limit, text);

	munmap(rgb, answer->bytes);
	return equal;
}

/* out.NAME and further readings of the same file: out.NAME.no_exif, out.NAME.shifted. */
static void decode_seen(struct golden *g, const char *name)
{
	const size_t n = strlen(name);

	for (size_t i = 0; i < g->io.n; i++) {
		const char *rest = g->io.all[i].name;

		if (!strncmp(rest, "out.", 4) && !strncmp(rest + 4, name, n) && (rest[4 + n] == '.' || !rest[4 + n]))
			g->io.all[i].seen = 1;
	}
}

static void decode_good(struct golden *g, const struct media_peer *peer, const char *path, const char *name)
{
	const struct golden_tensor *want = golden_tensor(&g->io, "U8", "out.%s", name);
	/* 16-bit gray: the reference clips; the higher byte is as good. */
	const struct golden_tensor *other = golden_tensor(&g->io, "U8", "out.%s.shifted", name);
	struct media_answer answer;
	char text[96] = "", line[400];
	int memory;

	if (!want)
		return;
	decode_seen(g, name);
	if (decode_file(peer, path, &answer, &memory, DECODE_TIMEOUT_MS)) {
		golden_fail(g, "%s: percept-media did not answer", name);
	} else if (answer.status) {
		golden_fail(g, "%s: %.*s", name, MEDIA_TEXT_BYTES, answer.text);
	} else {
		const struct decode_limit limit = decode_limits(g, name);
		int passed = decode_matches(&answer, memory, want, limit, text);

		passed = passed || (other && decode_matches(&answer, memory, other, limit, text));
		snprintf(line, sizeof(line), "%-34.200s %s", name, text);
		golden_verdict(g, line, passed);
	}
	if (memory >= 0)
		close(memory);
}

static void decode_bad(struct golden *g, const struct media_peer *peer, const char *path, const char *name)
{
	struct media_answer answer;
	char line[300];
	int memory;
	const int silent = decode_file(peer, path, &answer, &memory, DECODE_BAD_TIMEOUT_MS);

	snprintf(line, sizeof(line), "%.200s is refused", name);
	golden_verdict(g, line, !silent && answer.status && !answer.signal && answer.text[0]);
	if (memory >= 0)
		close(memory);
}

typedef void decode_taker(struct golden *g, const struct media_peer *peer, const char *path, const char *name);

static void decode_folder(struct golden *g, const struct media_peer *peer, const char *folder, decode_taker *take)
{
	char path[PATH_MAX + 600];
	struct dirent **entries = NULL;

	snprintf(path, sizeof(path), "%s/%s", g->path, folder);
	const int n = scandir(path, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%s/%s", g->path, folder, entries[i]->d_name);
			take(g, peer, path, entries[i]->d_name);
		}
		free(entries[i]);
	}
	free(entries);
}

void case_decode(struct golden *g)
{
	struct media_peer peer = peer_start("percept-media", NULL);

	decode_folder(g, &peer, "files", decode_good);
	decode_folder(g, &peer, "bad", decode_bad);
	if (peer_stop(&peer))
		golden_fail(g, "percept-media did not end well");
}

/* replay.c - runs a fuzz target over its corpus and over damaged copies of it, as a TAP test.
 *
 * With --enable-fuzzers libFuzzer takes this file's place (contrib/fuzz). */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REPLAY_INPUT = 1 << 20, DAMAGED_COPIES = 64 };

static uint64_t replay_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Runs the target on a copy of exactly `size` bytes, so that a sanitizer sees a read past the end. */
static void replay_one(const uint8_t *bytes, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		return;
	if (size)
		memcpy(exact, bytes, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

/* Flipped bytes, cut tails, doubled stretches: the same ones each time. */
static void replay_damaged(uint8_t *bytes, size_t size)
{
	uint64_t state = 0x9e3779b97f4a7c15u + size;
	uint8_t *copy = malloc(2 * size + 1);

	for (int i = 0; copy && size && i < DAMAGED_COPIES; i++) {
		size_t n = size;

		memcpy(copy, bytes, size);
		for (uint64_t flips = replay_random(&state) % 4; flips; flips--)
			copy[replay_random(&state) % size] = (uint8_t)replay_random(&state);
		if (i % 3 == 1)
			n = replay_random(&state) % size;
		if (i % 3 == 2) {
			size_t at = replay_random(&state) % size;

			memcpy(copy + size, bytes + at, size - at);
			n = size + (size - at);
		}
		replay_one(copy, n);
	}
	free(copy);
}

static int replay_file(const char *folder, const char *name)
{
	char path[4096];
	uint8_t *bytes = malloc(REPLAY_INPUT);
	FILE *file;
	int failed = -1;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = bytes ? fopen(path, "rb") : NULL;
	if (file) {
		size_t size = fread(bytes, 1, REPLAY_INPUT, file);

		replay_one(bytes, size);
		replay_damaged(bytes, size);
		fclose(file);
		failed = 0;
	}
	free(bytes);
	return failed;
}

int main(int argc, char **argv)
{
	const char *top = getenv("top_srcdir"), *target = strrchr(argv[0], '/');
	char folder[2048];
	struct dirent *entry;
	int n = 0, failed = 0;
	DIR *dir;

	target = target ? target + 1 : argv[0];
	if (!strncmp(target, "lt-", 3))
		target += 3;
	if (argc > 1)
		snprintf(folder, sizeof(folder), "%s", argv[1]);
	else
		snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s", top ? top : ".",
			 !strncmp(target, "fuzz-", 5) ? target + 5 : target);
	dir = opendir(folder);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		int bad = replay_file(folder, entry->d_name);

		failed += bad != 0;
		printf("%sok %d - survives %s and damaged copies of it\n", bad ? "not " : "", ++n,
		       entry->d_name);
		fflush(stdout);
	}
	if (dir)
		closedir(dir);
	if (!n)
		printf("not ok 1 - no corpus in %s\n", folder);
	printf("1..%d\n", n ? n : 1);
	return failed || !n;
}

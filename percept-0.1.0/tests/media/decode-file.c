/* decode-file.c - sends picture files through percept-media: FILE OUT.ppm [FILE OUT.ppm]...
 *
 * OUT becomes a binary PPM (P6, 255): the upright RGB rows behind a header of three lines. "-" is standard output.
 * -b RRGGBB composites transparent pictures over that colour. Exit: 0 all decoded, 1 some refused (the sentence is on
 * stderr and OUT is not written), 2 usage. top_builddir, if set, is where percept-media lies. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/media/media-peer.h"

enum { DECODE_TIMEOUT_MS = 60000 };

static int decode_write(const char *path, const struct media_answer *answer, int fd)
{
	void *rgb = mmap(NULL, answer->bytes, PROT_READ, MAP_SHARED, fd, 0);
	FILE *out = strcmp(path, "-") ? fopen(path, "wb") : stdout;
	int failed = rgb == MAP_FAILED || !out;

	if (!failed) {
		fprintf(out, "P6\n%" PRIu32 " %" PRIu32 "\n255\n", answer->width, answer->height);
		failed = fwrite(rgb, 1, answer->bytes, out) != answer->bytes;
	}
	if (out && out != stdout)
		failed |= fclose(out) != 0;
	if (rgb != MAP_FAILED)
		munmap(rgb, answer->bytes);
	return failed ? -1 : 0;
}

static int decode_one(const struct media_peer *peer, const char *in, const char *out, uint32_t background)
{
	struct media_request request = peer_request(1);
	struct media_answer answer;
	int file = open(in, O_RDONLY | O_CLOEXEC), fd = -1, error;

	request.background = background;
	error = file < 0 ? -errno : peer_send(peer, &request, file);
	if (file >= 0)
		close(file);
	if (!error)
		error = peer_receive(peer, &answer, &fd, DECODE_TIMEOUT_MS);
	if (error)
		fprintf(stderr, "%s: %s\n", in, strerror(-error));
	else if (answer.status)
		fprintf(stderr, "%s: %s\n", in, answer.text);
	else if (decode_write(out, &answer, fd) < 0)
		fprintf(stderr, "%s: %s\n", out, strerror(errno));
	else if (getenv("DECODE_FILE_TIME"))
		fprintf(stderr, "%s: %" PRIu64 " us\n", in, (uint64_t)answer.decode_us);
	if (fd >= 0)
		close(fd);
	return error || answer.status ? -1 : 0;
}

int main(int argc, char **argv)
{
	uint32_t background = MEDIA_BACKGROUND_NONE;
	struct media_peer peer;
	int c, failed = 0;

	while ((c = getopt(argc, argv, "b:")) == 'b')
		background = (uint32_t)strtoul(optarg, NULL, 16) & 0xffffff;
	if (c != -1 || optind == argc || (argc - optind) % 2) {
		fprintf(stderr, "usage: decode-file [-b RRGGBB] FILE OUT.ppm [FILE OUT.ppm]...\n");
		return 2;
	}
	peer = peer_start("percept-media", NULL);
	for (int i = optind; i < argc; i += 2)
		failed |= decode_one(&peer, argv[i], argv[i + 1], background) < 0;
	peer_stop(&peer);
	return failed;
}

/* test-refusals.c - descriptors, packets and pictures that percept-media must refuse, each with a sentence. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "sdk/wire/frame.h"
#include "tests/media/media-peer.h"

enum { WAIT_MS = 20000, BOMB_BYTES = 768 << 10, BOMB_US = 100000 };

static int start(void **state)
{
	struct media_peer *peer = malloc(sizeof(*peer));

	*peer = peer_start("percept-media", NULL);
	*state = peer;
	return 0;
}

static int stop(void **state)
{
	int status = peer_stop(*state);

	free(*state);
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}

/* Sends fd (taken over), limits as they are in `request`. The memfd of a good answer is closed. */
static struct media_answer decode(const struct media_peer *peer, const struct media_request *request, int fd)
{
	struct media_answer answer;
	int result;

	assert_true(fd >= 0);
	assert_int_equal(peer_send(peer, request, fd), 0);
	close(fd);
	assert_int_equal(peer_receive(peer, &answer, &result, WAIT_MS), 0);
	assert_int_equal(answer.id, request->id);
	assert_true((result >= 0) == (answer.status == 0));
	if (result >= 0)
		close(result);
	return answer;
}

static void assert_refused(void **state, int fd, const char *words)
{
	struct media_request request = peer_request(1);
	struct media_answer answer = decode(*state, &request, fd);

	assert_int_equal(answer.status, WIRE_MEDIA);
	if (!strstr(answer.text, words))
		fail_msg("\"%s\" does not say \"%s\"", answer.text, words);
}

static int bytes_file(const void *bytes, size_t n, int seals)
{
	int fd = memfd_create("bytes", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static int golden_file(const char *name)
{
	const char *top = getenv("top_srcdir");
	char path[4096];

	snprintf(path, sizeof(path), "%s/tests/goldens/%s", top ? top : ".", name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void refuses_what_is_not_a_file(void **state)
{
	int ends[2];

	assert_refused(state, open("/dev/zero", O_RDONLY | O_CLOEXEC), "a character device");
	assert_refused(state, open("/", O_RDONLY | O_CLOEXEC), "a folder");
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_refused(state, ends[0], "a pipe");
	close(ends[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_refused(state, ends[0], "a socket");
	close(ends[1]);
}

static void refuses_memory_that_can_change(void **state)
{
	assert_refused(state, bytes_file("GIF89a", 6, 0), "not sealed");
}

static void refuses_a_descriptor_that_cannot_be_read(void **state)
{
	char path[] = "/tmp/percept-media-XXXXXX";
	int fd = mkstemp(path), only_write;

	assert_int_equal(write(fd, "GIF89a", 6), 6);
	only_write = open(path, O_WRONLY | O_CLOEXEC);
	unlink(path);
	close(fd);
	assert_refused(state, only_write, "open for reading");
}

static void refuses_texts_and_empty_files(void **state)
{
	static const char *const texts[] = { "ffconcat version 1.0\nfile '/etc/passwd'\n",
					     "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "<svg/>", "P6 1 1 255 xyz" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_refused(state, bytes_file(texts[i], strlen(texts[i]), MEDIA_SEALS), "not a picture");
	assert_refused(state, bytes_file("", 0, MEDIA_SEALS), "is empty");
}

static void put_be32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* A PNG that claims width x height and has as much data as such a picture of zeros takes when it is packed. */
static int bomb_file(uint32_t width, uint32_t height)
{
	size_t n = 8 + 25 + 12 + BOMB_BYTES + 12;
	uint8_t *png = calloc(1, n);
	int fd;

	memcpy(png, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
	put_be32(png + 16, width);
	put_be32(png + 20, height);
	png[24] = 8;
	png[25] = 2;
	put_be32(png + 33, BOMB_BYTES);
	memcpy(png + 37, "IDAT", 4);
	memcpy(png + n - 8, "IEND", 4);
	fd = bytes_file(png, n, MEDIA_SEALS);
	free(png);
	return fd;
}

static void refuses_bombs_by_their_headers(void **state)
{
	struct media_request request = peer_request(1);
	struct media_answer answer = decode(*state, &request, bomb_file(16000, 16000));

	assert_int_equal(answer.status, WIRE_MEDIA);
	assert_non_null(strstr(answer.text, "16000x16000"));
	assert_true(answer.decode_us < BOMB_US);
	assert_refused(state, bomb_file(0x7fffffff, 0x7fffffff), "2147483647x2147483647");
	assert_refused(state, bomb_file(1, 40000), "1x40000");
	assert_refused(state, bomb_file(0, 5), "no pixels");
}

static void keeps_to_the_limits_of_a_request(void **state)
{
	struct media_request request = peer_request(3);
	struct media_answer answer;

	request.max_pixels = 64 * 48;
	answer = decode(*state, &request, golden_file("img_decode/files/rgb.png"));
	assert_string_equal(answer.text, "");
	assert_int_equal(answer.width, 64);
	assert_int_equal(answer.height, 48);
	request.max_pixels = 64 * 48 - 1;
	answer = decode(*state, &request, golden_file("img_decode/files/rgb.png"));
	assert_int_equal(answer.status, WIRE_MEDIA);
	request = peer_request(4);
	request.max_side = 63;
	answer = decode(*state, &request, golden_file("img_decode/files/rgb.png"));
	assert_non_null(strstr(answer.text, "limit of 63"));
}

static void composites_over_a_background(void **state)
{
	struct media_request request = peer_request(1);
	struct media_answer answer;
	uint8_t rgb[3];
	int file = golden_file("img_decode_kinds/files/transparent.gif"), fd;

	request.background = 0x102030;
	assert_int_equal(peer_send(*state, &request, file), 0);
	close(file);
	assert_int_equal(peer_receive(*state, &answer, &fd, WAIT_MS), 0);
	assert_int_equal(answer.status, 0);
	for (off_t at = 0;; at += 3) { /* some pixel is transparent */
		assert_int_equal(pread(fd, rgb, 3, at), 3);
		if (!memcmp(rgb, "\x10\x20\x30", 3))
			break;
	}
	close(fd);
}

static void ignores_packets_that_are_not_requests(void **state)
{
	const struct media_peer *peer = *state;
	struct media_request request = peer_request(1);
	struct media_answer answer;
	int fd;

	assert_int_equal(send(peer->socket, "hello", 5, 0), 5);
	request.magic = 1;
	assert_int_equal(peer_send(peer, &request, -1), 0);
	request = peer_request(1);
	request.verb = 77;
	assert_int_equal(peer_send(peer, &request, STDERR_FILENO), 0);
	request = peer_request(6);
	assert_int_equal(peer_send(peer, &request, -1), 0); /* this one is, but for its descriptor */
	assert_int_equal(peer_receive(peer, &answer, &fd, WAIT_MS), 0);
	assert_int_equal(answer.id, 6);
	assert_int_equal(answer.status, WIRE_MEDIA);
	request = peer_request(8);
	request.kind = 99;
	assert_non_null(strstr(decode(peer, &request, golden_file("img_decode/files/rgb.png")).text, "kind"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_not_a_file),
		cmocka_unit_test(refuses_memory_that_can_change),
		cmocka_unit_test(refuses_a_descriptor_that_cannot_be_read),
		cmocka_unit_test(refuses_texts_and_empty_files),
		cmocka_unit_test(refuses_bombs_by_their_headers),
		cmocka_unit_test(keeps_to_the_limits_of_a_request),
		cmocka_unit_test(composites_over_a_background),
		cmocka_unit_test(ignores_packets_that_are_not_requests),
	};

	return cmocka_run_group_tests(tests, start, stop);
}

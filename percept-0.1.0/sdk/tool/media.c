/* media.c - files and standard input as parts of a message. */
#include "config.h"
#include "sdk/tool/media.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sdk/wire/frame.h"

#define MEDIA_STDIN_LIMIT (64u << 20)
#define MEDIA_STDIN_WAIT_MS 5000

/* First bytes of the formats; `at` is where they are. */
static const struct {
	const char *kind;
	size_t at, n;
	const char *bytes;
} media_magic[] = {
	{"image", 0, 8, "\x89PNG\r\n\x1a\n"}, {"image", 0, 3, "\xff\xd8\xff"}, {"image", 0, 4, "GIF8"},
	{"image", 8, 4, "WEBP"}, {"image", 0, 2, "BM"}, {"image", 0, 4, "II*\0"}, {"image", 0, 4, "MM\0*"},
	{"image", 4, 8, "ftypavif"}, {"image", 4, 8, "ftypheic"},
	{"audio", 8, 4, "WAVE"}, {"audio", 0, 4, "fLaC"}, {"audio", 0, 4, "OggS"}, {"audio", 0, 3, "ID3"},
	{"audio", 0, 2, "\xff\xfb"}, {"audio", 0, 2, "\xff\xf3"}, {"audio", 4, 7, "ftypM4A"},
	{"video", 4, 4, "ftyp"}, {"video", 0, 4, "\x1a\x45\xdf\xa3"}, {"video", 8, 4, "AVI "},
};

static int media_is_text(const unsigned char *at, size_t n)
{
	const unsigned char *end = at + n;
	while (at < end) {
		size_t length = *at ? wire_utf8_length(at, end) : 0;
		if (length == 0)
			return 0;
		at += length;
	}
	return 1;
}

const char *media_sniff(const void *bytes, size_t n)
{
	for (size_t i = 0; i < sizeof media_magic / sizeof *media_magic; i++) {
		size_t at = media_magic[i].at, length = media_magic[i].n;
		if (n >= at + length && memcmp((const char *)bytes + at, media_magic[i].bytes, length) == 0 &&
		    !(length == 2 && media_is_text(bytes, n)))
			return media_magic[i].kind;
	}
	return media_is_text(bytes, n) ? "text" : NULL;
}

static int media_claim_stdin(struct media_source *s)
{
	if (s->stdin_used)
		return tool_say(s->tool, TOOL_USAGE, "Standard input can be used once: name a file instead of a further '-'.");
	s->stdin_used = 1;
	return 0;
}

int media_add(struct media_source *s, const char *kind, const char *path)
{
	struct percept_error error = {0};
	int r;
	if (strcmp(path, "-") == 0) {
		r = media_claim_stdin(s);
		if (r)
			return r;
		int fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
		r = fd < 0 ? -errno : percept_input_fd(s->input, kind, fd, &error);
		if (fd < 0)
			return tool_say(s->tool, TOOL_FAILED, "Standard input is not open: %s.", strerror(-r));
	} else {
		r = percept_input_file(s->input, kind, path, &error);
	}
	s->words = 0;
	return r < 0 ? tool_fail(s->tool, &error) : 0;
}

int media_add_text(struct media_source *s, const char *text)
{
	struct percept_error error = {0};
	s->words++;
	if (!media_is_text((const unsigned char *)text, strlen(text)))
		return tool_say(s->tool, TOOL_USAGE, "The text is not UTF-8: convert it, with iconv for example.");
	return percept_input_text(s->input, text, &error) < 0 ? tool_fail(s->tool, &error) : 0;
}

/* All of standard input, NUL-terminated, by malloc. NULL after saying why. */
static char *media_read_stdin(const struct media_source *s, size_t *n)
{
	char *bytes = NULL;
	size_t room = 0;
	*n = 0;
	for (;;) {
		if (*n + 1 >= room) {
			room = room ? room * 2 : 65536;
			char *grown = *n > MEDIA_STDIN_LIMIT ? NULL : realloc(bytes, room);
			if (!grown) {
				tool_say(s->tool, 0, "Standard input has more than 64 MiB: give it as a file (-i, -a, -v).");
				break;
			}
			bytes = grown;
		}
		ssize_t got = read(0, bytes + *n, room - *n - 1);
		if (got == 0) {
			bytes[*n] = '\0';
			return bytes;
		}
		if (got < 0 && errno != EINTR) {
			tool_say(s->tool, 0, "Standard input cannot be read: %s.", strerror(errno));
			break;
		}
		*n += got > 0 ? (size_t)got : 0;
	}
	free(bytes);
	return NULL;
}

static int media_add_piped_text(struct media_source *s, char *text, size_t n)
{
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		text[--n] = '\0';
	if (n == 0)
		return 0;
	if (!s->words)
		return media_add_text(s, text);
	char *apart = NULL; /* from the words before it */
	if (asprintf(&apart, "\n%s", text) < 0)
		return tool_no_memory(s->tool);
	int r = media_add_text(s, apart);
	free(apart);
	return r;
}

int media_add_stdin(struct media_source *s)
{
	struct percept_error error = {0};
	size_t n;
	int r = media_claim_stdin(s);
	if (r)
		return r;
	char *bytes = media_read_stdin(s, &n);
	if (!bytes)
		return TOOL_FAILED;
	const char *kind = media_sniff(bytes, n);
	if (!kind)
		r = tool_say(s->tool, TOOL_USAGE, "Standard input is neither text in UTF-8 nor a known picture, sound or video: say "
						  "what it is with '-i -', '-a -' or '-v -'.");
	else if (strcmp(kind, "text") == 0)
		r = media_add_piped_text(s, bytes, n);
	else if (percept_input_bytes(s->input, kind, bytes, n, &error) < 0)
		r = tool_fail(s->tool, &error);
	free(bytes);
	return r;
}

/* Programs are often started with a pipe that nobody writes to: after a while it counts as none, said aloud. */
int media_stdin_piped(const struct media_source *s)
{
	struct stat st;
	if (s->stdin_used || fstat(0, &st) < 0)
		return 0;
	if (S_ISREG(st.st_mode))
		return st.st_size > 0;
	if (!S_ISFIFO(st.st_mode))
		return 0;
	struct pollfd p = {.fd = 0, .events = POLLIN};
	if (percept_input_count(s->input) == 0 || poll(&p, 1, MEDIA_STDIN_WAIT_MS) != 0)
		return 1;
	tool_say(s->tool, 0, "nothing comes on standard input: going on without it ('-' waits for it, '</dev/null' does not look)");
	return 0;
}

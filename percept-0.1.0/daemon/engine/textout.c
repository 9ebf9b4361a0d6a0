/* textout.c - an answer's bytes to text. */
#include "daemon/engine/textout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXTOUT_REPLACEMENT "\xef\xbf\xbd"

void textout_fini(struct textout *out)
{
	free(out->text);
	out->text = NULL;
	out->bytes = out->room = out->given = out->ready = out->n_part = 0;
}

/* The ranges of second bytes: Unicode 15, table 3-7. */
int textout_character(const unsigned char *text, size_t n)
{
	unsigned char c = text[0], low = 0x80, high = 0xbf;
	int length = c < 0x80 ? 1 : c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;

	if (length == 0 || c == 0)
		return -1;
	if (c == 0xe0)
		low = 0xa0;
	else if (c == 0xf0)
		low = 0x90;
	else if (c == 0xed)
		high = 0x9f;
	else if (c == 0xf4)
		high = 0x8f;
	for (int i = 1; i < length; i++) {
		if ((size_t)i >= n)
			return 0;
		if (text[i] < low || text[i] > high)
			return -i;
		low = 0x80;
		high = 0xbf;
	}
	return length;
}

static int textout_append(struct textout *out, const void *bytes, size_t n)
{
	if (out->bytes + n + 1 > out->room) {
		size_t room = (out->bytes + n + 1) * 2 + 64;
		char *text = realloc(out->text, room);

		if (!text)
			return -ENOMEM;
		out->text = text;
		out->room = room;
	}
	memcpy(out->text + out->bytes, bytes, n);
	out->bytes += n;
	out->text[out->bytes] = 0;
	return 0;
}

static int textout_is_space(unsigned char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* One whole character, or a bad stretch. */
static int textout_put(struct textout *out, const unsigned char *bytes, int length)
{
	if (length < 0)
		return textout_append(out, TEXTOUT_REPLACEMENT, 3);
	if (out->drop_space && out->bytes == 0 && textout_is_space(bytes[0]))
		return 0;
	return textout_append(out, bytes, (size_t)length);
}

/* The first stop string at or after what was given ends the text; its possible beginnings at the end are held back. */
static void textout_look(struct textout *out)
{
	size_t hold = 0;
	char *first = NULL;

	out->ready = out->bytes;
	if (!out->text)
		return;
	for (size_t i = 0; i < out->n_stop; i++) {
		char *at = strstr(out->text + out->given, out->stop[i]);

		if (at && (!first || at < first))
			first = at;
	}
	if (first) {
		*first = 0;
		out->bytes = out->ready = (size_t)(first - out->text);
		out->stopped = 1;
		return;
	}
	for (size_t i = 0; i < out->n_stop; i++) {
		size_t length = strlen(out->stop[i]), most = out->bytes - out->given;

		if (length == 0)
			continue;
		for (size_t k = length - 1 < most ? length - 1 : most; k > hold; k--)
			if (memcmp(out->text + out->bytes - k, out->stop[i], k) == 0)
				hold = k;
	}
	out->ready = out->bytes - hold;
	/* A stop string may begin inside a character only if it is no UTF-8: never split one. */
	while (out->ready > out->given && ((unsigned char)out->text[out->ready] & 0xc0) == 0x80)
		out->ready--;
}

int textout_push(struct textout *out, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n && !out->stopped; i++) {
		out->part[out->n_part++] = (unsigned char)bytes[i];
		for (int length; out->n_part && (length = textout_character(out->part, out->n_part)) != 0;) {
			size_t used = (size_t)(length < 0 ? -length : length);
			int r = textout_put(out, out->part, length);

			if (r)
				return r;
			memmove(out->part, out->part + used, out->n_part - used);
			out->n_part -= used;
		}
	}
	if (!out->stopped)
		textout_look(out);
	return 0;
}

int textout_finish(struct textout *out)
{
	int r = 0;

	if (!out->stopped && out->n_part)
		r = textout_put(out, out->part, -1);
	out->n_part = 0;
	if (!out->stopped && r == 0)
		textout_look(out);
	out->ready = out->bytes;
	return r;
}

const char *textout_take(struct textout *out, size_t *bytes)
{
	const char *text = out->text ? out->text + out->given : "";

	*bytes = out->ready - out->given;
	out->given = out->ready;
	return text;
}

char *textout_valid(const char *bytes, size_t n)
{
	struct textout out = {0};

	if (textout_append(&out, "", 0) || textout_push(&out, bytes, n) || textout_finish(&out)) {
		textout_fini(&out);
		return NULL;
	}
	return out.text;
}

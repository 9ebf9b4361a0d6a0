/* tokenizer-clip.c - OpenCLIP's vocabulary: merges in a compressed text, from which the tokens follow. */
#include "sdk/nn/tokenizer-parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { CLIP_MERGES = 49152 - 256 - 2, CLIP_TEXT_LIMIT = 16 << 20 };

static const char clip_rest[] =
	"{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Clean\"},{\"type\":\"NFC\"},"
	"{\"type\":\"Strip\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"},{\"type\":\"LowercaseWords\"}]},"
	"\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
	"\"'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"},\"behavior\":\"Removed\",\"invert\":true},"
	"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},"
	"\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"<start_of_text>\",49406],\"sep\":[\"<end_of_text>\",49407]},"
	"\"decoder\":{\"type\":\"ByteLevel\"},"
	"\"added_tokens\":[{\"id\":49406,\"content\":\"<start_of_text>\",\"special\":true},"
	"{\"id\":49407,\"content\":\"<end_of_text>\",\"special\":true}]}";

static int clip_unpack(const unsigned char *bytes, size_t n, struct text *out, struct nn_error *error)
{
	z_stream z = {.next_in = (Bytef *)bytes, .avail_in = (uInt)n};
	int state;

	if (n > UINT32_MAX || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return -ENOMEM;
	do {
		if (out->n >= CLIP_TEXT_LIMIT || text_reserve(&out->data, &out->room, out->n + 65537, 1)) {
			inflateEnd(&z);
			return out->n >= CLIP_TEXT_LIMIT ? nn_fail(error, -EFBIG, "CLIP's vocabulary is too long.") : -ENOMEM;
		}
		z.next_out = (Bytef *)out->data + out->n;
		z.avail_out = 65536;
		state = inflate(&z, Z_NO_FLUSH);
		out->n += 65536 - z.avail_out;
	} while (state == Z_OK);
	inflateEnd(&z);
	if (state != Z_STREAM_END)
		return nn_fail(error, -EINVAL, "CLIP's vocabulary is damaged.");
	out->data[out->n] = '\0';
	return 0;
}

static int clip_token(cJSON *vocab, const char *first, const char *second, int *id)
{
	char text[1024];

	if ((size_t)snprintf(text, sizeof(text), "%s%s", first, second) >= sizeof(text))
		return -EINVAL;
	return cJSON_AddNumberToObject(vocab, text, (*id)++) ? 0 : -ENOMEM;
}

/* The bytes' characters in the order of their codes: those that stand for themselves first. */
static int clip_bytes(cJSON *vocab, const char *end, int *id)
{
	int failed = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (int b = 0; b < 256 && !failed; b++) {
			const uint32_t c = split_byte_char((unsigned char)b);
			struct text text = {0};

			if ((c == (uint32_t)b) == pass)
				continue;
			failed = text_put_char(&text, c);
			if (!failed)
				failed = clip_token(vocab, text.data, end, id);
			text_free(&text);
		}
	}
	return failed;
}

/* Lines "a b": merges, and the tokens that they make. */
static int clip_lines(cJSON *vocab, cJSON *merges, char *line, int *id)
{
	int failed = 0;

	for (int i = 0; i < CLIP_MERGES && line && !failed; i++) {
		char *next = strchr(line, '\n'), *space;

		if (next)
			*next++ = '\0';
		space = strchr(line, ' ');
		if (!space)
			return -EINVAL;
		failed = cJSON_AddItemToArray(merges, cJSON_CreateString(line)) ? 0 : -ENOMEM;
		*space = '\0';
		if (!failed)
			failed = clip_token(vocab, line, space + 1, id);
		line = next;
	}
	return failed;
}

cJSON *clip_tokenizer_json(const unsigned char *bytes, size_t n, struct nn_error *error)
{
	cJSON *root = cJSON_Parse(clip_rest), *model = cJSON_AddObjectToObject(root, "model");
	cJSON *vocab = cJSON_AddObjectToObject(model, "vocab"), *merges = cJSON_AddArrayToObject(model, "merges");
	struct text text = {0};
	int failed = clip_unpack(bytes, n, &text, error), id = 0;
	char *line = failed ? NULL : strchr(text.data, '\n');

	cJSON_AddStringToObject(model, "type", "BPE");
	cJSON_AddStringToObject(model, "end_of_word_suffix", "</w>");
	if (!failed && (!line || !merges))
		failed = -EINVAL;
	if (!failed)
		failed = clip_bytes(vocab, "", &id);
	if (!failed)
		failed = clip_bytes(vocab, "</w>", &id);
	if (!failed)
		failed = clip_lines(vocab, merges, line + 1, &id);
	text_free(&text);
	if (!failed)
		return root;
	nn_fail(error, failed, failed == -ENOMEM ? "There is not enough memory for CLIP's vocabulary." : "CLIP's vocabulary is damaged.");
	cJSON_Delete(root);
	return NULL;
}

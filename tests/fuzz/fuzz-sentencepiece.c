/* fuzz-sentencepiece.c - fuzz target: any bytes as a SentencePiece model. */
#include <stdint.h>
#include <stdlib.h>

#include "sdk/nn/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char usual[] = " \xff\xc3\xa9 1a <s>\n  ab\xe2\x82\xac \xef\xac\x81";
	struct nn_error error = { 0 };
	struct nn_ids ids = { 0 };
	struct nn_tokenizer *t = nn_tokenizer_parse_sentencepiece(data, size, NULL, 0, &error);
	size_t bytes;

	if (!t && (!error.code || !error.text[0]))
		abort();
	for (unsigned flags = 0; t && flags < 4; flags++)
		nn_tokenizer_encode(t, usual, sizeof(usual) - 1, flags, &ids, NULL);
	for (size_t i = 0; i < ids.n; i++)
		nn_tokenizer_piece(t, ids.data[i], &bytes);
	nn_ids_free(&ids);
	nn_tokenizer_close(t);
	return 0;
}
